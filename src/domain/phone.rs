//! Phone numbers in international format.

use std::fmt;

/// A phone number: `+`, then 10 to 15 ASCII digits of which the first is not zero (E.164), exactly as sent.
///
/// Nothing is trimmed or guessed: two spellings of one number would be two users. `Debug` prints the masked form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhoneNumber(String);

/// What was wrong with a phone number; a person needs to hear only that the format is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a phone number in international format, such as +1234567890")]
pub struct InvalidPhone;

/// E.164 allows no more digits.
const MAX_DIGITS: usize = 15;

impl PhoneNumber {
    /// The fewest digits that the guide allows, and the default of `phone.min_digits`.
    pub const MIN_DIGITS: usize = 10;

    /// Reads a phone number of at least `min_digits` digits.
    ///
    /// # Errors
    /// [`InvalidPhone`] for everything that is not `^\+[1-9][0-9]{min_digits-1,14}$` in ASCII.
    pub fn parse(text: &str, min_digits: usize) -> Result<Self, InvalidPhone> {
        let digits = text.strip_prefix('+').ok_or(InvalidPhone)?;
        let well_formed = (min_digits..=MAX_DIGITS).contains(&digits.len())
            && !digits.starts_with('0')
            && digits.bytes().all(|b| b.is_ascii_digit());
        if well_formed { Ok(Self(text.to_owned())) } else { Err(InvalidPhone) }
    }

    /// The number as sent, with its `+`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits alone.
    pub fn digits(&self) -> &str {
        &self.0[1..]
    }

    /// The country calling code, without the `+` (ITU-T E.164, assignments by prefix): `1`, `49`, `351`. Several countries
    /// share some of them.
    pub fn calling_code(&self) -> &str {
        let digits = self.digits();
        let length = match &digits.as_bytes()[..2] {
            [b'1' | b'7', _] => 1,
            [b'2', b'0' | b'7']
            | [b'3', b'0'..=b'4' | b'6' | b'9']
            | [b'4', b'0' | b'1' | b'3'..=b'9']
            | [b'5', b'1'..=b'8']
            | [b'6', b'0'..=b'6']
            | [b'8', b'1' | b'2' | b'4' | b'6']
            | [b'9', b'0'..=b'5' | b'8'] => 2,
            _ => 3,
        };
        &digits[..length]
    }

    /// The form for logs and audit: `+12****7890`. The last four digits tell the people of one list apart.
    pub fn masked(&self) -> String {
        mask_digits(&self.0)
    }
}

/// The digits at the end that stay readable, where as many as [`HIDDEN`] are hidden before them.
const TAIL: usize = 4;

/// The digits at the beginning that stay readable in a number of the length that the guide allows.
const HEAD: usize = 2;

/// The fewest digits that are hidden.
const HIDDEN: usize = 4;

/// The fewest digits that make a phone.
const PHONE_DIGITS: usize = 7;

/// A username that holds a phone's worth of digits, masked as the phone is; any other as it is.
pub fn mask_name(username: &str) -> String {
    let digits = username.chars().filter(|c| c.is_numeric()).count();
    if digits < PHONE_DIGITS { username.to_owned() } else { mask_digits(username) }
}

/// Stars the digits of a text, of any script, save those at its ends.
fn mask_digits(text: &str) -> String {
    let digits = text.chars().filter(|c| c.is_numeric()).count();
    let tail = TAIL.min(digits.saturating_sub(HIDDEN));
    let head = if digits >= HEAD + HIDDEN + TAIL { HEAD } else { 0 };
    let mut seen = 0;
    let masked = text.chars().map(|c| {
        if !c.is_numeric() {
            return c;
        }
        seen += 1;
        if seen <= head || seen > digits - tail { c } else { '*' }
    });
    masked.collect()
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<PhoneNumber, InvalidPhone> {
        PhoneNumber::parse(text, PhoneNumber::MIN_DIGITS)
    }

    #[test]
    fn the_guides_example_is_good() {
        assert_eq!(parse("+1234567890").unwrap().digits(), "1234567890");
    }

    #[test]
    fn the_calling_code_is_the_countrys() {
        for (phone, code) in [
            ("+12025550123", "1"),
            ("+79161234567", "7"),
            ("+201001234567", "20"),
            ("+27821234567", "27"),
            ("+351912345678", "351"),
            ("+4915112345678", "49"),
            ("+420601123456", "420"),
            ("+529991234567", "52"),
            ("+590690123456", "590"),
            ("+6581234567", "65"),
            ("+670771234567", "670"),
            ("+8613912345678", "86"),
            ("+85291234567", "852"),
            ("+919876543210", "91"),
            ("+971501234567", "971"),
            ("+998901234567", "998"),
        ] {
            assert_eq!(parse(phone).unwrap().calling_code(), code, "{phone}");
        }
    }

    #[test]
    fn s11_everything_else_is_refused() {
        for bad in [
            "",
            "+",
            "1234567890",
            "+0234567890",
            "+123456789",
            "+1234567890123456",
            " +1234567890",
            "+1234567890 ",
            "+123 456 7890",
            "+12345\u{0}67890",
            "+١٢٣٤٥٦٧٨٩٠",
            "\u{ff0b}1234567890",
            "+\u{ff11}234567890",
            "++1234567890",
            "+1234567890\n",
            "+12-34567890",
            "tel:+1234567890",
        ] {
            assert_eq!(parse(bad), Err(InvalidPhone), "{bad:?}");
        }
    }

    #[test]
    fn masking_keeps_the_last_four_digits_and_hides_four_at_least() {
        let phone = parse("+1234567890").unwrap();
        assert_eq!(phone.masked(), "+12****7890");
        assert_eq!(format!("{phone:?}"), "+12****7890");
        for (text, masked) in [
            ("+15550000001", "+15*****0001"),
            ("+15550000101", "+15*****0101"),
            ("+123456789", "+*****6789"),
            ("+12345678", "+****5678"),
            ("+1234567", "+****567"),
            ("+1234", "+****"),
        ] {
            assert_eq!(PhoneNumber::parse(text, 1).unwrap().masked(), masked);
        }
    }

    #[test]
    fn a_name_made_of_a_phone_is_masked_and_others_are_not() {
        for (name, shown) in [
            ("user_1234567890", "user_12****7890"),
            ("+1234567890", "+12****7890"),
            ("123-456-7890", "12*-***-7890"),
            ("user_\u{661}\u{662}\u{663}\u{664}\u{665}\u{666}\u{667}", "user_****\u{665}\u{666}\u{667}"),
            ("anna1999", "anna1999"),
            ("", ""),
        ] {
            assert_eq!(mask_name(name), shown);
        }
    }

    #[test]
    fn fewer_digits_only_where_configured() {
        assert!(PhoneNumber::parse("+12345678", 8).is_ok());
        assert!(parse("+12345678").is_err());
    }

    proptest! {
        #[test]
        fn s11_accepts_exactly_the_pattern(text in "\\+?[0-9+ ]{0,18}") {
            let digits = text.strip_prefix('+').unwrap_or("x");
            let good = (10..=15).contains(&digits.len())
                && digits.chars().all(|c| c.is_ascii_digit())
                && !digits.starts_with('0');
            prop_assert_eq!(parse(&text).is_ok(), good);
        }

        #[test]
        fn s11_never_panics_and_keeps_what_was_sent(text in any::<String>()) {
            if let Ok(phone) = parse(&text) {
                prop_assert_eq!(phone.as_str(), text);
            }
        }
    }
}
