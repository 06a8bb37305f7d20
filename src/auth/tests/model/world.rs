//! A schedule while it runs: what people have in their hands, and the models that would explain all that they have seen.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::JoinHandle;

use super::super::*;
use super::acts::{Act, Call, Fate, Token};
use super::doing::People;
use super::node::{Cut, Node};
use super::place::Place;
use super::rules::{DAY, Model, Settings as Differing};
use crate::domain::SessionId;

mod aiming;
mod choosing;
mod looking;
mod noting;
mod trying;

/// Numbers, and addresses.
pub(super) const NUMBERS: usize = 4;
const ADDRESSES: usize = 3;

/// Steps for which the sender holds a message back at most: no server waits longer for its provider.
const HELD: usize = 6;

/// What a step is drawn from; what it does depends on what there is by then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw {
    kind: u32,
    first: u32,
    second: u32,
    third: u32,
    time: u32,
    manner: u32,
}

impl Raw {
    pub(super) fn draw(draw: impl Fn() -> u32) -> Self {
        let (kind, first, second, third, time, manner) = (draw(), draw(), draw(), draw(), draw(), draw());
        Self { kind, first, second, third, time, manner }
    }
}

/// A message, as somebody has read it.
#[derive(Clone)]
struct Mail {
    number: usize,
    digits: String,
    is_notice: bool,
}

/// A message that the sender holds back.
struct Flight {
    node: usize,
    fate: Fate,
    steps: usize,
    call: Call,
    caller: JoinHandle<WithQuotas<Sent>>,
}

pub(super) struct World {
    place: Arc<Place>,
    settings: Differing,
    people: People,
    nodes: Vec<Node>,
    starts: u64,
    seed: u64,
    /// How much time has passed.
    pub(super) since: Duration,
    models: Vec<Model>,
    mails: Vec<Mail>,
    /// Messages that were read, those to people of other schedules too.
    read: usize,
    accesses: Vec<Token>,
    refreshes: Vec<Token>,
    /// What the refresh token of each generation says.
    given: BTreeMap<(SessionId, u32), String>,
    /// What each message has opened.
    opened: BTreeMap<usize, SessionId>,
    /// Sessions that somebody was told the end of.
    ended: BTreeSet<SessionId>,
    flight: Option<Flight>,
    latest: Option<Act>,
    pub(super) trace: Vec<String>,
}

type Checked = Result<(), String>;

fn at(drawn: u32, below: usize) -> usize {
    drawn as usize % below
}

impl World {
    pub(super) fn new(place: Arc<Place>, seed: u64, turn: u64, since: Duration) -> Self {
        let settings = Differing {
            address: if seed.is_multiple_of(3) { 5 } else { 0 },
            grace: if seed.is_multiple_of(2) { 3 * DAY } else { Duration::ZERO },
            failures: if seed % 3 == 1 { 5 } else { 15 },
        };
        let mut world = Self {
            settings,
            people: People { place: turn, devices: BTreeMap::new() },
            nodes: Vec::new(),
            starts: 0,
            seed,
            since,
            models: vec![Model::new(settings)],
            mails: Vec::new(),
            read: place.sms.messages().len(),
            accesses: Vec::new(),
            refreshes: Vec::new(),
            given: BTreeMap::new(),
            opened: BTreeMap::new(),
            ended: BTreeSet::new(),
            flight: None,
            latest: None,
            trace: Vec::new(),
            place,
        };
        world.nodes = (0..world.place.nodes()).map(|_| world.start()).collect();
        world
    }

    fn start(&mut self) -> Node {
        self.starts += 1;
        let Differing { address, grace, failures } = self.settings;
        let run = self.seed * 1_000 + self.starts;
        Node::start(&self.place, run, self.since, |policy| {
            policy.limits.ip = address;
            policy.otp.max_failures_per_day = failures;
            policy.retention.deletion_grace = grace;
        })
    }

    /// Lets time pass, and does what the step says.
    pub(super) fn step(&mut self, raw: &Raw) -> Checked {
        let awaited = self.last_moment(raw);
        match &awaited {
            Some((by, _)) => self.advance(*by),
            None => self.pass(raw.time),
        }
        if self.flight.as_mut().is_some_and(|flight| {
            flight.steps += 1;
            flight.steps >= HELD
        }) {
            self.land()?;
        }
        let node = at(raw.manner, self.nodes.len());
        let Some(act) = awaited.map(|(_, act)| act).or_else(|| self.choose(raw)) else {
            return self.restart(node, raw.first.is_multiple_of(2));
        };
        if self.flight.is_some() && (act.fate().is_some() || matches!(act, Act::Maintain | Act::Prove { .. }))
        {
            self.land()?;
        }
        let call = Call { act, address: at(raw.manner / 8, ADDRESSES), node };
        match raw.manner / 64 % 16 {
            0 => {
                let cut = Cut {
                    writes: raw.manner / 1024 % 3,
                    is_committed: (raw.manner / 4096).is_multiple_of(2),
                };
                self.perform(&call, Some(cut))
            }
            1 | 2 if call.act.is_one_write() => {
                let other = Raw { kind: raw.third, third: raw.kind, first: raw.second, ..*raw };
                let same = (raw.manner / 1024).is_multiple_of(2);
                let other = if same { Some(call.act.clone()) } else { self.choose(&other) };
                let Some(act) = other.filter(Act::is_one_write) else { return self.perform(&call, None) };
                let node = at(raw.manner / 4096, self.nodes.len());
                let other = Call { act, address: at(raw.manner / 8192, ADDRESSES), node };
                self.perform_both([&call, &other])
            }
            3 | 4 if matches!(call.act, Act::Request { .. }) && self.flight.is_none() => self.hold(&call),
            _ => self.perform(&call, None),
        }?;
        if raw.time.is_multiple_of(8) { self.look() } else { Ok(()) }
    }

    /// All comes to its end.
    pub(super) fn end(&mut self) -> Checked {
        self.land()?;
        self.look()?;
        let moment = Raw { kind: 95, first: 0, second: 0, third: 0, time: 0, manner: u32::MAX };
        self.step(&moment)?;
        self.look()
    }

    fn pass(&mut self, drawn: u32) {
        let by = match drawn / 8 % 128 {
            _ if self.flight.is_some() => SECOND,
            0..=79 => SECOND,
            80..=103 => 20 * SECOND,
            104..=115 => 61 * SECOND,
            116..=120 => 660 * SECOND,
            121..=124 => HOUR,
            125 | 126 => 11 * HOUR,
            _ => {
                if drawn.is_multiple_of(4) {
                    8 * DAY
                } else {
                    DAY
                }
            }
        };
        self.advance(by);
    }

    fn advance(&mut self, by: Duration) {
        self.since += by;
        for node in &self.nodes {
            node.clock.advance(by);
            // Each minute, as a server does.
            if by > Duration::from_mins(1) {
                node.runtime().block_on(node.auth.store_clock()).unwrap();
            }
        }
    }
}
