//! A session: what a login opens, what its tokens stand for.

use std::time::Duration;

use crate::domain::clock::Times;
use crate::domain::{SessionId, Timestamp, UserId};

/// One login on one device. The row holds no token: its generation and that generation's `jti` are worthless without
/// the signing key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The `sid` of its tokens.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// The refresh generation: 0 at login, one more with each rotation.
    pub generation: u32,
    /// The `jti` of the current refresh token, 32 hexadecimal digits.
    pub jti: String,
    /// Whether the current generation was seen in use; until then the one before it is still good.
    pub generation_used: bool,
    /// When the current refresh token was issued (its `iat`).
    pub issued_at: Timestamp,
    /// When the current refresh token expires (its `exp`).
    pub refresh_expires_at: Timestamp,
    /// When the login was.
    pub created_at: Timestamp,
    /// The latest instant to which rotation can carry it.
    pub expires_at: Timestamp,
    /// When a token of it was last seen; at most a minute coarse.
    pub last_used_at: Timestamp,
    /// When and why it ended, once it has.
    pub ended: Option<(Timestamp, EndReason)>,
    /// The device's name as the client gave it.
    pub device: String,
    /// The address of the login or of the last rotation.
    pub ip: String,
    /// The last generation whose refresh token may be under the key of access tokens: the one at which the session stood
    /// when refresh tokens got a key of their own. None for a session opened since.
    pub shared_key_until: Option<u32>,
}

/// What every request with an access token must know of its session, and no more: these are held in memory by the
/// ten thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whose it is.
    pub user: UserId,
    /// The refresh generation.
    pub generation: u32,
    /// Whether that generation was seen in use.
    pub generation_used: bool,
    /// When its current refresh token expires.
    pub refresh_expires_at: Timestamp,
    /// When a token of it was last seen.
    pub last_used_at: Timestamp,
    /// Whether it was ended.
    pub is_ended: bool,
}

impl Standing {
    /// Whether the session's tokens are good at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        !self.is_ended && now < self.refresh_expires_at
    }
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Its holder logged out.
    Logout,
    /// A refresh token was presented outside the rules.
    Reuse,
    /// The user's newest session pushed the oldest out.
    Displaced,
    /// The operator ended it.
    Revoked,
}

impl EndReason {
    /// The word in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Reuse => "reuse",
            Self::Displaced => "displaced",
            Self::Revoked => "revoked",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Logout, Self::Reuse, Self::Displaced, Self::Revoked].into_iter().find(|r| r.as_str() == word)
    }
}

/// How long tokens and sessions live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of an access token.
    pub access: Duration,
    /// Of a refresh token, from its issue.
    pub refresh: Duration,
    /// Of a session, from the login.
    pub session: Duration,
}

/// What is to be done with a refresh token whose signature and `exp` are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented {
    /// It is the current one: the next generation follows.
    Rotate,
    /// It is an older one that may honestly be asked with again, because the answer was lost, two requests crossed, or
    /// one lay in a queue: the session's current one, the same again.
    Repeat {
        /// Whether that is so only because the current generation has not been used: to be audited.
        after_grace: bool,
    },
    /// Anything else: somebody has a token that is not theirs, and the session ends (RFC 9700 §4.14.2).
    Reuse,
}

/// Who opens a session, and from where.
#[derive(Clone, Debug)]
pub struct Login {
    /// Whose login it is.
    pub user: UserId,
    /// The name of the device.
    pub device: String,
    /// Its address.
    pub ip: String,
}

impl Session {
    /// Opens a session; `id` and `jti` are drawn beforehand. What its tokens say of time is the wall clock's.
    pub fn open(id: SessionId, jti: String, login: Login, times: &Times, lifetimes: &Lifetimes) -> Self {
        let expires_at = times.wall + lifetimes.session;
        Self {
            id,
            user: login.user,
            generation: 0,
            jti,
            generation_used: false,
            issued_at: times.wall,
            refresh_expires_at: (times.wall + lifetimes.refresh).min(expires_at),
            created_at: times.wall,
            expires_at,
            last_used_at: times.now,
            ended: None,
            device: login.device,
            ip: login.ip,
            shared_key_until: None,
        }
    }

    /// Ends at `until` at the latest, however often it is refreshed.
    #[must_use]
    pub fn bounded(self, until: Timestamp) -> Self {
        Self {
            refresh_expires_at: self.refresh_expires_at.min(until),
            expires_at: self.expires_at.min(until),
            ..self
        }
    }

    /// What requests must know of it.
    pub const fn standing(&self) -> Standing {
        Standing {
            user: self.user,
            generation: self.generation,
            generation_used: self.generation_used,
            refresh_expires_at: self.refresh_expires_at,
            last_used_at: self.last_used_at,
            is_ended: self.ended.is_some(),
        }
    }

    /// Whether it can still be used at `now`: once its refresh token has expired, nothing brings it back.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.standing().is_live(now)
    }

    /// Whether a refresh token of `generation` under the key of access tokens, which a Django project may hold too, can be
    /// one that was issued here. It rotates once at most: what that gives has a key that only we have.
    pub fn takes_shared_key(&self, generation: u32) -> bool {
        self.shared_key_until.is_some_and(|last| generation <= last)
    }

    /// Judges a refresh token of `generation` named `jti` at `now`. `rotated_away` is when that generation was, while
    /// that is still known.
    pub fn present(
        &self,
        generation: u32,
        jti: &str,
        rotated_away: Option<Timestamp>,
        now: Timestamp,
        grace: Duration,
    ) -> Presented {
        if generation == self.generation {
            return if jti == self.jti { Presented::Rotate } else { Presented::Reuse };
        }
        if generation > self.generation {
            return Presented::Reuse;
        }
        self.present_older(generation + 1 == self.generation, rotated_away, now, grace)
    }

    /// Judges a token that is not the current one any more; `is_previous` where the current one took its place.
    pub fn present_older(
        &self,
        is_previous: bool,
        rotated_away: Option<Timestamp>,
        now: Timestamp,
        grace: Duration,
    ) -> Presented {
        if rotated_away.is_some_and(|at| now < at + grace) {
            return Presented::Repeat { after_grace: false };
        }
        if is_previous && !self.generation_used {
            return Presented::Repeat { after_grace: true };
        }
        Presented::Reuse
    }

    /// The next generation, whose refresh token is named `jti`.
    #[must_use]
    pub fn rotated(self, jti: String, times: &Times, lifetimes: &Lifetimes) -> Self {
        Self {
            generation: self.generation + 1,
            jti,
            generation_used: false,
            issued_at: times.wall,
            refresh_expires_at: (times.wall + lifetimes.refresh).min(self.expires_at),
            last_used_at: times.now,
            ..self
        }
    }

    /// A token of `generation` was seen in use at `now`.
    #[must_use]
    pub fn seen(self, generation: u32, now: Timestamp) -> Self {
        let generation_used = self.generation_used || generation == self.generation;
        Self { generation_used, last_used_at: self.last_used_at.max(now), ..self }
    }

    /// Ends it; a session that has ended keeps its first reason.
    #[must_use]
    pub fn ended(self, at: Timestamp, reason: EndReason) -> Self {
        Self { ended: self.ended.or(Some((at, reason))), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GRACE: Duration = Duration::from_mins(1);

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

    impl Server {
        fn new() -> Self {
            let now = Timestamp::from_millis(1_700_000_000_000);
            let login = Login { user: UserId(1), device: String::new(), ip: String::new() };
            let session = Session::open(
                SessionId::new(now, [0; 10]),
                "0".into(),
                login,
                &Times::right(now),
                &lifetimes(),
            );
            Self { session, rotated: vec![], now }
        }

        /// A refresh with a token of `generation`: what was decided, and the generation of the answer.
        fn refresh(&mut self, generation: u32) -> (Presented, u32) {
            let away = self.rotated.get(generation as usize).copied();
            let verdict = self.session.present(generation, &generation.to_string(), away, self.now, GRACE);
            if verdict == Presented::Rotate {
                self.rotated.push(self.now);
                let next = (self.session.generation + 1).to_string();
                self.session = self.session.clone().rotated(next, &Times::right(self.now), &lifetimes());
            }
            (verdict, self.session.generation)
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
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => prop::collection::vec(any::<bool>(), 1..4).prop_map(|answers_arrive| Step::Refresh { answers_arrive }),
            2 => Just(Step::Access),
            2 => prop_oneof![0u64..5, 55u64..65, Just(100_000)].prop_map(Step::Wait),
        ];
        prop::collection::vec(step, 1..60)
    }

    proptest! {
        /// An honest client stores an answer before it uses any of it, and has no request with an older token under way
        /// after the grace. Whatever is lost, it is never logged out.
        #[test]
        fn s16_an_honest_client_is_never_logged_out(steps in steps()) {
            let (mut server, mut held) = (Server::new(), 0);
            for step in steps {
                match step {
                    Step::Refresh { answers_arrive } => {
                        let sent = held;
                        for arrives in answers_arrive {
                            let (verdict, given) = server.refresh(sent);
                            prop_assert_ne!(verdict, Presented::Reuse);
                            if arrives {
                                held = held.max(given);
                            }
                        }
                    }
                    Step::Access => server.session = server.session.clone().seen(held, server.now),
                    Step::Wait(seconds) => server.now = server.now + Duration::from_secs(seconds),
                }
            }
        }

        /// Whatever came before, a token outside the rules ends the session: the rules are said again here over the
        /// whole history, which the session itself does not keep.
        #[test]
        fn s16_every_presentation_outside_the_rules_is_reuse(
            steps in prop::collection::vec((0u8..4, 0u32..8, 0u64..90), 1..60),
        ) {
            let (mut server, mut used) = (Server::new(), Vec::<u32>::new());
            for (step, generation, seconds) in steps {
                let current = server.session.generation;
                match step {
                    0 => drop(server.refresh(current)),
                    1 => {
                        server.session = server.session.clone().seen(generation, server.now);
                        used.push(generation);
                    }
                    2 => server.now = server.now + Duration::from_secs(seconds),
                    _ => {
                        let young = |g: u32| server.now < server.rotated[g as usize] + GRACE;
                        let expected = if generation == current {
                            Presented::Rotate
                        } else if generation < current && young(generation) {
                            Presented::Repeat { after_grace: false }
                        } else if generation + 1 == current && !used.contains(&current) {
                            Presented::Repeat { after_grace: true }
                        } else {
                            Presented::Reuse
                        };
                        // Uses noted of a generation before it came to be do not count.
                        used.retain(|g| *g <= current);
                        prop_assert_eq!(server.refresh(generation).0, expected);
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
            assert_ne!(verdict, Presented::Reuse);
            server.now = server.now + Duration::from_hours(1);
        }
    }

    #[test]
    fn a_foreign_jti_of_the_current_generation_is_reuse() {
        let server = Server::new();
        let verdict = server.session.present(0, "another", None, server.now, GRACE);
        assert_eq!(verdict, Presented::Reuse);
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
}
