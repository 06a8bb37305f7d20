//! Tables for people. On a terminal a table that is too wide for it has its widest column wrapped; where that column would
//! become too narrow, each row is a block with a line for each cell.

use std::fmt::Write as _;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};

use super::wrap::wrapped;

/// Between two columns.
const GAP: u16 = 2;

/// A column is not made narrower than this: a few words must fit.
const NARROWEST: usize = 20;

/// Lays a table out for a terminal of `width` columns, or as wide as it is.
pub(super) fn text<const N: usize>(header: [&str; N], rows: &[[String; N]], width: Option<usize>) -> String {
    let header = header.map(str::to_uppercase);
    let mut widths: [usize; N] = std::array::from_fn(|at| header[at].chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let whole = widths.iter().sum::<usize>() + usize::from(GAP) * N.saturating_sub(1);
    let too_wide = width.map_or(0, |width| whole.saturating_sub(width));
    let Some((widest, room)) = widths.iter().copied().enumerate().max_by_key(|(_, width)| *width) else {
        return String::new();
    };
    if too_wide == 0 {
        return columns(&header, rows, None);
    }
    let left = room.saturating_sub(too_wide);
    if left >= NARROWEST.max(header[widest].chars().count()) {
        return columns(&header, rows, Some((widest, left)));
    }
    blocks(&header, rows, width.unwrap_or(usize::MAX))
}

/// A line for each row; `narrow` is a column that is wrapped, and how wide it may be.
fn columns<const N: usize>(
    header: &[String; N],
    rows: &[[String; N]],
    narrow: Option<(usize, usize)>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    if let Some((at, width)) = narrow
        && let Some(column) = table.column_mut(at)
    {
        let width = u16::try_from(width + usize::from(GAP)).unwrap_or(u16::MAX);
        column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::MAX);
    }
    // What pads the last column to its width is of no use to anybody.
    let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n") + "\n"
}

/// A block for each row, with a line for each cell, or several that fit.
fn blocks<const N: usize>(header: &[String; N], rows: &[[String; N]], width: usize) -> String {
    let name = header.iter().map(|name| name.chars().count()).max().unwrap_or(0) + usize::from(GAP);
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            text.push('\n');
        }
        for (header, cell) in header.iter().zip(row) {
            let cell = wrapped(cell, width.saturating_sub(name), 0).replace('\n', &format!("\n{:name$}", ""));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{header:<name$}{cell}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(cell: &str) -> Vec<[String; 2]> {
        vec![["1".to_owned(), cell.to_owned()], ["2".to_owned(), "x".to_owned()]]
    }

    #[test]
    fn a_table_that_fits_or_is_read_by_a_program_has_a_line_for_each_row() {
        let long = "a word and another ".repeat(9);
        for (cell, width) in [("short", Some(80)), (long.trim_end(), None)] {
            assert_eq!(
                text(["id", "detail"], &rows(cell), width),
                format!("ID  DETAIL\n1   {cell}\n2   x\n")
            );
        }
    }

    #[test]
    fn on_a_terminal_no_line_is_wider_than_it() {
        let wrapped = text(["id", "detail"], &rows(&"a word and another ".repeat(9)), Some(40));
        assert!(wrapped.lines().all(|line| line.chars().count() <= 40), "{wrapped}");
        assert!(wrapped.starts_with("ID  DETAIL\n1   a word and another a word and"), "{wrapped}");
        let id = "0190c5a4f3b27d0e9a61c2d3e4f50617";
        let blocks = text(["session", "device"], &[[id.to_owned(), "x".repeat(30)]], Some(40));
        assert_eq!(blocks, format!("SESSION  {id}\nDEVICE   {}\n", "x".repeat(30)));
        let words = ["refused: Twilio was not reached: connection failed".to_owned(), "x".repeat(35)];
        assert_eq!(
            text(["detail", "to"], &[words], Some(40)),
            format!(
                "DETAIL  refused: Twilio was not reached:\n        connection failed\nTO      {}\n",
                "x".repeat(35)
            )
        );
    }
}
