//! S16, S42: whom rotation forgives, and whom it catches.

use super::*;
use proptest::prelude::*;

const GRACE: Duration = Duration::from_mins(1);

/// What the store notes where a token of `generation` is seen in use.
fn seen(session: &Session, generation: u32, now: Timestamp) -> Session {
    let generation_used = session.generation_used || generation == session.generation;
    Session { generation_used, last_used_at: session.last_used_at.max(now), ..session.clone() }
}

fn lifetimes() -> Lifetimes {
    Lifetimes {
        access: Duration::from_mins(15),
        refresh: Duration::from_hours(24 * 30),
        session: Duration::from_hours(24 * 365),
    }
}

/// The server's side: a session and when its generations were rotated away.
struct Server {
    session: Session,
    rotated: Vec<Timestamp>,
    now: Timestamp,
}

/// An address in the network of this number.
fn address(network: u8) -> ClientAddress {
    ClientAddress::new(format!("203.0.{network}.7").parse().unwrap())
}

impl Server {
    fn new() -> Self {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let login = Login { user: UserId(1), device: String::new(), ip: address(0).to_string() };
        let id = SessionId::new(now, [0; 10]);
        let session = Session::open(id, "0".into(), login, &Times::right(now), &lifetimes());
        Self { session, rotated: vec![], now }
    }

    /// A refresh with a token of `generation` from a network: what was decided, and the generation of the answer.
    fn refresh_from(&mut self, network: u8, generation: u32) -> (RefreshDecision, u32) {
        let away = self.rotated.get(generation as usize).copied();
        let from_elsewhere = self.session.is_elsewhere(address(network));
        let presentation = Presentation { now: self.now, grace: GRACE, from_elsewhere };
        let verdict = self.session.present(generation, &generation.to_string(), away, &presentation);
        match verdict {
            RefreshDecision::Rotate => {
                self.rotated.push(self.now);
                let next = (self.session.generation + 1).to_string();
                let rotated = self.session.clone().rotated(next, &Times::right(self.now), &lifetimes());
                self.session = Session { ip: address(network).to_string(), ..rotated };
            }
            RefreshDecision::Repeat(repetition) => {
                self.session = self.session.clone().repeated(repetition, self.now).0;
            }
            RefreshDecision::Reuse(_) => {}
        }
        (verdict, self.session.generation)
    }

    fn refresh(&mut self, generation: u32) -> (RefreshDecision, u32) {
        self.refresh_from(0, generation)
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// The client refreshes; each answer of the burst arrives or is lost.
    Refresh { answers_arrive: Vec<bool> },
    /// The client uses its access token.
    Access,
    /// Time passes, in seconds.
    Wait(u64),
    /// The client moves to another network.
    Move(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => prop::collection::vec(any::<bool>(), 1..4).prop_map(|answers_arrive| Step::Refresh { answers_arrive }),
        2 => Just(Step::Access),
        2 => prop_oneof![0u64..5, 55u64..65, Just(100_000)].prop_map(Step::Wait),
        1 => (0u8..4).prop_map(Step::Move),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    /// An honest client stores an answer before it uses any of it, and has no request with an older token under way
    /// after the grace. Whatever is lost, it is never logged out, though it moves between networks: unless it loses all
    /// answers of two generations in a row, and moves after each of the two while it waits for one.
    #[test]
    fn s16_an_honest_client_is_never_logged_out(steps in steps()) {
        let (mut server, mut held, mut network) = (Server::new(), 0, 0);
        let mut moved_while_it_waited = None;
        for step in steps {
            match step {
                Step::Refresh { answers_arrive } => {
                    let sent = held;
                    for arrives in answers_arrive {
                        let (verdict, given) = server.refresh_from(network, sent);
                        prop_assert!(verdict.is_good(), "{:?}", verdict);
                        if arrives {
                            held = held.max(given);
                        }
                    }
                }
                Step::Access => server.session = seen(&server.session, held, server.now),
                Step::Wait(seconds) => server.wait(seconds),
                Step::Move(to) => {
                    let generation = server.session.generation;
                    if held == generation {
                        network = to;
                    } else if moved_while_it_waited.is_none_or(|before| before + 1 != generation) {
                        network = to;
                        moved_while_it_waited = Some(generation);
                    }
                }
            }
        }
    }

    /// The owner uses access tokens elsewhere alone, so that no generation is seen in use here, and moves; the thief has a
    /// token that is one generation behind, and repeats it from a network where the owner never is.
    #[test]
    fn s42_a_thief_one_generation_behind_is_found_in_the_second_round(
        owners in prop::collection::vec((0u8..3, 61u64..10_000, 61u64..10_000), 8),
    ) {
        let (mut server, mut owner, mut thief) = (Server::new(), 0, 0);
        let mut rounds = 0;
        for (network, before, after) in owners {
            rounds += 1;
            server.wait(before);
            let (verdict, given) = server.refresh_from(network, owner);
            prop_assert_eq!(verdict, RefreshDecision::Rotate);
            owner = given;
            server.wait(after);
            let (verdict, given) = server.refresh_from(9, thief);
            if verdict == RefreshDecision::Reuse(Evidence::TwiceElsewhere) {
                break;
            }
            prop_assert_eq!(verdict, RefreshDecision::Repeat(Repetition::LateElsewhere));
            thief = given;
        }
        prop_assert_eq!(rounds, 2);
    }

    /// The thief is first each time, and the owner finds the token that it holds rotated away.
    #[test]
    fn s42_a_thief_who_is_one_generation_ahead_is_found_too(
        waits in prop::collection::vec((61u64..10_000, 61u64..10_000), 8),
    ) {
        let (mut server, mut owner, mut thief) = (Server::new(), 0, 0);
        let mut rounds = 0;
        for (before, after) in waits {
            rounds += 1;
            server.wait(before);
            thief = server.refresh_from(9, thief).1;
            server.wait(after);
            let (verdict, given) = server.refresh_from(0, owner);
            if !verdict.is_good() {
                break;
            }
            owner = given;
        }
        prop_assert_eq!(rounds, 2);
    }

    /// Whatever came before, a token outside the rules ends the session: the rules are said again here over the whole
    /// history, which the session itself does not keep.
    #[test]
    fn s16_every_presentation_outside_the_rules_is_reuse(
        steps in prop::collection::vec((0u8..4, 0u32..8, 0u64..90, 0u8..2), 1..80),
    ) {
        let (mut server, mut used) = (Server::new(), Vec::<u32>::new());
        // By generation: from where it was rotated away (the login opened the first), and which were repeated elsewhere.
        let (mut rotated_from, mut elsewhere) = (vec![0u8], Vec::<u32>::new());
        for (step, generation, seconds, network) in steps {
            let current = server.session.generation;
            match step {
                0 => {
                    server.refresh_from(network, current);
                    rotated_from.push(network);
                }
                1 => {
                    server.session = seen(&server.session, generation, server.now);
                    used.push(generation);
                }
                2 => server.wait(seconds),
                _ => {
                    let young = |g: u32| server.now < server.rotated[g as usize] + GRACE;
                    let is_elsewhere = rotated_from[current as usize] != network;
                    // Uses noted of a generation before it came to be do not count.
                    used.retain(|g| *g <= current);
                    let expected = if generation == current {
                        rotated_from.push(network);
                        RefreshDecision::Rotate
                    } else if generation < current && young(generation) {
                        RefreshDecision::Repeat(if is_elsewhere { Repetition::PromptElsewhere } else { Repetition::Prompt })
                    } else if generation + 1 != current || used.contains(&current) {
                        RefreshDecision::Reuse(Evidence::OutsideTheRules)
                    } else if !is_elsewhere {
                        RefreshDecision::Repeat(Repetition::Late)
                    } else if generation > 0 && elsewhere.contains(&(generation - 1)) {
                        RefreshDecision::Reuse(Evidence::TwiceElsewhere)
                    } else {
                        elsewhere.push(generation);
                        RefreshDecision::Repeat(Repetition::LateElsewhere)
                    };
                    prop_assert_eq!(server.refresh_from(network, generation).0, expected);
                }
            }
            used.retain(|g| *g <= server.session.generation);
        }
    }
}

#[test]
fn s16_a_thousand_lost_answers_log_nobody_out() {
    let mut server = Server::new();
    for _ in 0..1000 {
        let held = server.session.generation.saturating_sub(1);
        let (verdict, _) = server.refresh(held);
        assert!(verdict.is_good());
        server.wait(3600);
    }
}

/// A train with a hole in its network: every answer is lost, and each request comes from somewhere else.
#[test]
fn s42_a_thousand_lost_answers_of_one_generation_log_nobody_out_wherever_they_were_asked_for() {
    let mut server = Server::new();
    for n in 0..1000u32 {
        let (verdict, _) = server.refresh_from(u8::try_from(n % 200).unwrap(), 0);
        assert!(verdict.is_good());
        server.wait(3600);
    }
}

#[test]
fn s35_of_repetitions_the_first_of_an_hour_is_told_and_the_rest_are_counted() {
    let session = Server::new().session;
    let start = session.created_at;
    let at = |minutes: u64| start + Duration::from_mins(minutes);
    let (session, told) = session.repeated(Repetition::Late, at(0));
    assert_eq!(told, Some(0));
    let (session, told) = session.repeated(Repetition::PromptElsewhere, at(30));
    assert_eq!(told, None);
    let (session, told) = session.repeated(Repetition::Late, at(59));
    assert_eq!((told, session.replays_untold), (None, 2));
    let (session, told) = session.repeated(Repetition::Late, at(60));
    assert_eq!((told, session.replays_untold), (Some(2), 0));
    // What may end the session the next time is told at once, though once only.
    let (session, told) = session.repeated(Repetition::LateElsewhere, at(61));
    assert_eq!((told, session.repeated_elsewhere), (Some(0), Some(0)));
    let (session, told) = session.repeated(Repetition::LateElsewhere, at(62));
    assert_eq!(told, None);
    let (_, told) = session.repeated(Repetition::Late, start);
    assert_eq!(told, Some(1), "the clock was set back");
}

#[test]
fn a_foreign_jti_of_the_current_generation_is_reuse() {
    let server = Server::new();
    let presentation = Presentation { now: server.now, grace: GRACE, from_elsewhere: false };
    let verdict = server.session.present(0, "another", None, &presentation);
    assert_eq!(verdict, RefreshDecision::Reuse(Evidence::OutsideTheRules));
}

#[test]
fn a_token_under_the_shared_key_is_good_up_to_the_generation_of_the_migration() {
    let session = Server::new().session;
    assert!(!session.takes_shared_key(0), "a new session has none");
    let old = Session { generation: 3, shared_key_until: Some(3), ..session };
    assert!(old.takes_shared_key(3) && old.takes_shared_key(2));
    let rotated = old.rotated("4".into(), &Times::right(Timestamp::from_millis(0)), &lifetimes());
    assert!(!rotated.takes_shared_key(4), "nor has what follows");
    assert!(rotated.takes_shared_key(3), "its answer may have been lost");
}

#[test]
fn rotation_slides_the_refresh_token_but_never_past_the_session() {
    let server = Server::new();
    let late = server.session.created_at + Duration::from_hours(24 * 350);
    let rotated = server.session.clone().rotated("1".into(), &Times::right(late), &lifetimes());
    assert_eq!(rotated.refresh_expires_at, rotated.expires_at);
}

#[test]
fn a_session_is_live_until_its_refresh_token_expires_and_known_as_deactivated_as_long() {
    let session = Server::new().session;
    let last = Timestamp::from_millis(session.refresh_expires_at.as_millis() - 1);
    let states = |session: &Session, now| (session.is_live(now), session.is_deactivated(now));
    assert_eq!(
        (states(&session, last), states(&session, last + Duration::from_millis(1))),
        ((true, false), (false, false))
    );
    let deactivated = session.clone().ended(session.created_at, EndReason::Deactivated);
    assert_eq!(states(&deactivated, last), (false, true));
    assert_eq!(states(&deactivated, last + Duration::from_millis(1)), (false, false));
    assert_eq!(states(&session.ended(last, EndReason::Logout), last), (false, false));
}

#[test]
fn a_new_session_has_not_been_seen_in_use_and_a_line_of_this_moment_counts() {
    let session = Server::new().session;
    assert!(!session.generation_used);
    let (told, _) = session.clone().repeated(Repetition::Late, session.created_at);
    assert_eq!(told.repeated(Repetition::Late, session.created_at).1, None, "at the same moment");
}
