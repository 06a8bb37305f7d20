//! Parts of HTML: escaped text, tables, figures in the units of a person, and curves.

use std::fmt::{self, Write as _};
use std::time::Duration;

/// Text as HTML may show it.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

/// Text in which commands stand between backquotes.
pub(super) struct WithCode<'a>(pub(super) &'a str);

impl fmt::Display for WithCode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.0.split('`').enumerate() {
            if at % 2 == 1 {
                write!(f, "<code>{}</code>", Escaped(part))?;
            } else {
                write!(f, "{}", Escaped(part))?;
            }
        }
        Ok(())
    }
}

/// A card with a title, what it holds, and the command that tells more.
pub(super) fn card(title: &str, inner: &str, command: &str) -> String {
    format!(
        "<section><h2>{}</h2>{inner}<p class=\"more\">more: <code>{}</code></p></section>",
        Escaped(title),
        Escaped(command)
    )
}

/// Rows of a name and its figures.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> String {
    rows_of(heads, rows, " class=\"n\"")
}

/// Rows of words.
pub(super) fn texts(heads: &[&str], rows: &[Vec<String>]) -> String {
    rows_of(heads, rows, "")
}

/// `class` is that of all cells but the first of a row.
fn rows_of(heads: &[&str], rows: &[Vec<String>], class: &str) -> String {
    if rows.is_empty() {
        return "<p class=\"dim\">nothing yet</p>".to_owned();
    }
    let mut table = String::from("<table>");
    // Writing to a string cannot fail, here and below.
    if !heads.is_empty() {
        table += "<tr>";
        for head in heads {
            let _ = write!(table, "<th>{}</th>", Escaped(head));
        }
        table += "</tr>";
    }
    for row in rows {
        table += "<tr>";
        for (at, cell) in row.iter().enumerate() {
            let class = if at == 0 { "" } else { class };
            let _ = write!(table, "<td{class}>{}</td>", Escaped(cell));
        }
        table += "</tr>";
    }
    table + "</table>"
}

/// The course of a count as a line; a flat one where nothing happened.
pub(super) fn curve(parts: &[f64], what: &str) -> String {
    const WIDTH: f64 = 300.0;
    const HEIGHT: f64 = 38.0;
    let most = parts.iter().copied().fold(1.0, f64::max);
    let steps = u32::try_from(parts.len().max(2) - 1).unwrap_or(u32::MAX);
    let step = WIDTH / f64::from(steps);
    let (mut line, mut x) = (String::new(), 0.0);
    for part in parts {
        let y = 1.0 + (HEIGHT - 2.0) * (1.0 - part.max(0.0) / most);
        let _ = write!(line, "{}{x:.1} {y:.1}", if line.is_empty() { "M" } else { "L" });
        x += step;
    }
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\"><path d=\"{line}\"/></svg>",
        Escaped(what)
    )
}

/// A share, `–` where there is none of it.
pub(super) fn percent(part: f64, whole: f64) -> String {
    if whole > 0.0 { format!("{:.1} %", 100.0 * part / whole) } else { "–".to_owned() }
}

/// A count as people write it: `12,345`.
pub(super) fn count(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An amount of money with two decimals, as people write it.
pub(super) fn money(amount: f64) -> String {
    let text = format!("{:.2}", amount.max(0.0));
    let (whole, cents) = text.split_once('.').unwrap_or((&text, "00"));
    format!("{}.{cents}", count(whole.parse().unwrap_or(0.0)))
}

/// A size.
pub(super) fn bytes(value: f64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (value, UNITS[0]);
    for larger in &UNITS[1..] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    if unit == UNITS[0] { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

/// A duration that a machine measured: `1.5 ms`.
pub(super) fn latency(seconds: Option<f64>) -> String {
    match seconds {
        None => "–".to_owned(),
        Some(seconds) if seconds < 1.0 => format!("{:.1} ms", 1000.0 * seconds),
        Some(seconds) => format!("{seconds:.1} s"),
    }
}

/// How long something has lasted: `45 seconds`, `3 hours`, `12 days`; rounded down.
pub(super) fn lasting(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (count, unit) = match seconds {
        ..120 => (seconds, "second"),
        120..7200 => (seconds / 60, "minute"),
        7200..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_row_says_is_text_and_never_markup() {
        let evil = "<script>alert('1 & \"2\"')</script>";
        let shown = table(&[], &[vec![evil.to_owned()]]);
        assert!(!shown.contains("<script"), "{shown}");
        assert!(shown.contains("&lt;script&gt;alert(&#39;1 &amp; &quot;2&quot;&#39;)"), "{shown}");
        assert_eq!(WithCode("do `a <b>` now").to_string(), "do <code>a &lt;b&gt;</code> now");
    }

    #[test]
    fn figures_are_as_people_write_them() {
        assert_eq!([0.0, 999.0, 1000.0, 1_234_567.0].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([512.0, 2048.0, 3.5 * 1024.0 * 1024.0].map(bytes), ["512 bytes", "2.0 KiB", "3.5 MiB"]);
        assert_eq!([None, Some(0.0015), Some(2.0)].map(latency), ["–", "1.5 ms", "2.0 s"]);
        assert_eq!((percent(1.0, 3.0), percent(0.0, 0.0)), ("33.3 %".to_owned(), "–".to_owned()));
        assert_eq!(
            [1, 119, 7200, 864_000].map(|seconds| lasting(Duration::from_secs(seconds))),
            ["1 second", "119 seconds", "2 hours", "10 days"]
        );
    }

    #[test]
    fn a_curve_has_a_point_for_each_part_within_its_box() {
        let drawn = curve(&[0.0, 5.0, 10.0], "x");
        assert!(drawn.contains("M0.0 37.0L150.0 19.0L300.0 1.0"), "{drawn}");
        assert!(curve(&[], "x").contains("<path d=\"\"/>"));
    }
}
