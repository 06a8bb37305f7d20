//! Holds the documents together: links lead somewhere, rules that tests and comments cite are explained, tests and files that
//! the documents name exist.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use freshk::cli::Cli;
use freshk::config::keys;
use freshk::domain::EventKind;
use freshk::http::ErrorCode;
use freshk::watch::rules;

const RULES: &str = "docs/security.md";
const NOT_YET: &str = "**Not yet.**";

#[test]
fn every_relative_link_and_anchor_leads_somewhere() {
    let mut faults = Vec::new();
    for page in pages() {
        for link in links(&prose(&read(&page))) {
            if ["http://", "https://", "mailto:"].iter().any(|scheme| link.starts_with(scheme)) {
                continue;
            }
            let (path, anchor) =
                link.split_once('#').map_or((link.as_str(), None), |(path, anchor)| (path, Some(anchor)));
            let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            if !root(&target).exists() {
                faults.push(format!("{}: {link} does not exist", page.display()));
            } else if anchor.is_some_and(|anchor| !anchors(&read(&target)).contains(anchor)) {
                faults.push(format!("{}: {link} has no such heading", page.display()));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// A team without Prometheus is told of the same.
#[test]
fn the_servers_own_alarms_are_those_of_the_rules_for_prometheus() {
    let page: serde_yaml::Value = serde_yaml::from_str(&read(Path::new("docs/alerts.yml"))).unwrap();
    let groups = page["groups"].as_sequence().unwrap();
    let told = groups.iter().flat_map(|group| group["rules"].as_sequence().unwrap()).map(|rule| {
        let text = |value: &serde_yaml::Value| value.as_str().unwrap_or_default().to_owned();
        let annotations = &rule["annotations"];
        [
            &rule["alert"],
            &rule["labels"]["severity"],
            &rule["for"],
            &annotations["summary"],
            &annotations["description"],
        ]
        .map(text)
    });
    let own = rules::RULES.iter().map(|rule| {
        let minutes = rule.holds_for.as_secs() / 60;
        let holds_for = if minutes == 0 { String::new() } else { format!("{minutes}m") };
        [rule.name, rule.severity.as_str(), &holds_for, rule.summary, rule.description].map(str::to_owned)
    });
    // Whether the server is there is asked from elsewhere.
    let told: Vec<_> = told.filter(|[name, ..]| name != "FreshKUnseen").collect();
    assert_eq!(own.collect::<Vec<_>>(), told);
}

#[test]
fn the_readme_is_short_and_leads_to_every_page_in_one_click() {
    let readme = read(Path::new("README.md"));
    assert!(readme.lines().count() <= 200, "{} lines", readme.lines().count());
    let linked = links(&prose(&readme));
    let faults: Vec<_> = pages()
        .into_iter()
        .filter(|page| page != Path::new("README.md") && !linked.contains(&page.display().to_string()))
        .collect();
    assert!(faults.is_empty(), "README.md does not link to {faults:?}");
}

#[test]
fn the_readme_begins_with_the_two_commands() {
    let readme = read(Path::new("README.md"));
    let blocks: Vec<_> =
        readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().trim()).collect();
    assert_eq!(blocks[..2], ["cargo run --release -- serve --dev", "cargo test"]);
}

#[test]
fn every_rule_that_a_test_or_a_comment_cites_is_explained() {
    let explained: BTreeSet<_> = rules().into_keys().collect();
    assert!(explained.len() > 30, "the rules are here");
    let mut faults = Vec::new();
    for source in sources() {
        let text = read(&source);
        let cited =
            numbers(&text).into_iter().chain(tests(&text).into_iter().flat_map(|test| numbers_of(&test)));
        for number in cited.filter(|number| !explained.contains(number)) {
            faults.push(format!("{}: S{number} is not explained in {RULES}", source.display()));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_rule_names_tests_that_exist_or_says_that_it_does_not_hold_yet() {
    let existing: BTreeSet<_> = sources().iter().flat_map(|source| tests(&read(source))).collect();
    let numbered: BTreeSet<_> = existing.iter().flat_map(|test| numbers_of(test)).collect();
    let mut faults = Vec::new();
    for (number, text) in rules() {
        let named = named_tests(&text);
        let missing = named.iter().filter(|test| !existing.contains(*test));
        faults.extend(missing.map(|test| format!("S{number}: the test {test} does not exist")));
        if named.is_empty() && !text.contains(NOT_YET) && !text.contains("**No test**") {
            faults.push(format!("S{number}: names no test, and does not say why"));
        }
        if named.is_empty() && text.contains(NOT_YET) && numbered.contains(&number) {
            faults.push(format!(
                "S{number}: \"not yet\", but tests carry the number: write what holds, and name them"
            ));
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_files_that_the_documents_name_exist() {
    let faults: Vec<_> = pages()
        .into_iter()
        .flat_map(|page| code(&read(&page)).into_iter().map(move |code| (page.clone(), code)))
        .filter(|(_, code)| {
            ["src/", "tests/", "benches/", ".ci/"].iter().any(|start| code.starts_with(start))
        })
        .filter(|(_, code)| !code.contains(['*', ' ', '<']) && !root(Path::new(code)).exists())
        .map(|(page, code)| format!("{}: {code} does not exist", page.display()))
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_keys_that_the_documents_name_exist() {
    let sections: BTreeSet<_> =
        keys::SECTIONS.iter().map(|section| section.name).filter(|name| !name.is_empty()).collect();
    let known: BTreeSet<_> = keys::all().map(|key| key.name).collect();
    let faults: Vec<_> = all_code()
        .into_iter()
        .filter(|(_, code)| code.chars().all(|char| char.is_ascii_lowercase() || ['_', '.'].contains(&char)))
        .filter(|(_, code)| code.split_once('.').is_some_and(|(section, _)| sections.contains(section)))
        // Events have names of the same form.
        .filter(|(_, code)| !known.contains(code.as_str()) && EventKind::parse(code).is_none())
        .map(|(page, code)| format!("{}: there is no key {code}", page.display()))
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_commands_that_the_documents_name_exist() {
    let program = Cli::command();
    let faults: Vec<_> = all_code()
        .into_iter()
        .filter(|(_, code)| code.strip_prefix("freshk ").is_some_and(|words| !is_known(&program, words)))
        .map(|(page, code)| format!("{}: there is no command {code}", page.display()))
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_app_document_has_every_error_that_an_app_can_get() {
    let page = read(Path::new("docs/app.md"));
    let known = code(&page);
    let faults: Vec<_> = ErrorCode::ALL
        .into_iter()
        .filter(|code| *code != ErrorCode::BadSignature)
        .map(ErrorCode::as_str)
        .filter(|word| !known.iter().any(|code| code == word))
        .collect();
    assert!(faults.is_empty(), "docs/app.md does not have {faults:?}");
}

#[test]
fn each_alert_has_a_section_of_the_runbook_and_a_test() {
    let (rules, tests) = (read(Path::new("docs/alerts.yml")), read(Path::new(".ci/alerts.yml")));
    let runbook = read(Path::new("docs/runbook.md"));
    let sections: BTreeMap<_, _> =
        runbook.split("\n## ").skip(1).filter_map(|section| section.split_once('\n')).collect();
    let mut alerts = BTreeSet::new();
    let mut faults = Vec::new();
    for rule in rules.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap();
        alerts.insert(name);
        let section = sections.get(name).copied().unwrap_or_default();
        for part in ["**Means:**", "**First command:**", "**Likely causes:**"] {
            if !section.contains(part) {
                faults.push(format!("docs/runbook.md: {name} does not say {part}"));
            }
        }
        let url =
            format!("runbook_url: file:///usr/share/doc/freshk/runbook.md#{}", name.to_ascii_lowercase());
        if !rule.lines().any(|line| line.trim() == url) {
            faults.push(format!("docs/alerts.yml: {name} has no {url}"));
        }
        if !tests.contains(&format!("alertname=\"{name}\"")) {
            faults.push(format!(".ci/alerts.yml: {name} has no test in which it fires"));
        }
    }
    assert!(alerts.len() > 10, "{alerts:?}");
    faults.extend(
        sections
            .keys()
            .filter(|name| !alerts.contains(*name))
            .map(|name| format!("docs/runbook.md: there is no alert {name}")),
    );
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// The pages for people, from the root.
fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<_> =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].into_iter().map(PathBuf::from).collect();
    pages.extend(
        files(Path::new("docs")).into_iter().filter(|path| path.extension().is_some_and(|end| end == "md")),
    );
    pages
}

/// Everything in which a rule may be cited; these tests cite none.
fn sources() -> Vec<PathBuf> {
    let mut sources: Vec<_> =
        ["src", "tests", "benches", ".ci"].into_iter().flat_map(|folder| files(Path::new(folder))).collect();
    sources.retain(|path| {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        ["rs", "py", "sql", ""].contains(&ending) && path != Path::new(file!())
    });
    sources.push(PathBuf::from("schema.sql"));
    sources
}

/// All files below a folder, in a fixed order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> =
        fs::read_dir(root(folder)).unwrap().map(|entry| folder.join(entry.unwrap().file_name())).collect();
    entries.sort();
    entries
        .into_iter()
        .flat_map(|path| if root(&path).is_dir() { files(&path) } else { vec![path] })
        .collect()
}

fn root(path: &Path) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &Path) -> String {
    fs::read_to_string(root(path)).unwrap()
}

/// A page without its blocks of code.
fn without_blocks(page: &str) -> String {
    let mut inside = false;
    let lines = page.lines().filter(|line| {
        let fence = line.starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// What a page says outside of code.
fn prose(page: &str) -> String {
    without_blocks(page).split('`').step_by(2).collect::<Vec<_>>().join("code")
}

/// What stands in backticks outside of blocks.
fn code(page: &str) -> Vec<String> {
    without_blocks(page).split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The same of every page.
fn all_code() -> Vec<(PathBuf, String)> {
    pages()
        .into_iter()
        .flat_map(|page| code(&read(&page)).into_iter().map(move |code| (page.clone(), code)))
        .collect()
}

/// Whether the program has this command with these options; what its arguments are is not looked at.
fn is_known(program: &clap::Command, words: &str) -> bool {
    let mut command = program;
    words.split_whitespace().all(|word| {
        if let Some(option) = word.strip_prefix("--") {
            let mut options = command.get_arguments().chain(program.get_arguments());
            return options.any(|argument| argument.get_long() == Some(option));
        }
        match command.find_subcommand(word) {
            Some(subcommand) => command = subcommand,
            None => return !command.has_subcommands(),
        }
        true
    })
}

/// The targets of a page's links.
fn links(prose: &str) -> Vec<String> {
    prose
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.to_owned())
        .collect()
}

/// The names under which a page's headings can be linked to, as GitHub makes them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut seen = BTreeMap::<String, usize>::new();
    let headings = without_blocks(page);
    let headings = headings.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let name: String = line
                .trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|char| char.is_alphanumeric() || [' ', '-', '_'].contains(char))
                .map(|char| if char == ' ' { '-' } else { char })
                .collect();
            let before = seen.entry(name.clone()).or_default();
            *before += 1;
            if *before == 1 { name } else { format!("{name}-{}", *before - 1) }
        })
        .collect()
}

/// The rules by their number, each with its text.
fn rules() -> BTreeMap<u32, String> {
    let page = read(Path::new(RULES));
    page.split("\n### S")
        .skip(1)
        .map(|rest| {
            let number = rest.split(' ').next().unwrap().parse().unwrap();
            let text = rest.split("\n## ").next().unwrap();
            (number, text.to_owned())
        })
        .collect()
}

/// The tests that a rule names: what is in backticks between "*Tests:*" and the end of its paragraph.
fn named_tests(rule: &str) -> Vec<String> {
    let ends = |text: &str| {
        ["\n- ", "\n\n", "**"].iter().filter_map(|end| text.find(end)).min().unwrap_or(text.len())
    };
    rule.split("*Tests:*").skip(1).flat_map(|rest| code(&rest[..ends(rest)])).collect()
}

/// The names of the tests in a source.
fn tests(source: &str) -> Vec<String> {
    let name =
        |rest: &str| rest.chars().take_while(|char| char.is_ascii_alphanumeric() || *char == '_').collect();
    source.split("fn ").skip(1).map(name).collect()
}

/// The numbers in the name of a test: 30 and 36 in `s30_s36_a_full_disk`.
fn numbers_of(test: &str) -> Vec<u32> {
    test.split('_').filter_map(|word| word.strip_prefix('s')?.parse().ok()).collect()
}

/// The numbers that a text cites: S30 and S36.
fn numbers(text: &str) -> Vec<u32> {
    text.split(|char: char| !char.is_alphanumeric())
        .filter_map(|word| word.strip_prefix('S').filter(|digits| digits.len() <= 2)?.parse().ok())
        .collect()
}

/// What may break whoever uses a version: the number before the first point, or of a version 0.x the one after it as well.
fn series(version: &str) -> String {
    let mut numbers = version.split('.');
    match (numbers.next(), numbers.next()) {
        (Some("0"), Some(minor)) => format!("0.{minor}"),
        (Some(major), _) => major.to_owned(),
        (None, _) => String::new(),
    }
}

/// The words between backquotes.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn crates_that_see_secrets_are_those_that_were_looked_at() {
    let page = read(Path::new(RULES));
    let part = page.split_once("## The crates that see secrets").unwrap().1.split_once("\n## ").unwrap().0;
    let mut looked_at = BTreeMap::new();
    for row in part.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let (names, series) = (quoted(cells[1]), cells[2].split(", ").collect::<Vec<_>>());
        assert_eq!(names.len(), series.len(), "a series for each crate: {row}");
        looked_at.extend(names.into_iter().zip(series.into_iter().map(str::to_owned)));
    }
    let none = quoted(part.split_once("These see none of it:").unwrap().1.split_once("\n\n").unwrap().0);

    let packages: toml::Table = read(Path::new("Cargo.lock")).parse().unwrap();
    let packages = packages["package"].as_array().unwrap();
    let has = |name: &str, wanted: &str| {
        packages.iter().any(|package| {
            package["name"].as_str() == Some(name) && series(package["version"].as_str().unwrap()) == wanted
        })
    };
    for (name, series) in &looked_at {
        assert!(
            has(name, series),
            "{name} {series} is not in Cargo.lock: look at the new one, and write it into {RULES}"
        );
    }
    let manifest: toml::Table = read(Path::new("Cargo.toml")).parse().unwrap();
    for (name, wanted) in manifest["dependencies"].as_table().unwrap() {
        let listed = looked_at.get(name);
        assert!(
            listed.is_some() != none.contains(name),
            "{name} stands nowhere, or twice, among the crates of {RULES}: does it see secrets?"
        );
        let wanted = wanted.as_str().or_else(|| wanted["version"].as_str()).unwrap();
        assert!(
            listed.is_none_or(|listed| *listed == series(wanted)),
            "{name} {wanted} is not the one of {RULES}"
        );
    }
}
