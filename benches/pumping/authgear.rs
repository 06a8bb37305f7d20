//! The published rules of Authgear's guard against SMS pumping (authgear-server, docs/specs/fraud-protection.md), with
//! `deny_if_any_warning` and the thresholds that the text gives: what is refused is not counted.

use std::collections::{HashMap, HashSet};

use super::model::{Model, Send};
use super::traffic::{DAY, HOUR, Request};

/// Countries without a verification that one address may ask for in a day.
const COUNTRIES_OF_ADDRESS: usize = 3;

/// Whether a message may be bought.
pub(crate) fn judge(model: &Model, request: &Request) -> bool {
    let now = request.at;
    let of_address: Vec<&Send> =
        model.addresses.get(&request.address).into_iter().flatten().map(|id| &model.sends[*id]).collect();
    let recent = |window: u64| of_address.iter().filter(move |send| send.at + window > now);
    let verified = recent(DAY).filter(|send| send.is_answered).count();
    let unverified = |window| recent(window).filter(|send| is_unverified(send)).count();
    if unverified(DAY) >= (verified / 5).max(10) || unverified(HOUR) >= (verified / 30).max(5) {
        return false;
    }
    let answered: HashSet<_> = recent(DAY).filter(|send| send.is_answered).map(|send| send.country).collect();
    let mut asked: HashSet<_> = recent(DAY).map(|send| send.country).collect();
    asked.insert(request.country);
    if asked.difference(&answered).count() > COUNTRIES_OF_ADDRESS {
        return false;
    }
    let mut days: HashMap<u64, usize> = HashMap::new();
    let (mut day, mut hour) = (Tally::default(), Tally::default());
    for send in model.countries[request.country].iter().map(|id| &model.sends[*id]) {
        let age = now - send.at;
        if age < DAY {
            day.add(send);
        }
        if age < HOUR {
            hour.add(send);
        }
        if send.is_answered && age < 14 * DAY {
            *days.entry(age / DAY).or_default() += 1;
        }
    }
    let highest = days.values().copied().max().unwrap_or_default();
    let a_day = (highest / 5).max(day.verified / 5).max(20);
    let an_hour = (a_day / 6).max(hour.verified / 5).max(3);
    day.unverified < a_day && hour.unverified < an_hour
}

#[derive(Default)]
struct Tally {
    verified: usize,
    unverified: usize,
}

impl Tally {
    fn add(&mut self, send: &Send) {
        self.verified += usize::from(send.is_answered);
        self.unverified += usize::from(is_unverified(send));
    }
}

const fn is_unverified(send: &Send) -> bool {
    !send.is_answered && !send.is_excused
}
