//! Answers on standard output: text, tables for people, JSON for scripts.

use std::io::{self, BufWriter, IsTerminal as _, Write};

use rustix::termios::tcgetwinsize;
use serde::Serialize;

use super::table;
use super::wrap::wrapped;
use crate::telemetry::wants_colours;

/// Where answers go. A reader that has gone away (`| head`) is no error.
pub struct Output {
    /// Whether JSON was asked for.
    pub json: bool,
    is_gone: bool,
    is_terminal: bool,
    screen: Screen,
    writer: Box<dyn Write>,
}

/// What the answer is read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// In columns.
    pub width: u16,
    /// Whether it shows colours, and wants them.
    pub has_colours: bool,
}

/// How far what follows of a broken line is indented.
const HANGING: usize = 2;

/// Where nobody knows how wide it is.
const UNKNOWN: Screen = Screen { width: 80, has_colours: false };

impl Output {
    /// Standard output.
    pub fn stdout(json: bool) -> Self {
        let stdout = io::stdout();
        let width = tcgetwinsize(&stdout).map_or(0, |size| size.ws_col);
        let width = if width == 0 { UNKNOWN.width } else { width };
        let screen = Screen { width, has_colours: wants_colours(&stdout) };
        Self { screen, is_terminal: stdout.is_terminal(), ..Self::new(json, Box::new(stdout)) }
    }

    /// Any writer.
    pub fn new(json: bool, writer: Box<dyn Write>) -> Self {
        Self { json, is_gone: false, is_terminal: false, screen: UNKNOWN, writer }
    }

    /// Writes text as it is.
    ///
    /// # Errors
    /// Whatever the writer says, unless the reader has gone away.
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        let written = self.writer.write_all(text.as_bytes()).and_then(|()| self.writer.flush());
        self.settle(written)
    }

    /// Writes sentences, on a terminal so that they fit.
    ///
    /// # Errors
    /// As [`Output::text`].
    pub fn sentences(&mut self, text: &str) -> io::Result<()> {
        if self.is_terminal {
            self.text(&wrapped(text, usize::from(self.screen.width), HANGING))
        } else {
            self.text(text)
        }
    }

    fn settle(&mut self, written: io::Result<()>) -> io::Result<()> {
        match written {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_gone = true;
                Ok(())
            }
            other => other,
        }
    }

    /// What the answer is read on.
    pub const fn screen(&self) -> Screen {
        self.screen
    }

    /// Whether the reader has gone away, so that nothing more need be written.
    pub const fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Writes a JSON document, indented, as it is serialized: a long one never stands in memory as text.
    ///
    /// # Errors
    /// As [`Output::text`].
    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut writer = BufWriter::new(&mut self.writer);
        let written = serde_json::to_writer_pretty(&mut writer, value).map_err(io::Error::from);
        let written = written.and_then(|()| writer.write_all(b"\n")).and_then(|()| writer.flush());
        drop(writer);
        self.settle(written)
    }

    /// Writes a table, on a terminal so that it fits; control characters in its cells are escaped.
    ///
    /// # Errors
    /// As [`Output::text`].
    pub fn table<const N: usize>(
        &mut self,
        header: [&str; N],
        rows: impl IntoIterator<Item = [String; N]>,
    ) -> io::Result<()> {
        let rows: Vec<[String; N]> = rows.into_iter().map(|row| row.map(|cell| escaped(&cell))).collect();
        let width = self.is_terminal.then_some(usize::from(self.screen.width));
        self.text(&table::text(header, &rows, width))
    }
}

/// Writes something beside the answer to standard error, on a terminal so that it fits; if that is closed, it is lost.
pub fn note(text: &str) {
    let stderr = io::stderr();
    let width = tcgetwinsize(&stderr).map_or(0, |size| usize::from(size.ws_col));
    if width == 0 {
        drop(writeln!(&stderr, "{text}"));
    } else {
        drop(writeln!(&stderr, "{}", wrapped(text, width, HANGING)));
    }
}

/// The rows that a list shows, and how many there are.
pub struct Listed<T> {
    /// Those that are shown.
    pub rows: Vec<T>,
    /// Those that are shown, and those beyond the limit.
    pub total: usize,
    /// Whether there may be more: not all was looked through to count them.
    pub is_least: bool,
}

impl<T> Listed<T> {
    /// None so far.
    pub const fn new() -> Self {
        Self { rows: Vec::new(), total: 0, is_least: false }
    }

    /// The first `limit` of all.
    pub fn first(mut all: Vec<T>, limit: usize) -> Self {
        let total = all.len();
        all.truncate(limit);
        Self { rows: all, total, is_least: false }
    }

    /// Takes what a page brought: `limit` rows are kept, all are counted.
    pub fn take(&mut self, page: impl IntoIterator<Item = T>, limit: usize) {
        for row in page {
            self.total += 1;
            if self.rows.len() < limit {
                self.rows.push(row);
            }
        }
    }

    /// Says on standard error how many there are, where not all are shown; in JSON the total is beside the list.
    pub fn tell(&self, json: bool) {
        let shown = self.rows.len();
        if (shown < self.total || self.is_least) && !json {
            note(&format!(
                "{} of {}{}; --limit N shows more",
                grouped(shown as u64),
                if self.is_least { "at least " } else { "" },
                grouped(self.total as u64)
            ));
        }
    }
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// `1 session`, `2 sessions`; a word that is made otherwise gives both forms, as in `entry|entries`.
pub fn counted(count: impl TryInto<u64>, word: &str) -> String {
    let count: u64 = count.try_into().unwrap_or(u64::MAX);
    let (one, many) = word.split_once('|').unwrap_or((word, ""));
    match (count, many) {
        (1, _) => format!("1 {one}"),
        (_, "") => format!("{} {one}s", grouped(count)),
        (_, many) => format!("{} {many}", grouped(count)),
    }
}

/// A number with its thousands apart: `1,189`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let places = digits.len();
    let grouped = digits.chars().enumerate().map(|(at, digit)| {
        let begins_group = at > 0 && (places - at).is_multiple_of(3);
        if begins_group { format!(",{digit}") } else { digit.to_string() }
    });
    grouped.collect()
}

/// Text that cannot steer a terminal: control characters are escaped.
pub fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escape = c.is_control().then(|| c.escape_default());
            let plain = if escape.is_some() { None } else { Some(c) };
            escape.into_iter().flatten().chain(plain)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_gone_away_is_no_error() {
        assert!(Output::new(false, Box::new(Gone)).text("x").is_ok());
        let mut output = Output::new(true, Box::new(Gone));
        assert!(output.json(&"x").is_ok() && output.is_gone());
    }

    #[test]
    fn a_list_counts_what_it_does_not_show() {
        let mut listed = Listed::new();
        listed.take(0..40, 50);
        listed.take(40..1189, 50);
        assert_eq!((listed.rows.len(), listed.total), (50, 1189));
        assert_eq!(Listed::first((0..60).collect(), 50).rows.len(), 50);
        assert_eq!([7, 999, 1189, 1_234_567].map(grouped), ["7", "999", "1,189", "1,234,567"]);
    }

    #[test]
    fn one_is_singular() {
        assert_eq!(counted(0_u64, "session"), "0 sessions");
        assert_eq!(counted(1_usize, "session"), "1 session");
        assert_eq!(counted(1_189_u64, "entry|entries"), "1,189 entries");
    }

    #[test]
    fn s34_a_cell_cannot_steer_the_terminal() {
        assert_eq!(escaped("a\u{1b}[2J\nb"), "a\\u{1b}[2J\\nb");
    }
}
