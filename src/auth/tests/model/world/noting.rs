//! What was seen: the models that would explain it stay, and what people were given is kept.

use super::super::super::*;
use super::super::acts::{Act, Call, Outcome, Pair, Token};
use super::super::rules::Model;
use super::{Checked, World};
use crate::auth::AuthError;
use crate::domain::SessionId;

/// So many models are kept at most: with more nothing would be known any more.
const MODELS: usize = 200;

impl World {
    pub(super) fn tell(&mut self, call: &Call, outcome: Option<&Outcome>, is_up: bool) {
        let (outcome, end) = (
            outcome.map_or("no answer".to_owned(), |outcome| format!("{outcome:?}")),
            if is_up { "" } else { "; crash" },
        );
        self.trace.push(format!("{call:?}: {outcome}{end}"));
    }

    pub(super) fn keep(&mut self, mut after: Vec<Model>, answered: &[(&Call, &Outcome)]) -> Checked {
        thin(&mut after);
        if after.is_empty() {
            let before = self.models.first();
            return Err(format!("nothing explains {answered:?} after\n{before:#?}"));
        }
        self.models = after;
        Ok(())
    }

    /// What people have in their hands now; and what no model may excuse.
    pub(super) fn note(&mut self, call: &Call, outcome: Outcome, secret: Option<Secret>) -> Checked {
        let session = match &outcome {
            Outcome::LoggedIn { pair, .. } | Outcome::Refreshed { pair, .. } => {
                Some(pair.refresh.session.clone())
            }
            Outcome::Known { is_active: true, .. } => match &call.act {
                Act::Status { access } => Some(access.session.clone()),
                _ => None,
            },
            _ => None,
        };
        if session.as_ref().is_some_and(|session| self.ended.contains(session)) {
            return Err(format!("a session that has ended was good: {call:?}"));
        }
        if let (Outcome::LoggedIn { .. }, Some(session), Act::Verify { number, digits, .. }) =
            (&outcome, &session, &call.act)
        {
            let mail = self.mails.iter().rposition(|mail| mail.number == *number && mail.digits == *digits);
            let Some(mail) = mail else { return Err("a code that nobody was sent was good".to_owned()) };
            if self.opened.insert(mail, session.clone()).is_some_and(|before| before != *session) {
                return Err(format!("one code has opened two sessions: {call:?}"));
            }
            self.latest = Some(call.act.clone());
        }
        self.ended.extend(ended_by(call, &outcome).cloned());
        if let Outcome::LoggedIn { pair, device, .. } | Outcome::Refreshed { pair, device } = outcome {
            let Pair { access, refresh } = pair;
            let generation = (refresh.session.clone(), refresh.generation);
            if *self.given.entry(generation).or_insert_with(|| refresh.claims.clone()) != refresh.claims {
                return Err(format!("a generation has two refresh tokens: {call:?}"));
            }
            self.accesses.push(access);
            self.refreshes.push(refresh);
            self.people.devices.extend(device.zip(secret));
        }
        Ok(())
    }

    pub(super) fn crash(&mut self, node: usize, call: &Call) -> Checked {
        let doubtful: Vec<_> = self.models.iter().filter_map(|model| model.unnoted(call)).collect();
        self.models.extend(doubtful);
        self.restart(node, false)
    }

    /// Ends a server, as it should or wherever it is, and starts another run of it.
    pub(super) fn restart(&mut self, node: usize, is_orderly: bool) -> Checked {
        if is_orderly {
            self.land()?;
        } else if self.flight.as_ref().is_some_and(|flight| flight.node == node) {
            self.flight = None;
            self.models.iter_mut().for_each(|model| model.flight = None);
            self.place.sms.release();
        }
        self.trace.push(format!("node {node} {}", if is_orderly { "stops" } else { "crashes" }));
        let before = self.nodes.remove(node);
        if is_orderly {
            before.stop();
        } else {
            drop(before);
        }
        let started = self.start();
        let now = started.clock.now();
        self.nodes.insert(node, started);
        for model in &mut self.models {
            model.restart(node, now);
        }
        self.look()
    }
}

/// Takes out those that are the same.
pub(super) fn thin(models: &mut Vec<Model>) {
    let mut kept: Vec<Model> = Vec::new();
    for model in models.drain(..) {
        if !kept.contains(&model) {
            kept.push(model);
        }
    }
    assert!(kept.len() <= MODELS, "{} models explain the schedule", kept.len());
    *models = kept;
}

/// The session that is over with this answer.
pub(super) fn ended_by<'c>(call: &'c Call, outcome: &Outcome) -> Option<&'c SessionId> {
    match (&call.act, outcome) {
        (Act::LogOut { token: Token { session, .. } } | Act::EndSession { session, .. }, Outcome::Done)
        | (Act::Refresh { token: Token { session, .. } }, Outcome::Refused(AuthError::TokenReused)) => {
            Some(session)
        }
        (Act::LogOutEverywhere { access, .. }, Outcome::Done) => Some(&access.session),
        _ => None,
    }
}
