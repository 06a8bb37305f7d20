//! Which phone numbers the program takes, and which countries it sends to.

use crate::domain::phone::InvalidPhone;
use crate::domain::{Country, PhoneNumber, plan};

/// `[phone]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhonePolicy {
    /// The fewest digits.
    pub min_digits: usize,
    /// Whether numbers are checked by the numbering plan, and each telephone has one spelling.
    pub strict: bool,
    /// The only countries that are sent to; empty: all.
    pub allowed: Vec<Country>,
    /// Countries that are never sent to, whatever `allowed` says.
    pub denied: Vec<Country>,
}

/// Why a phone number is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unacceptable {
    /// It is not in international format.
    #[error(transparent)]
    Format(#[from] InvalidPhone),
    /// The numbering plan gives it to no telephone.
    #[error("a number that the numbering plan gives to no telephone, which phone.strict asks for")]
    Unassigned,
}

impl PhonePolicy {
    /// Takes every number in international format.
    pub const fn lenient(min_digits: usize) -> Self {
        Self { min_digits, strict: false, allowed: Vec::new(), denied: Vec::new() }
    }

    /// Reads a number; where the policy is strict, in the telephone's one spelling.
    ///
    /// # Errors
    /// [`Unacceptable`]
    pub fn read(&self, text: &str) -> Result<PhoneNumber, Unacceptable> {
        let phone = PhoneNumber::parse(text, self.min_digits)?;
        self.telephone(&phone).ok_or(Unacceptable::Unassigned)
    }

    /// The spelling by which this policy finds a number's user; `None` where it takes the number from nobody.
    pub fn telephone(&self, phone: &PhoneNumber) -> Option<PhoneNumber> {
        if !self.strict {
            return Some(phone.clone());
        }
        // A spelling that is too short to be read again would lead to an account that nobody finds.
        plan::canonical(phone).filter(|telephone| telephone.digits().len() >= self.min_digits)
    }

    /// Reads a number that rows are looked for by: they may be older than the policy, so one that is no telephone's is taken as it
    /// stands.
    ///
    /// # Errors
    /// [`InvalidPhone`]
    pub fn read_to_find(&self, text: &str) -> Result<PhoneNumber, InvalidPhone> {
        let phone = PhoneNumber::parse(text, self.min_digits)?;
        Ok(self.telephone(&phone).unwrap_or(phone))
    }

    /// The spelling that a number has by this policy, where that is another one.
    pub fn spelling(&self, phone: &PhoneNumber) -> Option<PhoneNumber> {
        self.telephone(phone).filter(|telephone| telephone != phone)
    }

    /// Whether a number's country may be sent to. One of no country may where no list says which are allowed.
    pub fn sends_to(&self, phone: &PhoneNumber) -> bool {
        if self.allowed.is_empty() && self.denied.is_empty() {
            return true;
        }
        match Country::of(phone) {
            None => self.allowed.is_empty(),
            Some(country) => {
                !self.denied.contains(&country)
                    && (self.allowed.is_empty() || self.allowed.contains(&country))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phone(text: &str) -> PhoneNumber {
        PhoneNumber::parse(text, 7).unwrap()
    }

    fn countries(names: &[&str]) -> Vec<Country> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn without_strict_a_number_stays_as_it_was_sent() {
        let policy = PhonePolicy::lenient(10);
        for text in ["+1234567890", "+4407400123456", "+5215512345678"] {
            assert_eq!(policy.read(text).unwrap().as_str(), text);
            assert_eq!(policy.spelling(&phone(text)), None);
        }
        assert_eq!(policy.read("+123456789"), Err(Unacceptable::Format(InvalidPhone)));
    }

    #[test]
    fn strict_refuses_what_is_no_telephones_and_gives_each_telephone_one_spelling() {
        let policy = PhonePolicy { strict: true, ..PhonePolicy::lenient(10) };
        assert_eq!(policy.read("+1234567890"), Err(Unacceptable::Unassigned));
        assert_eq!(policy.read("+5215512345678").unwrap().as_str(), "+525512345678");
        assert_eq!(policy.spelling(&phone("+5215512345678")), Some(phone("+525512345678")));
        assert_eq!(policy.spelling(&phone("+525512345678")), None);
        assert_eq!(policy.read_to_find("+1234567890").unwrap().as_str(), "+1234567890");
        // Nine digits without the zero, which nobody could log in with.
        assert_eq!(policy.read("+4602019311"), Err(Unacceptable::Unassigned));
        let short = PhonePolicy { min_digits: 9, ..policy.clone() };
        assert_eq!(short.read("+4602019311"), short.read("+462019311"));
        assert!(short.read("+462019311").is_ok());
        assert_eq!(policy.read_to_find("+5215512345678").unwrap().as_str(), "+525512345678");
    }

    #[test]
    fn what_is_denied_is_not_sent_to_even_where_it_is_allowed() {
        let with = |allowed: &[&str], denied: &[&str]| PhonePolicy {
            allowed: countries(allowed),
            denied: countries(denied),
            ..PhonePolicy::lenient(10)
        };
        let us_and_canada = with(&["US", "CA"], &[]);
        assert!(us_and_canada.sends_to(&phone("+12025550123")));
        assert!(us_and_canada.sends_to(&phone("+14165550123")));
        assert!(!us_and_canada.sends_to(&phone("+18765550123")), "Jamaica has +1, too");
        assert!(!us_and_canada.sends_to(&phone("+881612345678")), "satellites are no country's");
        let both = with(&["US", "JM"], &["JM"]);
        assert!(!both.sends_to(&phone("+18765550123")));
        let all_but_one = with(&[], &["JM"]);
        assert!(all_but_one.sends_to(&phone("+4915112345678")));
        assert!(all_but_one.sends_to(&phone("+881612345678")));
        assert!(!all_but_one.sends_to(&phone("+18765550123")));
        assert!(with(&[], &[]).sends_to(&phone("+18765550123")));
    }
}
