//! Countries, and which one a phone number belongs to by the numbering plan.
//!
//! The plan is that of Google's libphonenumber (Apache License 2.0), as a table that `tools/numbering_plan.py` writes. It was
//! chosen over the crates `phonenumber` and `rlibphonenumber`, which read the whole metadata at start and compile regular
//! expressions: the table is 4 KiB of the program, costs nothing at start and nothing on the heap, and one binary search
//! finds a country.

use std::fmt;
use std::str::FromStr;

use crate::domain::PhoneNumber;

mod intervals;

use intervals::INTERVALS;

/// A country with phone numbers of its own, by its two letters (ISO 3166-1 alpha-2; also `AC`, `TA` and `XK`, which phone
/// companies use; not `EH`, whose numbers are Morocco's): `US`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

/// No country with phone numbers of its own has these letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the two letters of a country with phone numbers of its own, such as US")]
pub struct UnknownCountry;

/// In the table: numbers of no country.
const NONE: [u8; 2] = *b"  ";

/// The table tells countries apart by so many digits, calling code included.
const PREFIX: usize = 9;

impl Country {
    /// The country whose plan has the number. Calling codes that several share (`+1`, `+7`, `+44` and others) are told apart by
    /// the digits that follow; digits that none of them has been given belong to the largest. `None` for calling codes that are
    /// no country's: satellites, international services, unassigned ones.
    pub fn of(phone: &PhoneNumber) -> Option<Self> {
        let digits = phone.digits().bytes().chain(std::iter::repeat(b'0')).take(PREFIX);
        let prefix = digits.fold(0, |prefix, digit| prefix * 10 + u32::from(digit - b'0'));
        let after = INTERVALS.partition_point(|(start, _)| *start <= prefix);
        let (_, letters) = INTERVALS[..after].last()?;
        (*letters != NONE).then_some(Self(*letters))
    }

    /// The two capital letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for Country {
    type Err = UnknownCountry;

    /// Reads two letters, small or capital.
    fn from_str(text: &str) -> Result<Self, UnknownCountry> {
        let letters: [u8; 2] = text.to_ascii_uppercase().as_bytes().try_into().map_err(|_| UnknownCountry)?;
        let known = letters != NONE && INTERVALS.iter().any(|(_, country)| *country == letters);
        if known { Ok(Self(letters)) } else { Err(UnknownCountry) }
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(phone: &str) -> String {
        Country::of(&PhoneNumber::parse(phone, 4).unwrap())
            .map_or_else(|| "none".to_owned(), |country| country.to_string())
    }

    #[test]
    fn one_calling_code_is_one_country() {
        for (phone, country) in [
            ("+201001234567", "EG"),
            ("+27821234567", "ZA"),
            ("+4915112345678", "DE"),
            ("+529991234567", "MX"),
            ("+8613912345678", "CN"),
            ("+85291234567", "HK"),
            ("+919876543210", "IN"),
            ("+998901234567", "UZ"),
            ("+38349123456", "XK"),
        ] {
            assert_eq!(of(phone), country, "{phone}");
        }
    }

    #[test]
    fn shared_calling_codes_are_told_apart_by_what_follows() {
        for (phone, country) in [
            ("+12025550123", "US"),
            ("+14165550123", "CA"),
            ("+18765550123", "JM"),
            ("+16585550123", "JM"),
            ("+18095550123", "DO"),
            ("+17875550123", "PR"),
            ("+79161234567", "RU"),
            ("+77012345678", "KZ"),
            ("+447400123456", "GB"),
            ("+447911123456", "GG"),
            ("+447781123456", "GG"),
            ("+447797123456", "JE"),
            ("+447624123456", "IM"),
            ("+393123456789", "IT"),
            ("+390669812345", "VA"),
            ("+212650123456", "MA"),
            ("+262692123456", "RE"),
            ("+262639012345", "YT"),
            ("+358412345678", "FI"),
            ("+358181234567", "AX"),
            ("+4740612345", "NO"),
            ("+4779123456", "SJ"),
            ("+61412345678", "AU"),
            ("+61891621234", "CC"),
            ("+61891641234", "CX"),
            ("+590690001234", "GP"),
            ("+5997151234", "BQ"),
            ("+59995181234", "CW"),
        ] {
            assert_eq!(of(phone), country, "{phone}");
        }
    }

    #[test]
    fn digits_that_nobody_was_given_belong_to_the_largest_and_codes_that_are_no_countrys_to_none() {
        assert_eq!(of("+15550000001"), "US");
        assert_eq!(of("+1234567890"), "US");
        assert_eq!(of("+4407911123456"), "GB");
        for phone in ["+80012345678", "+881612345678", "+8823456789012", "+2101234567", "+9991234567"] {
            assert_eq!(of(phone), "none", "{phone}");
        }
    }

    #[test]
    fn two_letters_are_read_and_others_are_none() {
        assert_eq!("de".parse::<Country>().unwrap().as_str(), "DE");
        assert_eq!(format!("{:?}", "US".parse::<Country>().unwrap()), "US");
        for bad in ["", "D", "DEU", "UK", "ZZ", "AQ", "  ", "1", "é", "Germany"] {
            assert_eq!(bad.parse::<Country>(), Err(UnknownCountry), "{bad:?}");
        }
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(INTERVALS.is_sorted_by(|one, next| one.0 < next.0 && one.1 != next.1));
        assert_eq!(INTERVALS[0].0, 0);
    }

    proptest! {
        #[test]
        fn every_number_has_a_country_that_is_read_back_or_none(digits in "[1-9][0-9]{3,14}") {
            let phone = PhoneNumber::parse(&format!("+{digits}"), 4).unwrap();
            if let Some(country) = Country::of(&phone) {
                prop_assert_eq!(country.as_str().parse(), Ok(country));
            }
        }
    }

    #[test]
    fn a_prefix_belongs_to_the_interval_that_begins_with_it() {
        for (start, letters) in INTERVALS.iter().filter(|(start, _)| *start >= 100_000_000) {
            let country = Country::of(&PhoneNumber::parse(&format!("+{start}0"), 4).unwrap());
            assert_eq!(country.map_or(NONE, |country| country.0), *letters, "{start}");
        }
    }
}
