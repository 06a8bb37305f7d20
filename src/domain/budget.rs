//! Budgets: how many text messages are bought in an hour and in a day, for how much in a day, and how many calls are made in one.
//!
//! An hour begins at the full hour and a day at midnight, UTC. Everybody buys from the first share of a budget. Once that is
//! spent, a number that has been verified before buys from a second one of the same size, and any other is refused.

use std::time::Duration;

use serde_json::{Value, json};

use crate::domain::Timestamp;
use crate::domain::quota::DAY;

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Budget {
    /// Messages of an hour.
    Hour,
    /// Messages of a day.
    Day,
    /// Money of a day, in millionths.
    Money,
    /// Calls of a day. Each counts as a message, too.
    Voice,
}

/// Who buys from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Share {
    /// Everybody.
    All,
    /// Numbers that have been verified before, once the first share is spent.
    Verified,
}

/// A share of a budget in one hour or day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetWindow {
    /// Of what.
    pub budget: Budget,
    /// Whose.
    pub share: Share,
    /// When it begins.
    pub since: Timestamp,
}

/// What a message was charged: from which window, and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge {
    /// From which window.
    pub window: BudgetWindow,
    /// How many messages, or millionths.
    pub units: u64,
}

/// Most of a budget is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetWarning {
    /// Of which window.
    pub window: BudgetWindow,
    /// How much of it is spent.
    pub used: u64,
    /// Of how much.
    pub limit: u64,
}

/// The budgets, and the prices by which money is counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BudgetPolicy {
    /// Messages an hour; 0 turns the budget off.
    pub per_hour: u64,
    /// Messages a day; 0 turns the budget off.
    pub per_day: u64,
    /// Money a day, in millionths; 0 turns the budget off.
    pub money_per_day: u64,
    /// Calls a day; 0 turns the budget off.
    pub calls_per_day: u64,
    /// What a segment costs, by the ISO code of the country, in millionths.
    pub prices: Vec<(String, u64)>,
    /// What it costs in a country without a price of its own.
    pub default_price: u64,
}

impl Budget {
    /// All of them, in the order in which they are charged.
    pub const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Money, Self::Voice];

    /// The word in rows, metrics and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Money => "money",
            Self::Voice => "voice",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|budget| budget.as_str() == word)
    }

    /// The key of the configuration that sets it.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Hour => "sms.budget_per_hour",
            Self::Day => "sms.budget_per_day",
            Self::Money => "sms.budget_money_per_day",
            Self::Voice => "sms.voice_budget_per_day",
        }
    }

    /// How long a window of it is.
    pub const fn length(self) -> Duration {
        match self {
            Self::Hour => Duration::from_hours(1),
            Self::Day | Self::Money | Self::Voice => DAY,
        }
    }

    /// The window that `at` lies in.
    pub fn window(self, share: Share, at: Timestamp) -> BudgetWindow {
        let length = i64::try_from(self.length().as_millis()).unwrap_or(i64::MAX);
        let since = at.as_millis().div_euclid(length) * length;
        BudgetWindow { budget: self, share, since: Timestamp::from_millis(since) }
    }

    /// An amount as a person reads it.
    pub fn amount(self, units: u64) -> String {
        match self {
            Self::Hour | Self::Day | Self::Voice => units.to_string(),
            Self::Money => money(units),
        }
    }

    /// An amount as JSON: a number of messages or calls, or a decimal number in quotes.
    pub fn amount_told(self, units: u64) -> Value {
        match self {
            Self::Hour | Self::Day | Self::Voice => json!(units),
            Self::Money => json!(money(units)),
        }
    }
}

impl Share {
    /// The word in rows, metrics and events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Verified => "verified",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::All, Self::Verified].into_iter().find(|share| share.as_str() == word)
    }
}

impl BudgetWindow {
    /// When it ends.
    pub fn until(self) -> Timestamp {
        self.since + self.budget.length()
    }
}

impl Charge {
    /// Several, as they stand in a row.
    pub fn row(charges: &[Self]) -> String {
        let text = |charge: &Self| {
            let BudgetWindow { budget, share, since } = charge.window;
            format!("{} {} {} {}", budget.as_str(), share.as_str(), since.as_millis(), charge.units)
        };
        charges.iter().map(text).collect::<Vec<_>>().join(",")
    }

    /// Reads them back.
    pub fn parse_row(row: &str) -> Option<Vec<Self>> {
        let charge = |text: &str| {
            let mut words = text.split(' ');
            let (budget, share) = (Budget::parse(words.next()?)?, Share::parse(words.next()?)?);
            let since = Timestamp::from_millis(words.next()?.parse().ok()?);
            let units = words.next()?.parse().ok()?;
            Some(Self { window: BudgetWindow { budget, share, since }, units })
        };
        row.split(',').filter(|text| !text.is_empty()).map(charge).collect()
    }
}

impl BudgetWarning {
    /// Whether so much of a budget is worth a warning.
    pub const fn is_due(used: u64, limit: u64) -> bool {
        used >= limit.saturating_sub(limit / 5)
    }

    /// What is told of it, as JSON.
    pub fn told(&self) -> Value {
        let Self { window, used, limit } = self;
        json!({
            "name": window.budget.as_str(),
            "share": window.share.as_str(),
            "used": window.budget.amount_told(*used),
            "limit": window.budget.amount_told(*limit),
            "since": window.since.iso(),
            "until": window.until().iso(),
        })
    }
}

impl BudgetPolicy {
    /// How large a budget is; none where it is off.
    pub fn limit(&self, budget: Budget) -> Option<u64> {
        let limit = match budget {
            Budget::Hour => self.per_hour,
            Budget::Day => self.per_day,
            Budget::Money => self.money_per_day,
            Budget::Voice => self.calls_per_day,
        };
        (limit > 0).then_some(limit)
    }

    /// What a message to a country costs, in millionths.
    pub fn cost(&self, country: &str, segments: u32) -> u64 {
        let price = self.prices.iter().find(|(code, _)| code == country).map(|(_, price)| *price);
        price.unwrap_or(self.default_price).saturating_mul(segments.into())
    }
}

/// Reads a decimal number as millionths; none for what has another form, is negative, or has more than six decimals.
pub fn millionths(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let are_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let is_number = !whole.is_empty() && are_digits(whole) && are_digits(decimals) && decimals.len() <= 6;
    if !is_number || text.ends_with('.') {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(1_000_000)?;
    whole.checked_add(format!("{decimals:0<6}").parse().ok()?)
}

/// Millionths as a decimal number, with two decimals at least.
pub fn money(millionths: u64) -> String {
    let text = format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
    let cents = text.len() - 4;
    let kept = text.trim_end_matches('0').len().max(cents);
    text[..kept].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn windows_begin_at_the_full_hour_and_at_midnight_utc() {
        let at = Timestamp::from_millis(1_700_000_000_123);
        assert_eq!(Budget::Hour.window(Share::All, at).since.iso(), "2023-11-14T22:00:00.000Z");
        assert_eq!(Budget::Money.window(Share::All, at).since.iso(), "2023-11-14T00:00:00.000Z");
        assert_eq!(Budget::Day.window(Share::All, at).until().iso(), "2023-11-15T00:00:00.000Z");
    }

    #[test]
    fn a_warning_is_due_at_four_fifths() {
        assert!(!BudgetWarning::is_due(79, 100) && BudgetWarning::is_due(80, 100));
        assert!(BudgetWarning::is_due(3, 3) && !BudgetWarning::is_due(0, 1) && BudgetWarning::is_due(1, 1));
    }

    #[test]
    fn amounts_are_told_as_numbers_and_money_as_text() {
        let told = Budget::ALL.map(|budget| budget.amount_told(1_500_000));
        assert_eq!(told, [json!(1_500_000), json!(1_500_000), json!("1.50"), json!(1_500_000)]);
    }

    #[test]
    fn a_price_is_a_decimal_number() {
        for (text, price) in
            [("0.0745", 74_500), ("1", 1_000_000), ("0", 0), ("12.5", 12_500_000), ("0.000001", 1)]
        {
            assert_eq!(millionths(text), Some(price), "{text}");
        }
        for text in [
            "",
            ".5",
            "5.",
            "-1",
            "+1",
            "1.+5",
            "1e3",
            "0,07",
            "0.0000001",
            "nan",
            " 1",
            "99999999999999",
            "1.2.3",
        ] {
            assert_eq!(millionths(text), None, "{text}");
        }
    }

    #[test]
    fn a_country_without_a_price_costs_the_default_and_every_segment_counts() {
        let policy = BudgetPolicy {
            prices: vec![("DE".to_owned(), 74_500)],
            default_price: 50_000,
            ..BudgetPolicy::default()
        };
        assert_eq!(
            (policy.cost("DE", 1), policy.cost("DE", 2), policy.cost("FR", 1)),
            (74_500, 149_000, 50_000)
        );
    }

    #[test]
    fn charges_read_back() {
        let charge = |budget: Budget, share, units| Charge {
            window: budget.window(share, Timestamp::from_millis(7)),
            units,
        };
        for charges in [
            vec![],
            vec![charge(Budget::Hour, Share::All, 1)],
            vec![charge(Budget::Day, Share::Verified, 1), charge(Budget::Money, Share::All, 74_500)],
        ] {
            assert_eq!(Charge::parse_row(&Charge::row(&charges)), Some(charges));
        }
        assert_eq!(Charge::parse_row("hour all"), None);
    }

    proptest! {
        #[test]
        fn money_reads_back(units in 0u64..1_000_000_000_000) {
            prop_assert_eq!(millionths(&money(units)), Some(units));
        }

        #[test]
        fn reading_a_price_never_panics(text in any::<String>()) {
            millionths(&text);
        }
    }

    #[test]
    fn a_warning_is_told_with_its_window_and_amounts_as_people_read_them() {
        let window = Budget::Money.window(Share::Verified, Timestamp::from_millis(1_767_225_600_123));
        let told = BudgetWarning { window, used: 800_000, limit: 1_000_000 }.told();
        let expected = json!({
            "name": "money", "share": "verified", "used": "0.80", "limit": "1.00",
            "since": "2026-01-01T00:00:00.000Z", "until": "2026-01-02T00:00:00.000Z",
        });
        assert_eq!(told, expected);
        assert_eq!(
            Budget::ALL.map(|budget| budget.amount(1_500_000)),
            ["1500000", "1500000", "1.50", "1500000"]
        );
        let keys = ["budget_per_hour", "budget_per_day", "budget_money_per_day", "voice_budget_per_day"];
        assert_eq!(Budget::ALL.map(Budget::key), keys.map(|key| format!("sms.{key}")));
    }
}
