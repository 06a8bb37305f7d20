//! Holds the shape of the sources: which room may use which, that no files use each other in a circle, and how long a file may
//! be; read from the `use` lines and paths.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::path::{Path, PathBuf};

#[path = "layering/graph.rs"]
mod graph;

/// Each room with what it may name, beside itself and std. The longest prefix that fits a file decides.
const ROOMS: &[(&str, &[&str], &[&str])] = &[
    (
        "domain",
        &[],
        &["hkdf", "hmac", "sha2", "subtle", "data_encoding", "ipnet", "jiff", "serde_json", "thiserror"],
    ),
    ("sync", &[], &[]),
    ("threads", &["sync", "clock"], &["tokio", "tracing"]),
    ("clock", &["domain", "sync"], &["rustix", "tracing"]),
    ("random", &["domain", "sync"], &["rand", "data_encoding"]),
    ("encryption", &[], &["age", "thiserror"]),
    ("certificate", &["domain", "sync"], &["rustls", "x509_parser", "rcgen", "sha2", "thiserror"]),
    (
        "acme",
        &["domain", "certificate", "files", "outgoing", "sync"],
        &["instant_acme", "ureq", "hyper", "bytes", "tokio", "serde", "serde_json", "thiserror"],
    ),
    ("files", &["random"], &["rustix", "data_encoding"]),
    ("storage", &["domain", "sync"], &["futures_util", "tokio", "thiserror", "serde_json", "moka"]),
    (
        "storage/sqlite",
        &["domain", "storage", "clock", "files", "sync", "threads"],
        &[
            "rusqlite",
            "r2d2",
            "r2d2_sqlite",
            "futures_util",
            "tokio",
            "tracing",
            "thiserror",
            "jiff",
            "sha2",
            "data_encoding",
            "serde_json",
        ],
    ),
    (
        "storage/postgres",
        &["domain", "storage", "clock", "sync"],
        &[
            "postgres_protocol",
            "postgres_types",
            "serde_json",
            "fallible_iterator",
            "rustls",
            "webpki_roots",
            "bytes",
            "socket2",
            "futures_util",
            "tokio",
            "tracing",
            "thiserror",
            "sha2",
        ],
    ),
    ("limits", &["domain", "sync"], &["moka", "governor", "futures_util"]),
    (
        "limits/redis",
        &["domain", "limits", "clock", "metrics", "sync"],
        &["redis", "tokio", "tracing", "futures_util", "data_encoding"],
    ),
    // Pure, and the adapters' own; the seam itself needs futures alone.
    ("sms", &["domain", "clock", "sync"], &["futures_util", "thiserror", "tokio", "tracing"]),
    (
        "sms/http",
        &["domain", "sms", "clock", "outgoing", "threads"],
        &["ureq", "futures_util", "tracing", "serde_json"],
    ),
    (
        "sms/twilio",
        &["domain", "sms", "clock", "outgoing", "sync", "threads"],
        &[
            "ureq",
            "futures_util",
            "tokio",
            "tracing",
            "thiserror",
            "serde",
            "serde_json",
            "form_urlencoded",
            "hmac",
            "sha1",
            "sha2",
            "subtle",
            "data_encoding",
        ],
    ),
    ("outgoing", &["clock", "sync"], &["ureq", "rustls"]),
    ("events", &["domain", "storage", "clock", "metrics"], &["tokio", "tokio_util", "tracing"]),
    ("events/http", &["domain", "events", "outgoing"], &["ureq"]),
    (
        "tokens",
        &["domain"],
        &["jsonwebtoken", "aws_lc_rs", "pem", "serde", "serde_json", "data_encoding", "thiserror", "tracing"],
    ),
    (
        "auth",
        &["domain", "storage", "limits", "sms", "tokens", "clock", "random", "metrics", "sync"],
        &["tokio", "tokio_util", "futures_util", "tracing", "thiserror", "hmac", "subtle"],
    ),
    (
        "config",
        // Of `sms`, `storage`, `limits` and `acme` the settings of their adapters.
        &["domain", "encryption", "random", "files", "certificate", "acme", "sms", "storage", "limits"],
        &[
            "data_encoding",
            "dotenvy",
            "humantime",
            "bytesize",
            "ipnet",
            "jiff",
            "sentry",
            "strsim",
            "thiserror",
            "tracing_subscriber",
            "toml",
        ],
    ),
    (
        "api",
        &["http", "auth", "domain", "clock"],
        &["poem", "poem_openapi", "tracing", "serde", "serde_json", "jiff", "form_urlencoded"],
    ),
    (
        "http",
        // Never `auth`: what serves requests knows nothing of logins.
        &["domain", "clock", "random", "metrics", "sync", "certificate"],
        &[
            "rustls",
            "tokio_rustls",
            "poem",
            "poem_openapi",
            "hyper",
            "hyper_util",
            "tokio",
            "tokio_util",
            "futures_util",
            "serde",
            "serde_json",
            "serde_yaml",
            "tracing",
            "thiserror",
            "ipnet",
            "sha2",
            "data_encoding",
        ],
    ),
    ("watch", &["domain", "sync", "outgoing"], &["serde_json", "ureq"]),
    ("metrics", &["sync"], &["prometheus_client"]),
    (
        "telemetry",
        &["domain", "files", "outgoing", "sync"],
        &[
            "sentry",
            "ureq",
            "tracing",
            "tracing_appender",
            "tracing_subscriber",
            "serde",
            "serde_json",
            "thiserror",
            "jiff",
        ],
    ),
];

/// Rooms that may use everything: people at a shell stand above all, only wiring names adapters, and fuzzers call any room.
const FREE: &[&str] = &["cli", "fuzzing", "main", "lib"];

#[test]
fn arrows_point_down_only() {
    let mut faults = Vec::new();
    let sources = sources(Path::new("src"));
    assert!(sources.len() > 30, "the sources are here");
    let crates = dependencies();
    for path in sources {
        let module = path.strip_prefix("src").unwrap().with_extension("");
        let module = module.to_str().unwrap();
        let is_test = module.split('/').any(|part| part == "tests");
        if is_test || FREE.iter().any(|free| within(module, free)) {
            continue;
        }
        let Some((room, rooms, drivers)) =
            ROOMS.iter().filter(|(room, ..)| within(module, room)).max_by_key(|(room, ..)| room.len())
        else {
            faults.push(format!("{module}: in no room of the table"));
            continue;
        };
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap();
            for named in names_after(code, "crate::") {
                let own = room.split('/').next().unwrap() == named;
                if !own && !rooms.contains(&named) {
                    faults.push(format!("{}:{}: {room} may not use {named}", path.display(), number + 1));
                }
            }
            for driver in &crates {
                if names_crate(code, driver) && !drivers.contains(&driver.as_str()) {
                    faults.push(format!(
                        "{}:{}: {room} may not use the crate {driver}",
                        path.display(),
                        number + 1
                    ));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let texts: Vec<_> = sources(Path::new("src"))
        .into_iter()
        .map(|path| {
            let module = path.strip_prefix("src").unwrap().with_extension("").to_str().unwrap().to_owned();
            (module, fs::read_to_string(path).unwrap())
        })
        .filter(|(module, _)| module != "main" && !module.split('/').any(|part| part == "tests"))
        .collect();
    let files: Vec<_> = texts.iter().map(|(module, text)| (module.as_str(), text.as_str())).collect();
    let graph = graph::graph(&files);
    let arrows: usize = graph.values().map(std::collections::BTreeMap::len).sum();
    assert!(arrows > 500, "the arrows are read: {arrows}");
    let circles = graph::circles(&graph);
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}

#[test]
fn a_circle_is_found_whichever_way_it_is_written() {
    let circles = |files: &[(&str, &str)]| graph::circles(&graph::graph(files)).len();
    for (one, other) in [
        ("use crate::b::B;", "use crate::a::A;"),
        ("use super::b::{self, B};", "fn f() { crate::a::f(\"\") }"),
        ("fn f(_: char) { super::b::f('\"') }", "use crate::{a::A, c};"),
        ("use crate::c::B;", "use crate::a; fn f() { a::g() }"),
    ] {
        let files =
            [("lib", "mod a; mod b; mod c;"), ("a", one), ("b", other), ("c", "pub use crate::b::B;")];
        assert_eq!(circles(&files), 1, "{one} {other}");
    }
    let long = [("a", "use crate::b::B;"), ("b", "use crate::c::C;"), ("c", "use crate::a::A;")];
    assert_eq!(circles(&long), 1);
    for (one, other) in [
        ("use crate::b::B;", "use other::a::A;"),
        ("use crate::b::B;", "// crate::a::A"),
        ("use crate::b::B;", "const TEXT: &str = \"crate::a::A\";"),
        ("use crate::b::B;", "#[cfg(test)]\nmod tests { use crate::a::A; }"),
    ] {
        assert_eq!(circles(&[("a", one), ("b", other)]), 0, "{one} {other}");
    }
}

#[test]
fn a_file_may_use_what_it_lies_below_and_its_siblings_not_in_a_circle() {
    let circles = |files: &[(&str, &str)]| graph::circles(&graph::graph(files)).len();
    let parent = "mod b; mod c; pub use c::C; use b::B; pub struct A;";
    assert_eq!(circles(&[("a", parent), ("a/b", "use super::A;"), ("a/c", "")]), 0);
    assert_eq!(circles(&[("a", parent), ("a/b", "use super::C;"), ("a/c", "use super::b::B;")]), 1);
    assert_eq!(circles(&[("a", parent), ("a/b", "use crate::d::D;"), ("d", "use crate::a::A;")]), 1);
}

/// The files of the command line that may know which engine keeps the data.
const KNOW_THE_ENGINE: &[&str] = &["cli/database"];

#[test]
fn few_files_of_the_command_line_know_which_engine_keeps_the_data() {
    let faults: Vec<_> = sources(Path::new("src/cli"))
        .into_iter()
        .filter(|path| {
            let module = path.strip_prefix("src").unwrap().with_extension("");
            let text = fs::read_to_string(path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let names = text.lines().any(|line| line.split("//").next().unwrap().contains("storage::sqlite"));
            names && !KNOW_THE_ENGINE.contains(&module.to_str().unwrap())
        })
        .map(|path| format!("{}: ask cli/database.rs instead of storage::sqlite", path.display()))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Longest files, in lines. The median is near 120: whoever opens a file reads it whole.
const MOST_LINES: usize = 400;

#[test]
fn no_file_is_longer_than_400_lines() {
    let long: Vec<_> = sources(Path::new("src"))
        .into_iter()
        .map(|path| (fs::read_to_string(&path).unwrap().lines().count(), path))
        .filter(|(lines, _)| *lines > MOST_LINES)
        .map(|(lines, path)| {
            format!("{}: {lines} lines, {MOST_LINES} at most; split it by purpose", path.display())
        })
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

fn within(module: &str, room: &str) -> bool {
    module == room || module.strip_prefix(room).is_some_and(|rest| rest.starts_with('/'))
}

/// The first segment after each `prefix`, a brace list expanded.
fn names_after<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    let word = |text: &'a str| text.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
    let mut names = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(list) => {
                names.extend(list.split(',').map(|item| word(item.trim())).filter(|name| !name.is_empty()));
            }
            None => names.push(word(rest)),
        }
    }
    names
}

fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

/// The names of `[dependencies]`, as code writes them.
fn dependencies() -> Vec<String> {
    let manifest = fs::read_to_string("Cargo.toml").unwrap();
    let section = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    section
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name.replace('-', "_"))
        .collect()
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}
