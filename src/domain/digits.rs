//! Digits and invisible characters of any script: phones have keyboards of their own, and paste what cannot be seen.
//!
//! Source: `DerivedGeneralCategory.txt` of Unicode 16.0. The digits of a script follow one another from 0 to 9.

/// The zero of each script that has decimal digits (general category Nd), ascending.
const ZEROS: [u32; 76] = [
    0x0030, 0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66,
    0x0DE6, 0x0E50, 0x0ED0, 0x0F20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50,
    0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10, 0x104A0, 0x10D30,
    0x10D40, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0, 0x116D0,
    0x116DA, 0x11730, 0x118E0, 0x11950, 0x11BF0, 0x11C50, 0x11D50, 0x11DA0, 0x11F50, 0x16130, 0x16A60,
    0x16AC0, 0x16B50, 0x16D70, 0x1CCF0, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0,
    0x1E4F0, 0x1E5F1, 0x1E950, 0x1FBF0,
];

/// The invisible format characters (general category Cf), as ranges with both ends, ascending.
const FORMATS: [(u32, u32); 21] = [
    (0x00AD, 0x00AD),
    (0x0600, 0x0605),
    (0x061C, 0x061C),
    (0x06DD, 0x06DD),
    (0x070F, 0x070F),
    (0x0890, 0x0891),
    (0x08E2, 0x08E2),
    (0x180E, 0x180E),
    (0x200B, 0x200F),
    (0x202A, 0x202E),
    (0x2060, 0x2064),
    (0x2066, 0x206F),
    (0xFEFF, 0xFEFF),
    (0xFFF9, 0xFFFB),
    (0x110BD, 0x110BD),
    (0x110CD, 0x110CD),
    (0x13430, 0x1343F),
    (0x1BCA0, 0x1BCA3),
    (0x1D173, 0x1D17A),
    (0xE0001, 0xE0001),
    (0xE0020, 0xE007F),
];

/// The value of a decimal digit of any script, as an ASCII digit; `None` for every other character.
pub fn ascii_digit(c: char) -> Option<char> {
    let point = u32::from(c);
    let below = ZEROS.partition_point(|zero| *zero <= point);
    let zero = ZEROS.get(below.checked_sub(1)?)?;
    char::from_digit(point - zero, 10)
}

/// Whether a character shows nothing and means nothing in a code: white space, or a format character.
pub fn is_invisible(c: char) -> bool {
    let point = u32::from(c);
    let below = FORMATS.partition_point(|(first, _)| *first <= point);
    c.is_whitespace() || below.checked_sub(1).is_some_and(|range| point <= FORMATS[range].1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn digits_of_every_script_have_their_value() {
        for (zero, nine) in
            [('0', '9'), ('٠', '٩'), ('۰', '۹'), ('०', '९'), ('０', '９'), ('𝟶', '𝟿'), ('🯰', '🯹')]
        {
            assert_eq!((ascii_digit(zero), ascii_digit(nine)), (Some('0'), Some('9')), "{zero}");
        }
        for other in ['/', ':', 'a', '²', '½', '①', 'Ⅷ', '一', '፩', '\u{0}', '\u{10ffff}'] {
            assert_eq!(ascii_digit(other), None, "{other:?}");
        }
    }

    #[test]
    fn what_shows_nothing_is_invisible() {
        for c in [' ', '\t', '\n', '\r', '\u{a0}', '\u{3000}', '\u{ad}', '\u{200e}', '\u{202c}', '\u{feff}'] {
            assert!(is_invisible(c), "{c:?}");
        }
        for c in ['0', '-', '.', '+', '\u{0}', '\u{7f}', '\u{301}', '\u{2065}', '\u{e0100}'] {
            assert!(!is_invisible(c), "{c:?}");
        }
    }

    proptest! {
        #[test]
        fn the_tables_are_those_of_unicode(digit in r"\p{Nd}", format in r"\p{Cf}", neither in r"[^\p{Nd}\p{Cf}\s]") {
            prop_assert!(ascii_digit(digit.chars().next().unwrap()).is_some(), "{digit:?}");
            prop_assert!(is_invisible(format.chars().next().unwrap()), "{format:?}");
            let neither = neither.chars().next().unwrap();
            prop_assert!(ascii_digit(neither).is_none() && !is_invisible(neither), "{neither:?}");
        }
    }
}
