//! Help and manual pages, of every command there is.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use clap::CommandFactory as _;
use freshk::cli::Cli;

use crate::support::Place;

/// Wide enough for examples, narrow enough for a terminal beside another.
const COLUMNS: usize = 100;

/// Every command that does something, by the words that call it.
pub(crate) fn leaves() -> Vec<String> {
    fn walk(command: &clap::Command, path: &str, leaves: &mut Vec<String>) {
        for child in command.get_subcommands() {
            let path = format!("{path} {}", child.get_name());
            if child.has_subcommands() {
                walk(child, &path, leaves);
            } else {
                leaves.push(path.trim_start().to_owned());
            }
        }
    }
    let mut leaves = Vec::new();
    walk(&Cli::command(), "", &mut leaves);
    assert!(leaves.len() > 30, "{leaves:?}");
    leaves
}

#[test]
fn every_command_has_examples_and_fits_the_screen() {
    let place = Place::new();
    for line in leaves() {
        let help = place.good(&format!("{line} --help"));
        let examples = help.split_once("\nExamples:\n").or_else(|| help.split_once("\nExample:\n"));
        let (_, examples) = examples.unwrap_or_else(|| panic!("{line} has no examples:\n{help}"));
        let shown: Vec<_> = examples.lines().take_while(|shown| shown.starts_with("  ")).collect();
        let calls = |shown: &&str| shown.contains("freshk ") && shown.contains(&line);
        assert!(shown.iter().any(calls), "{line}: {shown:?}");
        for shown in help.lines() {
            assert!(shown.chars().count() <= COLUMNS, "{line}: {shown}");
        }
        // Prose is broken where the screen ends. A line that was broken by hand as well leaves a stump before the next.
        let prose: Vec<_> = examples.lines().skip_while(|shown| shown.starts_with("  ")).collect();
        for two in prose.windows(2) {
            let next = two[1].split(' ').next().unwrap();
            let is_stump = !next.is_empty() && two[0].chars().count() + 1 + next.chars().count() <= COLUMNS;
            assert!(two[0].is_empty() || !is_stump, "{line} is broken by hand:\n{}\n{}", two[0], two[1]);
        }
        assert!(!help.contains('\u{1b}'), "{line} is coloured, though nobody sees it");
    }
}

#[test]
fn short_help_fits_too_and_points_to_the_long_one() {
    let place = Place::new();
    for line in leaves() {
        let help = place.good(&format!("{line} -h"));
        assert!(help.contains("see more with '--help'"), "{line}:\n{help}");
        assert!(help.lines().all(|shown| shown.chars().count() <= COLUMNS), "{line}:\n{help}");
    }
}

#[test]
fn every_command_has_a_manual_page_that_renders() {
    let place = Place::new();
    fs::create_dir(place.path("man1")).unwrap();
    place.good("man man1");
    let pages: BTreeSet<_> = fs::read_dir(place.path("man1"))
        .unwrap()
        .map(|page| page.unwrap().file_name().into_string().unwrap())
        .collect();
    for line in leaves() {
        let name = format!("freshk-{}.1", line.replace(' ', "-"));
        assert!(pages.contains(&name), "{name}");
    }
    for name in pages {
        let page = place.read(&format!("man1/{name}"));
        for request in [".TH ", ".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION"] {
            assert!(page.contains(request), "{name} lacks {request}");
        }
        if let Some(warnings) = troff(&place, &name) {
            assert_eq!(warnings, "", "{name}");
        }
        let words = page.lines().filter(|line| !line.starts_with('.'));
        assert!(words.clone().any(|line| line.contains("freshk")), "{name}");
    }
}

/// What a formatter of manual pages complains of, where there is one.
fn troff(place: &Place, page: &str) -> Option<String> {
    let path = place.path("man1").join(page);
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).arg(&path).output().ok()
    };
    // Without -Tutf8 an ellipsis would be one that the device does not have.
    let output = run("groff", &["-ww", "-man", "-Kutf8", "-Tutf8"])
        .or_else(|| run("mandoc", &["-T", "lint", "-W", "error"]))?;
    Some(String::from_utf8_lossy(&output.stderr).into_owned())
}
