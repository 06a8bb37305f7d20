//! Changes of number in random schedules of two people, their numbers and a thief with a stolen session, each held against a
//! model. Of acts at the same moment any order is right, as long as one is.

use std::collections::BTreeMap;
use std::ops::Range;

use futures_util::future::{join, join_all};

use super::*;
use crate::auth::{CancelRequest, PhoneCodes, PhoneProof};
use crate::domain::SessionId;
use crate::random::Random as _;
use crate::sms::texts;
use model::{Act, HOLDERS, Model, Outcome, Person, Waiting};

mod model;

/// So many where `TEST_SCHEDULES` names no other number.
const SCHEDULES: u32 = 1000;
/// Schedules that share a database and a clock.
const TOGETHER: u32 = 50;
const STEPS: u32 = 12;
const DAY: Duration = Duration::from_hours(24);

/// One schedule.
struct World {
    base: u32,
    chance: SeededRandom,
    /// The orders of what happened that would explain it.
    models: Vec<Model>,
    /// Who may act with which session.
    keys: Vec<(Person, usize)>,
    alice: UserId,
    /// Whether Alice answers each notice that she did not cause.
    is_vigilant: bool,
    /// Numbers of hers that were sent such a notice.
    alarms: Vec<usize>,
}

impl World {
    async fn new(bed: &Bed, seed: u32) -> Self {
        let mut world = Self {
            base: seed * 10,
            chance: SeededRandom::new(seed.into()),
            models: vec![Model::default()],
            keys: Vec::new(),
            alice: UserId(0),
            is_vigilant: seed.is_multiple_of(2),
            alarms: Vec::new(),
        };
        for number in [0, 2] {
            world.send_login(bed, number).await;
            let act = Act::LogIn { number };
            let outcome = world.act(bed, &act).await;
            world.explain(bed, &[(act, outcome)]);
        }
        world.alice = world.models[0].sessions[0].1;
        world.keys.push((Person::Thief, 0));
        world
    }

    fn phone(&self, number: usize) -> PhoneNumber {
        phone(self.base + u32::try_from(number).unwrap())
    }

    fn below(&self, below: usize) -> usize {
        self.chance.below(u32::try_from(below).unwrap()) as usize
    }

    /// The code of the latest message to a number: a notice's, or another's.
    fn read(&self, bed: &Bed, number: usize, is_notice: bool) -> Option<Code> {
        let (to, notice) = (self.phone(number), texts::notice(DAY));
        let found = bed.sms.latest(|sms| sms.to == to && (sms.text == notice) == is_notice);
        found.map(|sms| sms.code)
    }

    async fn send_login(&mut self, bed: &Bed, number: usize) {
        let request = CodeRequest { phone: self.phone(number), ..code_request(0) };
        bed.ask(request).await.result.unwrap();
        let now = bed.clock.now();
        for model in &mut self.models {
            model.logins.insert(number, now);
        }
    }

    async fn bearer(&self, bed: &Bed, session: usize) -> Authenticated {
        let (id, user, _) = self.models[0].sessions[session].clone();
        let user = bed.read(move |view| view.user(user)).await.unwrap();
        Authenticated { session: Some(id), user: Arc::new(user) }
    }

    /// Sends what an act needs, as far as that goes.
    async fn prepare(&mut self, bed: &Bed, act: &Act) {
        match *act {
            Act::LogIn { number } => self.send_login(bed, number).await,
            Act::Prove { session, number, current, .. } => {
                let bearer = self.bearer(bed, session).await;
                let user = bearer.user.id;
                let asked = bed
                    .auth
                    .ask_phone_change(&bearer, self.phone(number), Languages::default(), origin(ADDRESS))
                    .await;
                let now = bed.clock.now();
                if asked.result.is_ok() {
                    for model in &mut self.models {
                        model.changes.insert((user, number), now);
                    }
                }
                let own = (0..5).find(|number| Some(self.phone(*number)) == bearer.user.phone);
                if let Some(own) = own.filter(|_| current) {
                    self.send_login(bed, own).await;
                }
            }
            Act::Cancel { .. } | Act::Keep { .. } => {}
        }
    }

    async fn act(&self, bed: &Bed, act: &Act) -> Outcome {
        let origin = origin(ADDRESS);
        match *act {
            Act::LogIn { number } => {
                let code = self.read(bed, number, false).unwrap();
                let request = VerifyRequest { phone: self.phone(number), ..verify_request(0, &code) };
                match bed.auth.verify(request).await.result {
                    Ok(login) => {
                        let bearer = bed.bearer(&login).await;
                        Outcome::LoggedIn(login.user.id, bearer.session.unwrap())
                    }
                    Err(error) => Outcome::Refused(error),
                }
            }
            Act::Prove { session, number, current, .. } => {
                let bearer = self.bearer(bed, session).await;
                let own = (0..5).find(|number| Some(self.phone(*number)) == bearer.user.phone);
                let nothing = || Code::from_number(0, 6);
                let new = self.read(bed, number, false).unwrap_or_else(nothing);
                let current = current.then(|| self.read(bed, own?, false)).flatten();
                let (codes, phone) = (Some(PhoneCodes { new, current }), self.phone(number));
                let proof = PhoneProof { phone, codes, device_token: None, origin };
                match bed.auth.change_phone(bearer, proof).await.result {
                    Ok(changed) => changed.effective_at.map_or(Outcome::Changed, Outcome::Waits),
                    Err(error) => Outcome::Refused(error),
                }
            }
            Act::Cancel { number, ref code } => {
                let request = CancelRequest { phone: self.phone(number), code: Some(code.clone()), origin };
                match bed.auth.cancel_phone_change(request).await.result {
                    Ok(()) => Outcome::TakenBack,
                    Err(error) => Outcome::Refused(error),
                }
            }
            Act::Keep { session } => {
                let bearer = self.bearer(bed, session).await;
                match bed.auth.keep_phone(&bearer, origin).await {
                    Ok(()) => Outcome::TakenBack,
                    Err(error) => Outcome::Refused(error),
                }
            }
        }
    }

    /// Keeps the models that explain the outcomes of acts at one moment.
    fn explain(&mut self, bed: &Bed, acts: &[(Act, Outcome)]) {
        let now = bed.clock.now();
        let orders: &[&[usize]] = if acts.len() == 2 { &[&[0, 1], &[1, 0]] } else { &[&[0]] };
        let mut explaining = Vec::new();
        for model in &self.models {
            for order in orders {
                let mut model = model.clone();
                if order.iter().all(|at| model.takes(&acts[*at].0, &acts[*at].1, now)) {
                    explaining.push(model);
                }
            }
        }
        assert!(!explaining.is_empty(), "{acts:?}\n{:#?}", self.models);
        self.models = explaining;
        for (act, outcome) in acts {
            match (act, outcome) {
                (Act::LogIn { number }, Outcome::LoggedIn(_, session)) => {
                    let place = |(id, ..): &(SessionId, UserId, bool)| id == session;
                    let place = self.models[0].sessions.iter().position(place).unwrap();
                    self.keys.push((HOLDERS[*number], place));
                }
                (Act::Prove { by, .. }, Outcome::Waits(_)) => self.note_notice(bed, *by),
                _ => {}
            }
        }
    }

    /// Reads the notice of a change that has begun to wait.
    fn note_notice(&mut self, bed: &Bed, by: Person) {
        let codes: Vec<_> = (0..5).map(|number| self.read(bed, number, true)).collect();
        for model in &mut self.models {
            for (user, waiting) in model.waiting.iter_mut().filter(|(_, waiting)| waiting.code.is_none()) {
                waiting.code.clone_from(&codes[model.links[user]]);
            }
        }
        let told = self.models[0].links[&self.alice];
        let is_hers = HOLDERS[told] == Person::Alice;
        // She reads it whichever order explains the moment.
        let of_thief = |waiting: &Waiting| waiting.by == by;
        let is_alarming =
            self.models.iter().any(|model| model.waiting.get(&self.alice).is_some_and(of_thief));
        if by == Person::Thief && is_hers && is_alarming {
            self.alarms.push(told);
        }
    }

    fn choose(&self, bed: &Bed) -> Act {
        let (by, session) = self.keys[self.below(self.keys.len())];
        let held: Vec<_> = (0..5).filter(|number| HOLDERS[*number] == by).collect();
        let number = held[self.below(held.len())];
        let any = self.below(5);
        match self.below(8) {
            0 | 1 => Act::LogIn { number },
            2..=4 => {
                let own = self.models[0].links[&self.models[0].sessions[session].1];
                let current = HOLDERS[own] == by && self.below(2) == 0;
                Act::Prove { session, number, current, by }
            }
            5 => {
                let code = self.read(bed, number, true).unwrap_or_else(|| Code::from_number(0, 6));
                Act::Cancel { number, code }
            }
            6 => Act::Cancel { number: any, code: Code::from_number(self.chance.below(1_000_000), 6) },
            _ => Act::Keep { session },
        }
    }

    /// Alice answers the notices that she did not cause.
    async fn answer(&mut self, bed: &Bed) {
        for number in std::mem::take(&mut self.alarms) {
            let code = self.read(bed, number, true).unwrap();
            let act = match self.below(2) {
                0 => Act::LogIn { number },
                _ => Act::Cancel { number, code },
            };
            if self.is_vigilant {
                self.prepare(bed, &act).await;
                let outcome = self.act(bed, &act).await;
                self.explain(bed, &[(act, outcome)]);
            }
        }
    }

    async fn step(&mut self, bed: &Bed) {
        self.answer(bed).await;
        let (one, other) = (self.choose(bed), self.choose(bed));
        self.prepare(bed, &one).await;
        let clashes = matches!(
            (&one, &other),
            (Act::LogIn { .. } | Act::Prove { .. }, Act::LogIn { .. } | Act::Prove { .. })
        );
        if self.below(3) > 0 || clashes {
            let outcome = self.act(bed, &one).await;
            return self.explain(bed, &[(one, outcome)]);
        }
        self.prepare(bed, &other).await;
        let (first, second) = Box::pin(join(self.act(bed, &one), self.act(bed, &other))).await;
        self.explain(bed, &[(one, first), (other, second)]);
    }

    /// Holds the models against the database, where all that is due is done.
    async fn look(&mut self, bed: &Bed) {
        let (now, phones) = (bed.clock.now(), (0..5).map(|number| self.phone(number)).collect::<Vec<_>>());
        let sessions: Vec<_> = self.models[0].sessions.iter().map(|(id, ..)| id.clone()).collect();
        let found = bed.read(move |view| {
            let (mut links, mut waiting) = (BTreeMap::new(), BTreeMap::new());
            for (number, phone) in phones.iter().enumerate() {
                let Some(user) = view.user_by_phone(phone)?.filter(|user| user.phone_verified) else {
                    continue;
                };
                links.insert(user.id, number);
                if let Some(change) = view.phone_change(user.id)? {
                    let to = phones.iter().position(|phone| *phone == change.phone);
                    waiting.insert(user.id, (to.unwrap(), change.effective_at, change.wrong_cancels));
                }
            }
            let mut live = BTreeMap::new();
            for id in sessions {
                live.insert(id.clone(), view.session(&id)?.is_some_and(|session| session.is_live(now)));
            }
            Ok((links, waiting, live))
        });
        let (links, waiting, live) = found.await;
        let before = self.models.clone();
        self.models.iter_mut().for_each(|model| model.pass(now));
        self.models.retain(|model| {
            let waits = model
                .waiting
                .iter()
                .map(|(user, waiting)| (*user, (waiting.number, waiting.at, waiting.wrong)));
            model.links == links
                && waits.collect::<BTreeMap<_, _>>() == waiting
                && model.sessions.iter().all(|(id, _, is_live)| live[id] == *is_live)
        });
        assert!(!self.models.is_empty(), "{links:?} {waiting:?} {live:?}\n{before:#?}");
    }
}

/// Which are asked for: `TEST_SCHEDULES` is a number of them, or two with `..` between them.
fn asked() -> Option<Range<u32>> {
    let named = std::env::var("TEST_SCHEDULES").ok()?;
    let (start, end) = named.split_once("..").unwrap_or(("0", &named));
    Some(start.parse().ok()?..end.parse().ok()?)
}

#[tokio::test]
async fn no_schedule_links_a_number_to_the_wrong_account_and_who_reads_the_notice_keeps_the_account() {
    let Range { start, end } = asked().unwrap_or(0..SCHEDULES);
    for round in start / TOGETHER..end / TOGETHER {
        let bed = Bed::with(|policy| {
            policy.otp.max_failures_per_day = 0;
            (policy.limits.ip, policy.limits.user, policy.limits.user_per_day) = (0, 0, 0);
            (policy.max_sessions, policy.max_devices) = (1000, 3);
        });
        let bed = bed.await;
        let seeds = (1..=TOGETHER).map(|place| round * TOGETHER + place);
        let mut worlds = join_all(seeds.map(|seed| World::new(&bed, seed))).await;
        let pace = SeededRandom::new(round.into());
        for _ in 0..STEPS {
            join_all(worlds.iter_mut().map(|world| world.step(&bed))).await;
            if pace.below(2) == 0 {
                bed.auth.maintain().await.unwrap();
                join_all(worlds.iter_mut().map(|world| world.look(&bed))).await;
            }
            bed.clock.advance([SECOND, 60 * SECOND, HOUR, 11 * HOUR][pace.below(4) as usize]);
        }
        for world in &mut worlds {
            Box::pin(world.step(&bed)).await;
            world.answer(&bed).await;
        }
        bed.clock.advance(2 * DAY);
        bed.auth.maintain().await.unwrap();
        for world in &mut worlds {
            world.look(&bed).await;
            let number = world.models[0].links[&world.alice];
            assert!(!world.is_vigilant || HOLDERS[number] == Person::Alice, "{:#?}", world.models);
        }
    }
}
