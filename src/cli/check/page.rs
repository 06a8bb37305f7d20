//! The list for eyes: groups of lines, wrapped, the verdicts coloured where a terminal shows them.

use std::fmt::Write as _;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::Group;
use super::line::Verdict;
use crate::cli::output::{Screen, counted, escaped};

/// What stands before every line of a group.
const INDENT: u16 = 2;

/// The narrowest screen that is laid out for; on a narrower one the terminal breaks lines.
const NARROWEST: u16 = 50;

/// Verdict, what was looked at (the longest is `trusted proxies`), arrow, words.
const COLUMNS: [u16; 3] = [6, 17, 3];

const PLAIN: &str = "\x1b[0m";
const BOLD: &str = "\x1b[1m";

pub(super) fn text(groups: &[Group], screen: Screen) -> String {
    lines(groups, screen) + &summary(groups, screen) + "\n"
}

/// The groups without the summary.
pub(super) fn lines(groups: &[Group], screen: Screen) -> String {
    let mut text = String::new();
    for group in groups {
        let heading = styled(group.name, BOLD, screen);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{heading}");
        for line in table(group, screen).lines() {
            let _ = writeln!(text, "{:1$}{2}", "", usize::from(INDENT), coloured(line.trim_end(), screen));
        }
        text.push('\n');
    }
    text
}

fn table(group: &Group, screen: Screen) -> Table {
    let words = screen.width.max(NARROWEST) - INDENT - COLUMNS.iter().sum::<u16>();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(screen.width.max(NARROWEST));
    for line in &group.lines {
        table.add_row([line.verdict.as_str(), line.what, "", &escaped(&line.found)]);
        if !line.help.is_empty() {
            table.add_row(["", "", "->", &escaped(&line.help)]);
        }
    }
    for (column, width) in table.column_iter_mut().zip(COLUMNS.into_iter().chain([words])) {
        column.set_padding((0, 0)).set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
    }
    table
}

/// A line whose verdict, its first word, has its colour.
fn coloured(line: &str, screen: Screen) -> String {
    let verdicts = [Verdict::Ok, Verdict::Warn, Verdict::Fail];
    let found = verdicts.into_iter().find_map(|verdict| {
        let rest = line.strip_prefix(verdict.as_str()).filter(|rest| rest.starts_with(' '))?;
        Some((verdict, rest))
    });
    match found {
        Some((verdict, rest)) => styled(verdict.as_str(), colour(verdict), screen) + rest,
        None => line.to_owned(),
    }
}

const fn colour(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "\x1b[32m",
        Verdict::Warn => "\x1b[33m",
        Verdict::Fail => "\x1b[31m",
    }
}

fn styled(text: &str, style: &str, screen: Screen) -> String {
    if screen.has_colours { format!("{style}{text}{PLAIN}") } else { text.to_owned() }
}

/// `17 ok, 2 warnings, 1 failure`
fn summary(groups: &[Group], screen: Screen) -> String {
    let count =
        |verdict| groups.iter().flat_map(|group| &group.lines).filter(|line| line.verdict == verdict).count();
    let parts = [
        (Verdict::Ok, format!("{} ok", count(Verdict::Ok))),
        (Verdict::Warn, counted(count(Verdict::Warn), "warning")),
        (Verdict::Fail, counted(count(Verdict::Fail), "failure")),
    ];
    let parts = parts.map(
        |(verdict, words)| {
            if count(verdict) == 0 { words } else { styled(&words, colour(verdict), screen) }
        },
    );
    parts.join(", ")
}
