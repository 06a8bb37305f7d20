//! What SMS pumping buys, and whom the guard against it refuses: a week of honest logins after a week of history, and attacks of
//! 100,000 requests on top of it, one at a time, judged by the guard's rules, by each rule alone, and by others.
//!
//! `cargo bench --bench pumping -- [--week N]… [--requests N] [--rules NAME]…`; the names are off, monitor, on, authgear and alone,
//! which is each rule of the guard by itself. Without any all of them are judged, which takes long for 100,000 logins.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

mod authgear;
mod model;
mod traffic;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};

use freshk::domain::guard::Rule;
use model::{Model, Variant, Verdict};
use traffic::{Attack, COUNTRIES, Dice, Next, Request, WEEK, Who};

/// What came of one week.
#[derive(Default)]
struct Outcome {
    /// Messages that the attacker bought.
    bought: u64,
    /// Messages to the attacker's own numbers.
    own: u64,
    /// How long after its first request the attack was held back first.
    blocked_after: Option<u64>,
    /// Honest logins, each counted once.
    logins: usize,
    /// Those of them that the guard refused.
    refused: usize,
    /// Those of them that were verified before.
    refused_known: usize,
    /// New people from networks without history in the attacked countries, and those of them that the guard refused.
    fresh: usize,
    fresh_refused: usize,
    /// Those that the limits of the guide refused.
    over_quota: usize,
    /// Messages that the guard would have held back.
    would: u64,
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut weeks, mut requests, mut variants) = (Vec::new(), 100_000, Vec::new());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--week" => weeks.push(arguments.next().unwrap().parse().unwrap()),
            "--requests" => requests = arguments.next().unwrap().parse().unwrap(),
            "--rules" => variants.extend(named(&arguments.next().unwrap())),
            _ => {}
        }
    }
    if weeks.is_empty() {
        weeks = vec![2000, 20_000, 100_000];
    }
    if variants.is_empty() {
        variants = ["off", "monitor", "on", "authgear", "alone"].into_iter().flat_map(named).collect();
    }
    for week in weeks {
        println!("\n{week} honest logins a week\n");
        println!(
            "| attack of {requests} requests | rules | SMS bought | held back after | honest refused | of those verified \
             before | new people of fresh networks refused | over the limits |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        for attack in Attack::ALL {
            for variant in &variants {
                print(attack, *variant, &run(week, attack, requests, *variant));
            }
        }
    }
}

fn named(rules: &str) -> Vec<Variant> {
    match rules {
        "off" => vec![Variant::Off],
        "monitor" => vec![Variant::Monitor],
        "on" => vec![Variant::On],
        "authgear" => vec![Variant::Authgear],
        "alone" => Rule::ALL.map(Variant::Alone).into(),
        _ => Vec::new(),
    }
}

fn print(attack: Attack, variant: Variant, outcome: &Outcome) {
    let share = |part: usize, all: usize| format!("{part} of {all}, {}", per_mille(part, all));
    let rules = match variant {
        Variant::Off => "off".to_owned(),
        Variant::Monitor => format!("monitor (would hold {} back)", outcome.would),
        Variant::On => "on".to_owned(),
        Variant::Alone(rule) => format!("{} alone", rule.as_str()),
        Variant::Authgear => "Authgear's".to_owned(),
    };
    let own = if outcome.own > 0 { format!(" (and {} own)", outcome.own) } else { String::new() };
    let after = outcome.blocked_after.map_or_else(|| "-".to_owned(), |after| format!("{} s", after / 1000));
    println!(
        "| {} | {rules} | {}{own} | {after} | {} | {} | {} | {} |",
        attack.name(),
        outcome.bought,
        share(outcome.refused, outcome.logins),
        outcome.refused_known,
        share(outcome.fresh_refused, outcome.fresh),
        outcome.over_quota,
    );
}

/// A share in hundredths of a percent.
fn per_mille(part: usize, all: usize) -> String {
    let hundredths = part * 10_000 / all.max(1);
    format!("{}.{:02} %", hundredths / 100, hundredths % 100)
}

fn run(week: u32, attack: Attack, requests: u32, variant: Variant) -> Outcome {
    let dice = Dice::new(7);
    let mut all = traffic::honest(&dice, week);
    all.extend(traffic::attack(&dice, attack, requests));
    let mut queue: BinaryHeap<_> =
        all.iter().enumerate().map(|(n, request)| Reverse((request.at, n, false))).collect();
    let (mut model, mut outcome) = (Model::new(variant), Outcome::default());
    // Whom returning people are drawn from, by country; and whose login was refused once.
    let mut people: [Vec<u64>; COUNTRIES] = Default::default();
    let (mut refused, mut limited) = (HashSet::new(), HashSet::new());
    while let Some(Reverse((at, n, is_verify))) = queue.pop() {
        let request = &mut all[n];
        request.at = at;
        if is_verify {
            let phone = (request.country, request.number);
            if request.who != Who::Own && !model.verified.contains(&phone) {
                people[request.country].push(request.number);
            }
            model.verify(request, at);
            continue;
        }
        draw_returning(&dice, request, &people[request.country]);
        let is_known = model.verified.contains(&(request.country, request.number));
        let verdict = model.request(request);
        let is_honest = matches!(request.who, Who::New | Who::Known);
        if is_honest && at >= WEEK {
            let is_fresh = request.is_fresh && !is_known && is_attacked(attack, request.country);
            if !request.asked_before {
                outcome.logins += 1;
                outcome.fresh += usize::from(is_fresh);
            }
            if verdict == Verdict::HeldBack && refused.insert(n) {
                outcome.refused += 1;
                outcome.refused_known += usize::from(is_known);
                outcome.fresh_refused += usize::from(is_fresh);
            }
            outcome.over_quota += usize::from(verdict == Verdict::OverQuota && limited.insert(n));
        }
        match (request.who, verdict) {
            (Who::Attacker, Verdict::Bought) => outcome.bought += 1,
            (Who::Attacker, Verdict::HeldBack) => {
                outcome.blocked_after.get_or_insert(at - attack.start());
            }
            (Who::Own, Verdict::Bought) => outcome.own += 1,
            _ => {}
        }
        if verdict == Verdict::Bought {
            match traffic::next(&dice, request, is_known) {
                Next::Verify(after) => queue.push(Reverse((at + after, n, true))),
                Next::AskAgain(after) => {
                    request.asked_before = true;
                    queue.push(Reverse((at + after, n, false)));
                }
                Next::GiveUp => {}
            }
        }
    }
    outcome.would = model.would;
    outcome
}

/// Who returns is somebody who has logged in before.
fn draw_returning(dice: &Dice, request: &mut Request, people: &[u64]) {
    if request.who == Who::Known && !request.asked_before && !people.is_empty() {
        request.number = people[usize::try_from(dice.below(u32::try_from(people.len()).unwrap())).unwrap()];
    }
}

fn is_attacked(attack: Attack, country: usize) -> bool {
    match attack {
        Attack::None => false,
        Attack::Addresses | Attack::Knowing => true,
        _ => country == 0,
    }
}
