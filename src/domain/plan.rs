//! Which numbers the world's numbering plan gives to a telephone, and the one spelling of each.
//!
//! The plan is that of Google's libphonenumber (Apache License 2.0). `tools/numbering_plan.py` turns its regular expressions into
//! one minimal automaton of some 3,800 states, 75 KiB of the program: nothing is read or compiled at start, nothing is kept on
//! the heap, and a number is judged by at most fifteen steps. The crates `phonenumber` and `rlibphonenumber` parse several
//! hundred KiB of metadata into megabytes, and compile a regular expression for each country that they meet.

use crate::domain::PhoneNumber;

/// Ten successors a state, of two bytes each, the lowest first; the highest bit of the first says that a number may end there.
/// State 0 is that of numbers that cannot be, the last one is the start.
static STATES: &[u8] = include_bytes!("plan/numbers.bin");

/// The bytes of a state.
const STATE: usize = 20;

/// Says in the first successor of a state that a number may end there.
const END: u16 = 1 << 15;

/// Whether the plan gives these digits, calling code first, to a telephone. Premium, shared cost and pager numbers are none.
fn is_assigned(digits: &str) -> bool {
    let after = |state: usize, digit: usize| {
        let at = state * STATE + digit * 2;
        u16::from_le_bytes([STATES[at], STATES[at + 1]])
    };
    let start = STATES.len() / STATE - 1;
    let end = digits
        .bytes()
        .fold(start, |state, digit| usize::from(after(state, usize::from(digit - b'0')) & !END));
    after(end, 0) & END != 0
}

/// The one spelling of a telephone's number; `None` where the plan gives it to none.
///
/// A number that is right as it stands is its own spelling. Of others the known wrong and old spellings are tried: trunk prefixes
/// (`+44 0…`, `+7 8…`), Mexico's `1` and Argentina's `15` before mobile numbers, Brazil's mobile numbers of eight digits and
/// Benin's numbers of eight.
pub fn canonical(phone: &PhoneNumber) -> Option<PhoneNumber> {
    if is_assigned(phone.digits()) {
        return Some(phone.clone());
    }
    let code = phone.calling_code();
    let national = &phone.digits()[code.len()..];
    let trunkless = national.strip_prefix(trunk(code));
    trunkless
        .into_iter()
        .map(str::to_owned)
        .chain([Some(national), trunkless].into_iter().flatten().flat_map(|national| renewed(code, national)))
        .map(|national| format!("{code}{national}"))
        .find(|digits| is_assigned(digits))
        .and_then(|digits| PhoneNumber::parse(&format!("+{digits}"), 1).ok())
}

/// What is dialled inside a country before a number, and does not belong behind its calling code.
fn trunk(code: &str) -> &'static str {
    match code {
        "7" | "375" | "993" => "8",
        "1" | "692" => "1",
        "36" => "06",
        _ => "0",
    }
}

/// The forms that an old one of a national number may have today.
fn renewed(code: &str, national: &str) -> Vec<String> {
    let part = |at: usize| national.split_at_checked(at);
    match code {
        // Until 2019 mobile numbers had a 1 when called from abroad.
        "52" => national.strip_prefix('1').map(str::to_owned).into_iter().collect(),
        // 15 stands after the area code when called from inside, 9 before it when called from abroad.
        "54" => (2..=4)
            .filter_map(part)
            .filter_map(|(area, local)| Some(format!("9{area}{}", local.strip_prefix("15")?)))
            .collect(),
        // Until 2016 mobile numbers got a 9 before their eight digits, area by area.
        "55" if national.len() == 10 => {
            part(2).map(|(area, local)| format!("{area}9{local}")).into_iter().collect()
        }
        // Since November 2024 every number has 01 before its eight digits.
        "229" if national.len() == 8 => vec![format!("01{national}")],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Country;
    use proptest::prelude::*;

    fn folded(phone: &str) -> String {
        let phone = PhoneNumber::parse(phone, 4).unwrap();
        canonical(&phone).map_or_else(|| "none".to_owned(), |phone| phone.as_str().to_owned())
    }

    /// Google's example numbers: country, kind, and the number; a kind with an exclamation mark is refused.
    fn examples() -> impl Iterator<Item = (&'static str, &'static str, PhoneNumber)> {
        include_str!("plan/examples.txt").lines().filter(|line| !line.starts_with('#')).map(|line| {
            let [country, kind, phone] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            (country, kind, PhoneNumber::parse(phone, 4).unwrap())
        })
    }

    #[test]
    fn googles_examples_of_every_country_and_kind_are_judged_as_google_does() {
        let mut seen = 0;
        for (country, kind, phone) in examples() {
            let assigned = !kind.ends_with('!');
            assert_eq!(is_assigned(phone.digits()), assigned, "{country} {kind} {}", phone.as_str());
            assert_eq!(Country::of(&phone).unwrap().as_str(), country, "{kind} {}", phone.as_str());
            seen += 1;
        }
        assert!(seen > 1_100, "{seen}");
    }

    #[test]
    fn a_trunk_prefix_before_any_countrys_mobile_number_is_folded_away() {
        let mut folded_away = 0;
        for (country, _, phone) in examples().filter(|(_, kind, _)| *kind == "mobile") {
            let code = phone.calling_code();
            let national = &phone.digits()[code.len()..];
            let Ok(spelled) = PhoneNumber::parse(&format!("+{code}{}{national}", trunk(code)), 4) else {
                continue;
            };
            // In a few countries the longer number is another telephone's.
            if !is_assigned(spelled.digits()) {
                assert_eq!(canonical(&spelled).as_ref(), Some(&phone), "{country}");
                folded_away += 1;
            }
        }
        assert!(folded_away > 220, "{folded_away}");
    }

    #[test]
    fn old_and_national_spellings_fold_into_one_number() {
        for (spelled, number) in [
            ("+4407400123456", "+447400123456"),
            ("+49015123456789", "+4915123456789"),
            ("+789161234567", "+79161234567"),
            ("+3606201234567", "+36201234567"),
            ("+112025550123", "+12025550123"),
            ("+5212221234567", "+522221234567"),
            ("+5215512345678", "+525512345678"),
            ("+54111523456789", "+5491123456789"),
            ("+540111523456789", "+5491123456789"),
            ("+542234155123456", "none"),
            ("+54223155123456", "+5492235123456"),
            ("+551187654321", "+5511987654321"),
            ("+5501187654321", "+5511987654321"),
            ("+22997123456", "+2290197123456"),
            // One digit more or less than the old numbers had.
            ("+55118765432", "none"),
            ("+2299712345", "none"),
            // Right as they stand: a zero that belongs to the number, a landline, a number without its mobile 9.
            ("+390669812345", "+390669812345"),
            ("+551123456789", "+551123456789"),
            ("+541123456789", "+541123456789"),
        ] {
            assert_eq!(folded(spelled), number, "{spelled}");
        }
    }

    #[test]
    fn what_is_no_telephones_number_is_refused() {
        for phone in [
            "+1234567890",
            "+15550000001",
            "+19002345678",
            "+449098790123",
            "+4915112345",
            "+49151123456789012",
            "+999123456789",
            "+0",
        ] {
            let Ok(number) = PhoneNumber::parse(phone, 4) else { continue };
            assert_eq!(canonical(&number), None, "{phone}");
        }
    }

    #[test]
    fn the_automaton_leads_nowhere_else() {
        assert_eq!(STATES.len() % STATE, 0);
        let states = STATES.len() / STATE;
        assert!(STATES[..STATE].iter().all(|byte| *byte == 0), "the first refuses everything");
        for next in STATES.chunks_exact(2) {
            assert!(usize::from(u16::from_le_bytes([next[0], next[1]]) & !END) < states);
        }
    }

    proptest! {
        #[test]
        fn folding_never_panics_and_a_folded_number_stays(digits in "[1-9][0-9]{3,14}") {
            let phone = PhoneNumber::parse(&format!("+{digits}"), 4).unwrap();
            if let Some(canonical_one) = canonical(&phone) {
                prop_assert_eq!(canonical(&canonical_one), Some(canonical_one.clone()));
                prop_assert_eq!(canonical_one.calling_code(), phone.calling_code());
            }
        }
    }
}
