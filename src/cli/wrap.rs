//! Sentences on a terminal, broken between words: a terminal breaks them anywhere.

/// Breaks each line that is wider than `width`, before a word. What follows stands under the line's own indentation and
/// `hanging` more; a word that is too wide by itself stays whole, so that a path or a command can be copied.
pub(super) fn wrapped(text: &str, width: usize, hanging: usize) -> String {
    let lines: Vec<_> = text.split('\n').map(|line| line_wrapped(line, width, hanging)).collect();
    lines.join("\n")
}

fn line_wrapped(line: &str, width: usize, hanging: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    let indentation = line.chars().take_while(|c| *c == ' ').count();
    let (mut wrapped, mut column) = (" ".repeat(indentation), indentation);
    let mut is_first = true;
    for word in line.trim_start_matches(' ').split(' ') {
        let length = word.chars().count();
        if !is_first && column + 1 + length > width {
            column = indentation + hanging;
            wrapped.push('\n');
            wrapped.push_str(&" ".repeat(column));
        } else if !is_first {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += length;
        is_first = false;
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_wide_is_broken_between_words_and_what_follows_stands_below_it() {
        let text = "error: the first word of many\n    help that goes on\nshort";
        assert_eq!(
            wrapped(text, 14, 2),
            "error: the\n  first word\n  of many\n    help that\n      goes on\nshort"
        );
        assert_eq!(wrapped("see /a/path/that/is/long and go", 10, 0), "see\n/a/path/that/is/long\nand go");
        assert_eq!(wrapped("fits", 4, 2), "fits");
    }

    #[test]
    fn whatever_the_width_no_word_is_lost() {
        let text = "one two  three\n\n   four five";
        for width in 0..20 {
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(words(&wrapped(text, width, 3)), words(text), "{width}");
        }
    }
}
