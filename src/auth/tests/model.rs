//! All flows in random schedules of people, thieves, the operator, crashes and a second server, each step held against a model of
//! what was promised.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::random::Random as _;
use place::Place;
use world::{Raw, World};

mod acts;
mod doing;
mod node;
mod place;
mod rules;
mod world;

#[path = "../../../tests/support/postgres.rs"]
#[expect(dead_code, reason = "other suites look into the rows")]
mod postgres;

/// Steps of a schedule.
const STEPS: usize = 60;

/// Schedules that share a schema of `PostgreSQL`, one after the other.
const TOGETHER: u64 = 20;

/// So many where `TEST_MODEL` names no others.
const ON_SQLITE: u64 = 30;
const ON_POSTGRES: u64 = 3;

/// What went wrong, after what.
struct Fault {
    step: usize,
    what: String,
    trace: Vec<String>,
}

/// Which are asked for: `TEST_MODEL` is a number of them, or two with `..` between them.
fn asked() -> Option<Range<u64>> {
    let named = std::env::var("TEST_MODEL").ok()?;
    let (start, end) = named.split_once("..").unwrap_or(("0", &named));
    Some(start.parse().ok()?..end.parse().ok()?)
}

fn steps(seed: u64) -> Vec<Raw> {
    let chance = SeededRandom::new(seed);
    (0..STEPS).map(|_| Raw::draw(|| chance.below(u32::MAX))).collect()
}

/// Runs a schedule in a world; gives how many acts there were.
fn run(mut world: World, steps: &[Raw]) -> Result<(World, usize), Fault> {
    let mut begun = 0;
    let done = catch_unwind(AssertUnwindSafe(|| {
        for (place, step) in steps.iter().enumerate() {
            begun = place;
            world.step(step)?;
        }
        world.end()
    }));
    let what = match done {
        Ok(Ok(())) => return Ok((world, steps.len())),
        Ok(Err(what)) => what,
        Err(panic) => {
            let told = panic.downcast_ref::<String>().cloned();
            told.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
        }
    };
    Err(Fault { step: begun, what, trace: world.trace })
}

/// The shortest schedule that is found by leaving steps out which also goes wrong.
fn shorten(seed: u64, place: fn() -> Option<Place>, mut steps: Vec<Raw>, mut fault: Fault) -> Fault {
    steps.truncate(fault.step + 1);
    let mut chunk = steps.len() / 2;
    while chunk > 0 {
        let mut start = 0;
        while start < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(start..(start + chunk).min(steps.len()));
            let Some(place) = place() else { return fault };
            match run(World::new(Arc::new(place), seed, 0, Duration::ZERO), &fewer) {
                Ok(_) => start += chunk,
                Err(found) => {
                    fewer.truncate(found.step + 1);
                    (steps, fault) = (fewer, found);
                }
            }
        }
        chunk /= 2;
    }
    fault
}

/// Runs schedules, `together` of them in one database, one after the other.
fn hold(seeds: &Range<u64>, together: u64, place: fn() -> Option<Place>) {
    let (mut shared, mut since, mut count) = (None, Duration::ZERO, 0);
    for seed in seeds.clone() {
        let turn = (seed - seeds.start) % together;
        if turn == 0 {
            (shared, since) = (place().map(Arc::new), Duration::ZERO);
        }
        let Some(place_of) = shared.clone() else { return };
        let steps = steps(seed);
        match run(World::new(place_of, seed, turn, since), &steps) {
            Ok((world, acts)) => (since, count) = (world.since, count + acts),
            Err(found) => {
                let first = found.trace.join("\n");
                let Fault { what, trace, .. } = shorten(seed, place, steps, found);
                panic!(
                    "schedule {seed} (TEST_MODEL={seed}..{} repeats it):\n{first}\n\nand in short:\n{}\n{what}",
                    seed + 1,
                    trace.join("\n")
                );
            }
        }
    }
    if asked().is_some() {
        println!("{count} steps of {} schedules", seeds.end - seeds.start);
    }
}

#[test]
fn no_schedule_breaks_a_promise_on_sqlite() {
    hold(&asked().unwrap_or(0..ON_SQLITE), 1, || Some(Place::sqlite()));
}

#[test]
fn no_schedule_breaks_a_promise_on_postgresql() {
    hold(&asked().unwrap_or(0..ON_POSTGRES), TOGETHER, Place::postgres);
}
