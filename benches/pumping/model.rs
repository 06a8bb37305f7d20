//! The quotas and the guard in memory: the rules are the program's own (`domain::guard`), what they count is counted here in place
//! of the database, so that a week takes seconds. Beside it other rules judge the same traffic.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use freshk::domain::guard::{
    Block, Counts, Excess, Passage, Place, Rule, Scope, Sends, Usual, Windows, is_trusted,
};

use super::authgear;
use super::traffic::{Address, COUNTRIES, DAY, HOUR, MINUTE, Request, WEEK, instant};

/// Which rules judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    Off,
    /// The guard's rules, and nothing is refused.
    Monitor,
    On,
    Alone(Rule),
    /// The published rules of Authgear's guard, at their thresholds.
    Authgear,
}

/// What a request comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Bought,
    /// A quota of the address or the number is spent.
    OverQuota,
    HeldBack,
}

/// A message.
pub(crate) struct Send {
    pub(crate) at: u64,
    pub(crate) country: usize,
    pub(crate) is_answered: bool,
    /// Another message was answered by the number's first verification.
    pub(crate) is_excused: bool,
}

type Log = VecDeque<usize>;

#[derive(Default)]
pub(crate) struct Model {
    variant: Option<Variant>,
    pub(crate) sends: Vec<Send>,
    networks: HashMap<String, Log>,
    ranges: HashMap<(usize, u64), Log>,
    pub(crate) countries: [Log; COUNTRIES],
    pub(crate) addresses: HashMap<Address, Log>,
    world: Log,
    known: HashMap<String, Vec<u64>>,
    buckets: [BTreeMap<i64, u32>; COUNTRIES + 1],
    usual: [(u64, Usual); COUNTRIES + 1],
    blocks: HashMap<(Scope, String), Block>,
    refused: HashMap<(Scope, String), VecDeque<u64>>,
    pub(crate) verified: HashSet<(usize, u64)>,
    open: HashMap<(usize, u64), Vec<usize>>,
    calls: HashMap<Address, VecDeque<u64>>,
    sites: HashMap<u32, VecDeque<u64>>,
    codes: HashMap<(usize, u64), VecDeque<u64>>,
    /// Messages that the guard would have held back.
    pub(crate) would: u64,
}

/// Forgets what is a window old, and counts the rest.
fn spent(log: &mut VecDeque<u64>, now: u64, window: u64) -> usize {
    while log.front().is_some_and(|at| at + window <= now) {
        log.pop_front();
    }
    log.len()
}

impl Model {
    pub(crate) fn new(variant: Variant) -> Self {
        Self { variant: Some(variant), ..Self::default() }
    }

    pub(crate) fn request(&mut self, request: &Request) -> Verdict {
        let (now, phone) = (request.at, (request.country, request.number));
        let site = match request.address {
            Address::V4(_) => None,
            Address::V6(site, _) => Some(site),
        };
        let is_over = spent(self.calls.entry(request.address).or_default(), now, HOUR) >= 5
            || site.is_some_and(|site| spent(self.sites.entry(site).or_default(), now, HOUR) >= 50);
        if is_over {
            return Verdict::OverQuota;
        }
        self.calls.entry(request.address).or_default().push_back(now);
        if let Some(site) = site {
            self.sites.entry(site).or_default().push_back(now);
        }
        let codes = self.codes.entry(phone).or_default();
        let day = spent(codes, now, DAY);
        if day >= 10 || codes.iter().filter(|at| **at + HOUR > now).count() >= 3 {
            return Verdict::OverQuota;
        }
        let is_known = self.verified.contains(&phone);
        let standing = match self.variant.unwrap_or(Variant::Off) {
            Variant::Off => Ok(true),
            Variant::Authgear => authgear::judge(self, request).then_some(true).ok_or(()),
            _ if is_known => Ok(false),
            Variant::Monitor => {
                let judged = self.judge(request, &Rule::ALL, false);
                self.would += u64::from(judged.is_err());
                Ok(judged.unwrap_or(true))
            }
            Variant::On => self.judge(request, &Rule::ALL, true),
            Variant::Alone(rule) => self.judge(request, &[rule], true),
        };
        let Ok(is_stranger) = standing else { return Verdict::HeldBack };
        self.codes.entry(phone).or_default().push_back(now);
        self.buy(request, is_stranger && !is_known, is_known);
        Verdict::Bought
    }

    fn buy(&mut self, request: &Request, is_stranger: bool, is_known: bool) {
        let (at, country) = (request.at, request.country);
        let id = self.sends.len();
        let send = Send { at, country, is_answered: false, is_excused: false };
        self.sends.push(send);
        self.open.entry((country, request.number)).or_default().push(id);
        let sends = &self.sends;
        let note = |log: &mut Log, keep: u64| {
            while log.front().is_some_and(|first| sends[*first].at + keep <= at) {
                log.pop_front();
            }
            log.push_back(id);
        };
        if self.variant == Some(Variant::Authgear) {
            note(self.addresses.entry(request.address).or_default(), DAY);
            note(&mut self.countries[country], 15 * DAY);
        } else if !is_known {
            note(self.networks.entry(network(request.address)).or_default(), DAY);
            note(self.ranges.entry((country, request.number / 1000)).or_default(), DAY);
            if is_stranger {
                note(&mut self.countries[country], DAY);
                note(&mut self.world, DAY);
            }
        }
    }

    /// The code of the latest message is given.
    pub(crate) fn verify(&mut self, request: &Request, now: u64) {
        let phone = (request.country, request.number);
        let is_first = self.verified.insert(phone);
        let open = self.open.remove(&phone).unwrap_or_default();
        let Some((latest, others)) = open.split_last() else { return };
        self.sends[*latest].is_answered = true;
        for other in others {
            self.sends[*other].is_excused = true;
        }
        if !is_first {
            return;
        }
        self.known.entry(network(request.address)).or_default().push(now);
        let bucket = i64::try_from(now / (5 * MINUTE)).unwrap();
        for buckets in [request.country, COUNTRIES] {
            *self.buckets[buckets].entry(bucket).or_default() += 1;
        }
    }

    fn usual(&mut self, place: usize, now: u64) -> Usual {
        let (at, usual) = self.usual[place];
        if at > 0 && now < at + 5 * MINUTE {
            return usual;
        }
        let first = i64::try_from(now.saturating_sub(WEEK) / (5 * MINUTE)).unwrap();
        self.buckets[place] = self.buckets[place].split_off(&first);
        let usual = Usual::of(&self.buckets[place]);
        self.usual[place] = (now, usual);
        usual
    }

    /// What strangers, or all new numbers, were sent after `since`.
    fn count(&self, log: Option<&Log>, since: u64) -> Sends {
        let mut counted = Sends::default();
        let recent = log.into_iter().flat_map(|log| log.iter().rev()).map(|id| &self.sends[*id]);
        for send in recent.take_while(|send| send.at > since).filter(|send| !send.is_excused) {
            if send.is_answered {
                counted.converted += 1;
            } else {
                counted.unconverted += 1;
            }
        }
        counted
    }

    /// Whether a new number's message counts as a stranger's; an error where it is held back.
    fn judge(&mut self, request: &Request, rules: &[Rule], is_on: bool) -> Result<bool, ()> {
        let (now, country) = (request.at, request.country);
        let range = (country, request.number / 1000);
        let place = Place {
            network: network(request.address),
            range: format!("{country} {}", range.1),
            country: country.to_string(),
        };
        let usual = [self.usual(country, now), self.usual(COUNTRIES, now)];
        let block =
            |model: &Self, scope: Scope| model.blocks.get(&(scope, place.key(scope).to_owned())).cloned();
        let ended = |model: &Self, scope| {
            block(model, scope).map_or(0, |block| millis(block.until).saturating_sub(1).min(now))
        };
        let active = |model: &Self, scope| block(model, scope).filter(|block| block.is_active(instant(now)));
        if active(self, Scope::Network).is_some() {
            return Err(());
        }
        let since = |model: &Self, scope, window: u64| ended(model, scope).max(now.saturating_sub(window));
        let windows = |model: &Self, log: &Log, scope| Windows {
            burst: model.count(Some(log), since(model, scope, 5 * MINUTE)),
            hour: model.count(Some(log), since(model, scope, HOUR)),
        };
        let day_ago = now.saturating_sub(DAY);
        let known = self.known.get(&place.network).map_or(&[][..], Vec::as_slice);
        let known_longer = known.iter().filter(|at| **at + DAY <= now).count();
        let counts = Counts {
            known: u32::try_from(known.len().min(2)).unwrap(),
            known_longer: u32::try_from(known_longer.min(2)).unwrap(),
            network: self.count(self.networks.get(&place.network), since(self, Scope::Network, DAY)),
            network_was_blocked: ended(self, Scope::Network) > day_ago && ended(self, Scope::Network) > 0,
            range: self.count(self.ranges.get(&range), since(self, Scope::Range, DAY)),
            range_was_blocked: ended(self, Scope::Range) > day_ago && ended(self, Scope::Range) > 0,
            country: windows(self, &self.countries[country], Scope::Country),
            country_day: self.count(Some(&self.countries[country]), day_ago),
            world: windows(self, &self.world, Scope::World),
        };
        if is_trusted(&counts) {
            return Ok(false);
        }
        if active(self, Scope::Range).is_some() {
            return Err(());
        }
        let mut passing = Vec::new();
        for (scope, usual) in [Scope::Country, Scope::World].into_iter().zip(usual) {
            let Some(block) = active(self, scope) else { continue };
            let log = if scope == Scope::Country { &self.countries[country] } else { &self.world };
            let probes = if is_on { self.count(Some(log), millis(block.since)) } else { Sends::default() };
            let key = (scope, block.key.clone());
            let attempts = self.refused.get_mut(&key).map_or(0, |log| spent(log, now, 15 * MINUTE));
            let attempts = u32::try_from(attempts).unwrap();
            let attempts = block.wants_attempts(instant(now)).then_some(attempts);
            let passage = block.pass(probes, attempts, usual, instant(now));
            match passage {
                Passage::Over(next) => passing.push((key, next)),
                Passage::Probe(next) if is_on => passing.push((key, next)),
                Passage::Probe(next) => {
                    self.blocks.insert(key.clone(), next);
                    self.refused.entry(key).or_default().push_back(now);
                    return Err(());
                }
                Passage::Refused(prolonged) => {
                    let is_judged = rules.contains(&Rule::CountryDay);
                    let of_day = prolonged.as_ref().unwrap_or(&block).of_day(&counts).filter(|_| is_judged);
                    if let Some(next) = of_day.or(prolonged) {
                        self.blocks.insert(key.clone(), next);
                    }
                    self.refused.entry(key).or_default().push_back(now);
                    return Err(());
                }
            }
        }
        let is_probe = !passing.is_empty();
        self.blocks.extend(passing);
        let broken = |rule: &Rule| -> Option<Excess> { rule.excess(&counts, usual[0], usual[1]) };
        let Some(excess) = rules.iter().find_map(broken).filter(|_| !is_probe) else { return Ok(true) };
        let scope = excess.rule.scope();
        let (before, at) = (block(self, scope), instant(now));
        let key = (scope, place.key(scope).to_owned());
        let begun = Block::begin(before.as_ref(), &place, excess, at);
        let of_day = begun.of_day(&counts).filter(|_| rules.contains(&Rule::CountryDay));
        let mut begun = of_day.unwrap_or(begun);
        if let Some(resumed) = Block::resumed(before.as_ref(), excess, at) {
            let since = millis(resumed.since);
            let probes =
                if is_on { self.count(Some(&self.countries[country]), since) } else { Sends::default() };
            begun = match resumed.pass(probes, None, usual[0], at) {
                Passage::Over(next) | Passage::Probe(next) if is_on => {
                    self.blocks.insert(key, next);
                    return Ok(true);
                }
                Passage::Over(next) | Passage::Probe(next) => next,
                Passage::Refused(_) => resumed,
            };
        }
        self.blocks.insert(key.clone(), begun);
        self.refused.entry(key).or_default().push_back(now);
        Err(())
    }
}

fn millis(at: freshk::domain::Timestamp) -> u64 {
    u64::try_from(at.as_millis() - instant(0).as_millis()).unwrap_or_default()
}

fn network(address: Address) -> String {
    match address {
        Address::V4(address) => format!("4 {}", address >> 8),
        Address::V6(site, _) => format!("6 {site}"),
    }
}
