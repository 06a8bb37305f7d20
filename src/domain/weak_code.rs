//! Codes that somebody would try first. A drawn code may be any; one that stays the same for months may not be these.

use crate::domain::{Code, PhoneNumber};

/// Why a code would be tried first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakCode {
    /// `000000`, `121212`.
    #[error("it has fewer than three different digits")]
    FewDigits,
    /// `123456`, `135791`, `987654`; one digit may be out of step.
    #[error("its digits go up or down in equal steps")]
    EqualSteps,
    /// `123123`, `808080`.
    #[error("it repeats a shorter number")]
    Repeated,
    /// `123321`.
    #[error("it reads the same backwards")]
    Mirrored,
    /// `112233`.
    #[error("its digits stand in pairs")]
    Pairs,
    /// `555000` for `+15550001234`.
    #[error("it is a part of the phone number")]
    OfThePhone,
    /// In [`WELL_KNOWN`].
    #[error("it is among the codes that people choose most often, or printed in the documentation")]
    WellKnown,
}

/// What people choose most often and no rule finds: keypad patterns, years and dates, constants; and the example that our
/// own documentation had.
const WELL_KNOWN: &[&str] = &[
    "824193", "010203", "030201", "102030", "112358", "112211", "121314", "123654", "123789", "124578",
    "142536", "142857", "147258", "147369", "147852", "159357", "159753", "235689", "246810", "258147",
    "258456", "271828", "314159", "321654", "357159", "369258", "456123", "520131", "654123", "741852",
    "753951", "789123", "789456", "852456", "963852", "987321",
];

impl WeakCode {
    /// Why `code` would be tried first as that of `phone`, if so.
    pub fn of(code: &Code, phone: &PhoneNumber) -> Option<Self> {
        let text = code.digits();
        let digits = text.as_bytes();
        if distinct(digits) < 3 {
            Some(Self::FewDigits)
        } else if (1..=digits.len() / 2).any(|period| digits[period..] == digits[..digits.len() - period]) {
            Some(Self::Repeated)
        } else if has_equal_steps(digits) {
            Some(Self::EqualSteps)
        } else if digits.iter().eq(digits.iter().rev()) {
            Some(Self::Mirrored)
        } else if digits.chunks(2).all(|pair| pair.first() == pair.last()) {
            Some(Self::Pairs)
        } else if phone.as_str().contains(text) {
            Some(Self::OfThePhone)
        } else if WELL_KNOWN.iter().any(|known| text.starts_with(known)) {
            Some(Self::WellKnown)
        } else {
            None
        }
    }
}

/// The codes of so many digits that somebody would try before all others: a few of those that [`WeakCode::of`] refuses.
pub(super) fn first_guesses(length: usize) -> impl Iterator<Item = Code> {
    let in_steps = (0..10).flat_map(|start| (0..10).map(move |step| (start, step)));
    let in_steps =
        in_steps.map(move |(start, step)| (0..length).map(|at| digit(start + step * at)).collect());
    let repeated = (0..1000).flat_map(|number| [format!("{number:03}"), format!("{:02}", number % 100)]);
    let repeated = repeated.map(move |part| part.chars().cycle().take(length).collect());
    let known = WELL_KNOWN.iter().map(|known| (*known).to_owned());
    in_steps.chain(repeated).chain(known).filter_map(move |code: String| Code::parse(&code, length))
}

fn digit(number: usize) -> char {
    char::from(b"0123456789"[number % 10])
}

fn distinct(digits: &[u8]) -> usize {
    (b'0'..=b'9').filter(|digit| digits.contains(digit)).count()
}

/// Whether all steps from digit to digit, but for one, are the same; 0 comes after 9.
fn has_equal_steps(digits: &[u8]) -> bool {
    let steps: Vec<u8> = digits.windows(2).map(|pair| (pair[1] + 10 - pair[0]) % 10).collect();
    (0..10).any(|step| steps.iter().filter(|other| **other != step).count() <= 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn weakness(code: &str) -> Option<WeakCode> {
        let phone = PhoneNumber::parse("+15005550006", 10).unwrap();
        WeakCode::of(&Code::parse(code, code.len()).unwrap(), &phone)
    }

    #[test]
    fn codes_that_are_tried_first_are_known() {
        use WeakCode::{EqualSteps, FewDigits, Mirrored, OfThePhone, Pairs, Repeated, WellKnown};
        for (code, why) in [
            ("000000", FewDigits),
            ("111111", FewDigits),
            ("999999999", FewDigits),
            ("121212", FewDigits),
            ("111222", FewDigits),
            ("123456", EqualSteps),
            ("654321", EqualSteps),
            ("012345", EqualSteps),
            ("567890", EqualSteps),
            ("135791", EqualSteps),
            ("123457", EqualSteps),
            ("12345678", EqualSteps),
            ("123123", Repeated),
            ("12341234", Repeated),
            ("1231231", Repeated),
            ("123321", Mirrored),
            ("112233", Pairs),
            ("550006", OfThePhone),
            ("824193", WellKnown),
            ("159753", WellKnown),
            ("31415926", WellKnown),
        ] {
            assert_eq!(weakness(code), Some(why), "{code}");
        }
        for good in ["604927", "190385", "7350418", "38164072", "902837461"] {
            assert_eq!(weakness(good), None, "{good}");
        }
    }

    #[test]
    fn what_is_guessed_first_is_refused() {
        let phone = PhoneNumber::parse("+15005550006", 10).unwrap();
        for length in 6..=9 {
            assert!(first_guesses(length).count() >= 2100);
            assert!(first_guesses(length).all(|code| WeakCode::of(&code, &phone).is_some()));
        }
        assert!(first_guesses(6).any(|code| code.digits() == "654321"));
        assert!(first_guesses(6).any(|code| code.digits() == "824193"));
    }

    /// Whoever draws a code at random is hardly ever refused.
    #[test]
    fn the_rules_leave_nearly_all_codes() {
        let weak = (0..1_000_000).step_by(7).filter(|number| weakness(&format!("{number:06}")).is_some());
        assert!(weak.count() < 1_000_000 / 7 / 50);
    }

    proptest! {
        #[test]
        fn a_code_of_one_digit_is_always_refused(digit in 0u8..10, length in 6usize..10) {
            prop_assert!(weakness(&digit.to_string().repeat(length)).is_some());
        }
    }
}
