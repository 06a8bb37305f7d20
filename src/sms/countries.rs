//! Countries to which the account may not send: told to the operator once in a while, not for every person who asks.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use crate::domain::{PhoneNumber, Timestamp};
use crate::sync::lock;

/// How often one country is told.
const EVERY: Duration = Duration::from_hours(1);

/// When each country was last told; there are no more of them than calling codes.
#[derive(Default)]
pub(super) struct Countries(Mutex<HashMap<String, Timestamp>>);

impl Countries {
    /// Whether a refusal for the country of `phone` at `now` is the first for an hour.
    pub(super) fn should_tell(&self, phone: &PhoneNumber, now: Timestamp) -> bool {
        let mut told = lock(&self.0);
        let last = told.get(phone.calling_code());
        let should = last.is_none_or(|last| now >= *last + EVERY);
        if should {
            told.insert(phone.calling_code().to_owned(), now);
        }
        should
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_country_is_told_once_an_hour() {
        let (countries, start) = (Countries::default(), Timestamp::from_millis(0));
        let phone = |text| PhoneNumber::parse(text, 10).unwrap();
        assert!(countries.should_tell(&phone("+4915112345678"), start));
        assert!(!countries.should_tell(&phone("+4917112345678"), start + Duration::from_secs(3599)));
        assert!(countries.should_tell(&phone("+3511234567890"), start));
        assert!(countries.should_tell(&phone("+4915112345678"), start + EVERY));
    }
}
