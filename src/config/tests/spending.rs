//! The budgets of `[sms]`, its prices and its guard.

use super::*;
use crate::domain::budget::BudgetPolicy;
use crate::domain::guard::{GuardMode, GuardPolicy};

fn spending(more: &[(&str, &str)]) -> (BudgetPolicy, GuardPolicy) {
    production(more).unwrap().config.sms.spending()
}

fn faults(more: &[(&str, &str)]) -> Vec<String> {
    let found = production(more).unwrap_err();
    found.0.into_iter().map(|fault| fault.to_string()).collect()
}

#[test]
fn without_a_word_the_guard_is_on_and_nothing_is_bounded() {
    let (budgets, guard) = spending(&[]);
    assert_eq!(budgets, BudgetPolicy::default());
    assert_eq!(guard.mode, GuardMode::On);
}

#[test]
fn budgets_prices_and_who_is_allowed_are_read() {
    let (budgets, guard) = spending(&[
        ("FRESHK_SMS__BUDGET_PER_HOUR", "500"),
        ("FRESHK_SMS__BUDGET_PER_DAY", "5000"),
        ("FRESHK_SMS__BUDGET_MONEY_PER_DAY", "12.50"),
        ("FRESHK_SMS__PRICE", "de=0.0745, US = 0.0079, default=0.05"),
        ("FRESHK_SMS__GUARD", "monitor"),
        ("FRESHK_SMS__GUARD_ALLOW", "203.0.113.0/24,2001:db8::1,+4915"),
    ]);
    let expected = BudgetPolicy {
        per_hour: 500,
        per_day: 5000,
        money_per_day: 12_500_000,
        calls_per_day: 0,
        prices: vec![("DE".to_owned(), 74_500), ("US".to_owned(), 7900)],
        default_price: 50_000,
    };
    assert_eq!(budgets, expected);
    assert_eq!(guard.mode, GuardMode::Monitor);
    assert_eq!((guard.allowed.networks.len(), guard.allowed.prefixes), (2, vec!["+4915".to_owned()]));
}

#[test]
fn calls_have_a_budget_where_somebody_calls() {
    let calls = |more: &[(&str, &str)]| spending(more).0.calls_per_day;
    let voice = [("FRESHK_SMS__SENDERS", "twilio,call"), ("FRESHK_SENDERS", "call|kind=voice")];
    assert_eq!(calls(&voice), 100);
    assert_eq!(calls(&[&voice[..], &[("FRESHK_SMS__VOICE_BUDGET_PER_DAY", "7")]].concat()), 7);
    assert_eq!(calls(&[("FRESHK_SMS__VOICE_BUDGET_PER_DAY", "7")]), 0, "nobody calls");
}

#[test]
fn a_price_in_no_form_and_a_country_that_is_none_are_told() {
    for (price, told) in [
        ("DE=cheap,default=1", "\"cheap\" is not a price for DE"),
        ("DE=0,07", "\"07\" has no =number"),
        ("DE=-1,default=1", "\"-1\" is not a price for DE"),
        ("XX=0.05,default=1", "\"XX\" is not the two letters of a country"),
        ("Germany=0.05", "\"Germany\" is not the two letters of a country"),
        ("0.05", "\"0.05\" has no =number"),
    ] {
        let found = faults(&[("FRESHK_SMS__PRICE", price)]);
        assert!(
            found.iter().any(|fault| fault.contains("sms.price") && fault.contains(told)),
            "{price}: {found:?}"
        );
    }
    let found = faults(&[("FRESHK_SMS__BUDGET_MONEY_PER_DAY", "ten")]);
    assert!(found[0].contains("\"ten\" is not an amount"), "{found:?}");
    let found = faults(&[("FRESHK_SMS__BUDGET_MONEY_PER_DAY", "10"), ("FRESHK_SMS__PRICE", "DE=0.07")]);
    assert!(found[0].contains("add default = and the price of a segment"), "{found:?}");
}

#[test]
fn who_can_be_no_network_and_no_number_is_told() {
    for rubbish in ["example.com", "203.0.113.0/40", "+", "+0123", "+49x", "4915"] {
        let found = faults(&[("FRESHK_SMS__GUARD_ALLOW", rubbish)]);
        assert!(found[0].contains("sms.guard_allow") && found[0].contains(rubbish), "{rubbish}: {found:?}");
    }
    assert!(faults(&[("FRESHK_SMS__GUARD", "sometimes")])[0].contains("on, monitor, off"));
}
