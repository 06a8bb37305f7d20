//! The keys of `[sms]` that say how many text messages are bought, and for whom none.

use super::fault::quoted;
use super::key::{Key, Kind};
use super::reader::Reader;
use super::users::country;
use super::value;
use crate::domain::budget::{BudgetPolicy, millionths};
use crate::domain::guard::{Allowed, GuardMode, GuardPolicy};

const MOST: u64 = 1_000_000_000;

pub(super) static PER_HOUR: Key = Key::new(
    "sms.budget_per_hour",
    Kind::Number { min: 0, max: MOST },
    "0",
    "Messages bought in an hour (UTC) at most; 0: no budget. Numbers that have been verified before have a second one of the \
     same size.",
);
pub(super) static PER_DAY: Key = Key::new(
    "sms.budget_per_day",
    Kind::Number { min: 0, max: MOST },
    "0",
    "Messages bought in a day (UTC) at most; 0: no budget. Numbers that have been verified before have a second one of the \
     same size.",
);
pub(super) static MONEY_PER_DAY: Key = Key::new(
    "sms.budget_money_per_day",
    Kind::Text("an amount such as 25 or 12.50, in the currency of sms.price"),
    "0",
    "What the messages of a day (UTC) may cost at most, by sms.price; 0: no budget. Numbers that have been verified before have \
     a second one of the same size.",
);
pub(super) static VOICE_PER_DAY: Key = Key::new(
    "sms.voice_budget_per_day",
    Kind::Number { min: 0, max: MOST },
    "100",
    "Calls made in a day (UTC) at most by senders of kind voice, which count as messages besides; 0: no budget. Once they are spent, \
     those senders are passed over. Numbers that have been verified before have a second one of the same size.",
);
pub(super) static PRICE: Key = Key::new(
    "sms.price",
    Kind::Prices,
    "",
    "What a segment costs, by the ISO code of the country, with default for all others, in one currency of yours: \
     { DE = 0.0745, default = 0.05 }. In the environment: DE=0.0745,default=0.05.",
);
pub(super) static GUARD: Key = Key::new(
    "sms.guard",
    Kind::Choice(&GuardMode::WORDS),
    "on",
    "The guard against SMS pumping, which holds back messages to numbers never verified before where too few are answered: on; \
     monitor, which tells what it would refuse; or off.",
);
pub(super) static GUARD_ALLOW: Key = Key::new(
    "sms.guard_allow",
    Kind::List(
        "networks such as 203.0.113.0/24 and beginnings of numbers such as +4915, with commas between in the environment",
    ),
    "",
    "Whom the guard never holds back: calls from these networks, and numbers that begin so.",
);

/// The word in place of a country's code that all others go by.
const DEFAULT: &str = "default";

/// Both; no budget of calls where nobody `calls`.
pub(super) fn read(reader: &mut Reader<'_>, calls: bool) -> (BudgetPolicy, GuardPolicy) {
    let money_per_day = reader.one(&MONEY_PER_DAY, amount).unwrap_or_default();
    let pairs = reader.pairs(&PRICE, price);
    let price_of = |wanted: &str| pairs.iter().find(|(code, _)| code == wanted).map(|(_, price)| *price);
    if money_per_day > 0 && price_of(DEFAULT).is_none() && !reader.is_faulty(&PRICE) {
        reader.fault(
            &PRICE,
            "sms.budget_money_per_day counts by prices, and there is none for countries that have none of their own",
            "add default = and the price of a segment",
        );
    }
    let calls_per_day = reader.number(&VOICE_PER_DAY);
    let budgets = BudgetPolicy {
        per_hour: reader.number(&PER_HOUR),
        per_day: reader.number(&PER_DAY),
        money_per_day,
        calls_per_day: if calls { calls_per_day } else { 0 },
        default_price: price_of(DEFAULT).unwrap_or_default(),
        prices: pairs.into_iter().filter(|(code, _)| code != DEFAULT).collect(),
    };
    let mode = match reader.choice(&GUARD) {
        "off" => GuardMode::Off,
        "monitor" => GuardMode::Monitor,
        _ => GuardMode::On,
    };
    let mut allowed = Allowed::default();
    for item in reader.list(&GUARD_ALLOW, allow) {
        match item {
            Allow::Network(network) => allowed.networks.push(network),
            Allow::Prefix(prefix) => allowed.prefixes.push(prefix),
        }
    }
    (budgets, GuardPolicy { mode, allowed })
}

fn amount(text: &str) -> Result<u64, String> {
    millionths(text).ok_or_else(|| format!("{} is not an amount", quoted(text)))
}

fn price(code: &str, text: &str) -> Result<(String, u64), String> {
    let code = if code.eq_ignore_ascii_case(DEFAULT) {
        DEFAULT.to_owned()
    } else {
        country(code)?.as_str().to_owned()
    };
    let price = millionths(text).ok_or_else(|| format!("{} is not a price for {code}", quoted(text)))?;
    Ok((code, price))
}

enum Allow {
    Network(ipnet::IpNet),
    Prefix(String),
}

fn allow(text: &str) -> Result<Allow, String> {
    let Some(digits) = text.strip_prefix('+') else {
        return value::network(text)
            .map(Allow::Network)
            .map_err(|_| format!("{} is neither a network nor the beginning of a number", quoted(text)));
    };
    let is_one = (1..=15).contains(&digits.len())
        && !digits.starts_with('0')
        && digits.bytes().all(|b| b.is_ascii_digit());
    if is_one {
        Ok(Allow::Prefix(text.to_owned()))
    } else {
        Err(format!("{} is not the beginning of a number", quoted(text)))
    }
}
