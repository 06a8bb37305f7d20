//! What a text costs: carriers bill by the segment, and one character outside GSM-7 more than doubles the number.
//!
//! Sources: 3GPP TS 23.038 §6.2.1 (the alphabets), TS 23.040 §9.2.3.24.1 (the header that joins segments).

use std::fmt;

/// The default alphabet, one unit a character; escape, which only introduces the extension, is left out.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?\
                     ¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";

/// The extension table, two units a character.
const EXTENSION: &str = "\u{c}^{}\\[~]|€";

/// How the characters of a text travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// Seven bits a unit: 160 in a lone segment, 153 in each of several.
    Gsm7,
    /// Sixteen bits a unit, for any text with a character that GSM-7 lacks: 70, and 67.
    Ucs2,
}

/// The size of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// How its characters travel.
    pub alphabet: Alphabet,
    /// Its length in units of that alphabet.
    pub units: usize,
    /// What is paid for.
    pub segments: u32,
}

impl fmt::Display for Alphabet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gsm7 => "GSM-7",
            Self::Ucs2 => "UCS-2",
        })
    }
}

impl Alphabet {
    /// The units that fit into a text of one segment.
    pub const fn single(self) -> usize {
        match self {
            Self::Gsm7 => 160,
            Self::Ucs2 => 70,
        }
    }

    /// The units that fit into each segment of a longer text.
    pub const fn joined(self) -> usize {
        match self {
            Self::Gsm7 => 153,
            Self::Ucs2 => 67,
        }
    }
}

/// The units of a character in GSM-7, one or two; `None` if it is in neither table.
pub fn gsm7_units(c: char) -> Option<usize> {
    // What texts are mostly made of needs no look into the tables.
    if matches!(c, ' '..='Z' | 'a'..='z') || BASIC.contains(c) {
        Some(1)
    } else if EXTENSION.contains(c) {
        Some(2)
    } else {
        None
    }
}

/// Measures a text.
pub fn measure(text: &str) -> Size {
    let gsm7: Option<usize> = text.chars().map(gsm7_units).sum();
    let (alphabet, units) = match gsm7 {
        Some(units) => (Alphabet::Gsm7, units),
        None => (Alphabet::Ucs2, text.chars().map(char::len_utf16).sum()),
    };
    let segments = if units <= alphabet.single() { 1 } else { joined_segments(text, alphabet) };
    Size { alphabet, units, segments }
}

/// Fills the segments of a longer text one after the other; a character of two units is never torn.
fn joined_segments(text: &str, alphabet: Alphabet) -> u32 {
    let (mut segments, mut used) = (1, 0);
    for c in text.chars() {
        let units = match alphabet {
            Alphabet::Gsm7 => gsm7_units(c).unwrap_or_default(),
            Alphabet::Ucs2 => c.len_utf16(),
        };
        if used + units > alphabet.joined() {
            segments += 1;
            used = 0;
        }
        used += units;
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn size(text: &str) -> (Alphabet, usize, u32) {
        let size = measure(text);
        (size.alphabet, size.units, size.segments)
    }

    #[test]
    fn the_tables_are_whole() {
        assert_eq!(BASIC.chars().count(), 127);
        assert_eq!(EXTENSION.chars().count(), 10);
    }

    #[test]
    fn what_needs_no_look_into_the_tables_is_in_the_first() {
        assert!((' '..='Z').chain('a'..='z').all(|c| BASIC.contains(c)));
    }

    #[test]
    fn gsm7_holds_160_then_153_a_segment() {
        assert_eq!(size(""), (Alphabet::Gsm7, 0, 1));
        assert_eq!(size(&"a".repeat(160)), (Alphabet::Gsm7, 160, 1));
        assert_eq!(size(&"a".repeat(161)), (Alphabet::Gsm7, 161, 2));
        assert_eq!(size(&"a".repeat(306)), (Alphabet::Gsm7, 306, 2));
        assert_eq!(size(&"a".repeat(307)), (Alphabet::Gsm7, 307, 3));
    }

    #[test]
    fn ucs2_holds_70_then_67_a_segment() {
        assert_eq!(size(&"ж".repeat(70)), (Alphabet::Ucs2, 70, 1));
        assert_eq!(size(&"ж".repeat(71)), (Alphabet::Ucs2, 71, 2));
        assert_eq!(size(&"ж".repeat(134)), (Alphabet::Ucs2, 134, 2));
        assert_eq!(size(&"ж".repeat(135)), (Alphabet::Ucs2, 135, 3));
    }

    #[test]
    fn one_strange_character_changes_the_alphabet_of_all() {
        assert_eq!(size(&"a".repeat(80)).0, Alphabet::Gsm7);
        assert_eq!(size(&format!("{}’", "a".repeat(80))), (Alphabet::Ucs2, 81, 2));
        assert_eq!(size("`").0, Alphabet::Ucs2);
    }

    #[test]
    fn extended_characters_count_two_and_are_never_torn() {
        for c in "^{}\\[~]|€\u{c}".chars() {
            assert_eq!(size(&c.to_string()), (Alphabet::Gsm7, 2, 1), "{c:?}");
        }
        assert_eq!(size(&"€".repeat(80)), (Alphabet::Gsm7, 160, 1));
        // 153 is odd: the 77th sign goes to the next segment whole, so that 153 of them need three segments of 76.
        assert_eq!(size(&"€".repeat(152)), (Alphabet::Gsm7, 304, 2));
        assert_eq!(size(&"€".repeat(153)), (Alphabet::Gsm7, 306, 3));
    }

    #[test]
    fn a_surrogate_pair_counts_two_and_is_never_torn() {
        assert_eq!(size("😀"), (Alphabet::Ucs2, 2, 1));
        assert_eq!(size(&"😀".repeat(66)), (Alphabet::Ucs2, 132, 2));
        assert_eq!(size(&"😀".repeat(67)), (Alphabet::Ucs2, 134, 3));
    }

    /// The alphabet by septet, as TS 23.038 §6.2.1 draws it; 0x1b is the escape.
    const SEPTETS: [&str; 8] = [
        "@£$¥èéùìòÇ\nØø\rÅå",
        "Δ_ΦΓΛΩΠΨΣΘΞ\u{1b}ÆæßÉ",
        " !\"#¤%&'()*+,-./",
        "0123456789:;<=>?",
        "¡ABCDEFGHIJKLMNO",
        "PQRSTUVWXYZÄÖÑÜ§",
        "¿abcdefghijklmno",
        "pqrstuvwxyzäöñüà",
    ];

    const ESCAPE: u8 = 0x1b;

    const EXTENDED: [(char, u8); 10] = [
        ('\u{c}', 0x0a),
        ('^', 0x14),
        ('{', 0x28),
        ('}', 0x29),
        ('\\', 0x2f),
        ('[', 0x3c),
        ('~', 0x3d),
        (']', 0x3e),
        ('|', 0x40),
        ('€', 0x65),
    ];

    /// The septets of a text, if it has any.
    fn septets(text: &str) -> Option<Vec<u8>> {
        let mut septets = Vec::new();
        for c in text.chars() {
            let extended = EXTENDED.iter().find(|(extended, _)| *extended == c);
            let basic = SEPTETS.concat().chars().position(|basic| basic == c && c != '\u{1b}');
            match (basic, extended) {
                (Some(at), _) => septets.push(u8::try_from(at).unwrap()),
                (None, Some((_, after))) => septets.extend([ESCAPE, *after]),
                (None, None) => return None,
            }
        }
        Some(septets)
    }

    /// Cuts one part after the other off what is really sent; what must not be cut from what follows goes into the next one.
    fn parts<T: Copy>(mut units: &[T], (single, joined): (usize, usize), begins: fn(T) -> bool) -> u32 {
        if units.len() <= single {
            return 1;
        }
        let mut parts = 0;
        while !units.is_empty() {
            let mut cut = joined.min(units.len());
            if cut < units.len() && begins(units[cut - 1]) {
                cut -= 1;
            }
            units = &units[cut..];
            parts += 1;
        }
        parts
    }

    fn naive(text: &str) -> (Alphabet, usize, u32) {
        if let Some(septets) = septets(text) {
            return (Alphabet::Gsm7, septets.len(), parts(&septets, (160, 153), |septet| septet == ESCAPE));
        }
        let units: Vec<u16> = text.encode_utf16().collect();
        (Alphabet::Ucs2, units.len(), parts(&units, (70, 67), |unit| (0xd800..0xdc00).contains(&unit)))
    }

    #[test]
    fn the_second_implementation_knows_every_septet() {
        assert_eq!(SEPTETS.concat().chars().count(), 128);
        assert_eq!(septets("@\u{e0}€"), Some(vec![0, 127, 0x1b, 0x65]));
        assert_eq!(septets("\u{1b}"), None);
    }

    proptest! {
        #[test]
        fn a_second_naive_implementation_agrees_on_gsm7(text in "[a-zA-Z0-9@£é \n€\\[\\]^|~]{0,500}") {
            prop_assert_eq!(size(&text), naive(&text));
        }

        #[test]
        fn a_second_naive_implementation_agrees_on_ucs2(text in "[a-z€жक验\u{1f600}\u{1f4a9}]{0,300}") {
            prop_assert_eq!(size(&text), naive(&text));
        }

        #[test]
        fn a_second_naive_implementation_agrees_on_any_text(text in any::<String>()) {
            prop_assert_eq!(size(&text), naive(&text));
        }

        #[test]
        fn segments_hold_their_text_and_not_much_more(text in "[a-z€^😀ж]{0,400}") {
            let Size { alphabet, units, segments } = measure(&text);
            let segments = segments as usize;
            if segments == 1 {
                prop_assert!(units <= alphabet.single());
            } else {
                prop_assert!(units > alphabet.single());
                prop_assert!(units <= segments * alphabet.joined());
                // Each segment but the last lacks at most the one unit that a pair did not fit into.
                prop_assert!(units > (segments - 1) * (alphabet.joined() - 1));
            }
        }

        #[test]
        fn more_text_never_costs_less(text in any::<String>(), more in any::<String>()) {
            let longer = format!("{text}{more}");
            prop_assert!(measure(&longer).segments >= measure(&text).segments);
        }
    }
}
