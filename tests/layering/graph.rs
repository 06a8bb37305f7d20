//! Which file of the crate uses which, read from its `use` lines and paths, and the circles among them.
//!
//! A path leads to the file that defines what it names: re-exports are followed. Not counted are a `mod` line, a
//! re-export, test code, and what a file takes from one that it lies below (`a/b.rs` from `a.rs`): it is a part of that
//! one, and is read with it.

use std::collections::{BTreeMap, BTreeSet};

/// A file's path in the crate: `["storage", "sqlite", "open"]`; empty for `lib.rs`.
type Module = Vec<String>;

/// Per file, the files that it uses, each with one of the paths that lead there.
pub(crate) type Graph = BTreeMap<Module, BTreeMap<Module, String>>;

/// The graph of files, each given as its module and text.
pub(crate) fn graph(files: &[(&str, &str)]) -> Graph {
    let modules: BTreeSet<Module> = files.iter().map(|(module, _)| segments(module)).collect();
    let read: BTreeMap<_, _> = files
        .iter()
        .map(|(module, text)| (segments(module), File::read(text, &segments(module), &modules)))
        .collect();
    let mut graph = Graph::new();
    for (module, file) in &read {
        let used = graph.entry(module.clone()).or_default();
        for path in &file.uses {
            let Some(definer) = definer(path, &modules, &read, 0) else { continue };
            if !module.starts_with(&definer) {
                used.entry(definer).or_insert_with(|| path.join("::"));
            }
        }
    }
    graph
}

/// Each circle as its arrows, `a uses b (b::Item)`.
pub(crate) fn circles(graph: &Graph) -> Vec<String> {
    let reach: BTreeMap<_, _> = graph.keys().map(|module| (module, reachable(graph, module))).collect();
    let mut told = BTreeSet::new();
    let mut circles = Vec::new();
    for module in graph.keys().filter(|module| reach[module].contains(*module)) {
        let members: Vec<_> = graph
            .keys()
            .filter(|other| reach[module].contains(*other) && reach[other].contains(module))
            .collect();
        if !told.insert(members.clone()) {
            continue;
        }
        let mut lines = vec![format!("a circle of {} files:", members.len())];
        for member in &members {
            for (used, path) in graph[*member].iter().filter(|(used, _)| members.contains(used)) {
                lines.push(format!("  {} uses {} ({path})", member.join("/"), used.join("/")));
            }
        }
        circles.push(lines.join("\n"));
    }
    circles
}

fn reachable<'a>(graph: &'a Graph, from: &Module) -> BTreeSet<&'a Module> {
    let mut found = BTreeSet::new();
    let mut waiting: Vec<_> = graph[from].keys().collect();
    while let Some(module) = waiting.pop() {
        if found.insert(module) {
            waiting.extend(graph[module].keys());
        }
    }
    found
}

fn segments(module: &str) -> Module {
    if module == "lib" { Vec::new() } else { module.split('/').map(str::to_owned).collect() }
}

/// What a file names, as paths from the crate's root.
#[derive(Default)]
struct File {
    uses: BTreeSet<Vec<String>>,
    reexports: BTreeMap<String, Vec<String>>,
}

impl File {
    fn read(text: &str, module: &Module, modules: &BTreeSet<Module>) -> Self {
        let tokens = tokens(text);
        let mut file = Self::default();
        let mut aliases: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut paths = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            if tokens[at] == "use" {
                let is_public = at > 0 && (tokens[at - 1] == "pub" || tokens[at - 1] == ")");
                let end = at + tokens[at..].iter().position(|token| token == ";").unwrap();
                for (path, name) in leaves(&tokens[at + 1..end]) {
                    let Some(path) = absolute(&path, module, modules) else { continue };
                    if is_public {
                        file.reexports.insert(name.clone(), path.clone());
                    } else {
                        file.uses.insert(path.clone());
                    }
                    aliases.insert(name, path);
                }
                at = end;
            } else if is_name(&tokens[at]) && (at == 0 || !["::", "."].contains(&tokens[at - 1].as_str())) {
                let mut path = vec![tokens[at].clone()];
                while at + 2 < tokens.len() && tokens[at + 1] == "::" && is_name(&tokens[at + 2]) {
                    path.push(tokens[at + 2].clone());
                    at += 2;
                }
                paths.push(path);
            }
            at += 1;
        }
        for path in paths.into_iter().filter(|path| path.len() > 1) {
            let known = aliases.get(&path[0]).map(|alias| [alias, &path[1..]].concat());
            file.uses.extend(known.or_else(|| absolute(&path, module, modules)));
        }
        file
    }
}

/// The paths of a `use`, each with the name that it brings.
fn leaves(tokens: &[String]) -> Vec<(Vec<String>, String)> {
    let (mut found, mut prefixes, mut path) = (Vec::new(), Vec::<Vec<String>>::new(), Vec::<String>::new());
    let mut alias = None;
    let mut end = |path: &mut Vec<String>, alias: &mut Option<String>| {
        if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
            path.pop();
        }
        if let Some(last) = path.last().cloned() {
            found.push((std::mem::take(path), alias.take().unwrap_or(last)));
        }
    };
    let mut rest = tokens.iter();
    // A list that has just closed is no item of its own.
    let mut is_open = false;
    while let Some(token) = rest.next() {
        match token.as_str() {
            "{" => {
                prefixes.push(path.clone());
                is_open = false;
            }
            "," | "}" => {
                if is_open {
                    end(&mut path, &mut alias);
                }
                is_open = false;
                if token == "}" {
                    prefixes.pop();
                }
                path = prefixes.last().cloned().unwrap_or_default();
            }
            "as" => alias = rest.next().cloned(),
            "::" => {}
            name => {
                path.push(name.to_owned());
                is_open = true;
            }
        }
    }
    if is_open {
        end(&mut path, &mut alias);
    }
    found
}

/// A path of the file `module` from the crate's root; `None` for one into another crate.
fn absolute(path: &[String], module: &Module, modules: &BTreeSet<Module>) -> Option<Vec<String>> {
    let supers = path.iter().take_while(|segment| *segment == "super").count();
    if supers > 0 {
        let base = module.len().checked_sub(supers)?;
        return Some([&module[..base], &path[supers..]].concat());
    }
    match path[0].as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([module, &path[1..]].concat()),
        child => {
            let is_child = modules.contains(&[module.as_slice(), &[child.to_owned()]].concat());
            is_child.then(|| [module.as_slice(), path].concat())
        }
    }
}

/// The file that defines what the path names; `None` where the path names a file and nothing in it.
fn definer(
    path: &[String],
    modules: &BTreeSet<Module>,
    files: &BTreeMap<Module, File>,
    depth: usize,
) -> Option<Module> {
    assert!(depth < 10, "re-exports lead in a circle: {path:?}");
    let length = (0..=path.len()).rev().find(|length| modules.contains(&path[..*length]))?;
    let (module, rest) = path.split_at(length);
    let name = rest.first()?;
    match files[module].reexports.get(name) {
        Some(original) => definer(&[original, &rest[1..]].concat(), modules, files, depth + 1),
        None => Some(module.to_vec()),
    }
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_') && token != "use"
}

/// The code in words and signs, `::` as one, without comments, texts and test modules.
fn tokens(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let (mut tokens, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if let Some(length) = literal(rest) {
            tokens.push("\"\"".to_owned());
            length
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(rest[..length].to_owned());
            length
        } else {
            let length = if rest.starts_with("::") { 2 } else { first.len_utf8() };
            if !first.is_whitespace() {
                tokens.push(rest[..length].to_owned());
            }
            length
        };
        rest = &rest[length..];
    }
    tokens
}

/// The length of the text or character that begins here.
fn literal(code: &str) -> Option<usize> {
    for raw in ["r\"", "br\"", "r#\"", "br#\""] {
        if let Some(text) = code.strip_prefix(raw) {
            let end = if raw.ends_with("#\"") { "\"#" } else { "\"" };
            return Some(raw.len() + text.find(end).unwrap() + end.len());
        }
    }
    let (start, quote) = match code.as_bytes() {
        [b'"', ..] => (1, '"'),
        [b'b', b'"', ..] => (2, '"'),
        [b'\'', b'\\', ..] => (1, '\''),
        // A lifetime has no second quote.
        [b'\'', ..] => {
            let character = code[1..].chars().next()?;
            return code[1 + character.len_utf8()..].starts_with('\'').then_some(2 + character.len_utf8());
        }
        _ => return None,
    };
    let mut escaped = false;
    for (at, character) in code[start..].char_indices() {
        if !escaped && character == quote {
            return Some(start + at + 1);
        }
        escaped = !escaped && character == '\\';
    }
    None
}
