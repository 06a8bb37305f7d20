//! Doing what people do, and holding what comes of it against the models.

use std::ptr;
use std::thread;

use futures_util::future::join;

use super::super::super::*;
use super::super::acts::{Act, Call, Fate, Outcome};
use super::super::node::{Cut, Node};
use super::super::rules::{Expected, Model, Moment};
use super::noting::ended_by;
use super::{Checked, Flight, Mail, NUMBERS, World};
use crate::sms::TextKind;

impl World {
    pub(super) fn moment<'a>(&self, call: &'a Call, mail: Option<String>) -> Moment<'a> {
        let times = self.nodes[call.node].clock.read();
        Moment { call, times, mail, is_held: false, between: Vec::new() }
    }

    /// Does an act, and holds it against the models.
    pub(super) fn perform(&mut self, call: &Call, cut: Option<Cut>) -> Checked {
        let node = &self.nodes[call.node];
        if let Some(fate) = call.act.fate() {
            node.sms.script(outcome(fate));
        }
        if let Some(cut) = cut {
            node.cut(cut);
        }
        let done = node.run(self.people.act(node, call));
        if done.is_some() {
            node.run(self.quiet(node));
        }
        let is_up = node.mend();
        node.sms.unscript();
        let first = self.read_mails();
        self.tell(call, done.as_ref().map(|(outcome, _)| outcome), is_up);
        let mut after = Vec::new();
        for model in &self.models {
            let (mut moment, mut next) = (self.moment(call, first.clone()), model.clone());
            let expected = next.perform(&mut moment);
            match &done {
                Some((outcome, _)) => {
                    if next.takes(&expected, outcome, moment.now()) {
                        after.push(next);
                    }
                }
                None => after.extend(std::iter::once(model.clone()).chain(moment.between).chain([next])),
            }
        }
        if let Some((outcome, secret)) = done {
            self.keep(after, &[(call, &outcome)])?;
            self.note(call, outcome, secret)?;
        } else {
            self.models = after;
        }
        if is_up { Ok(()) } else { self.crash(call.node, call) }
    }

    /// Two acts at one moment: one of the two orders explains both.
    pub(super) fn perform_both(&mut self, [one, other]: [&Call; 2]) -> Checked {
        let people = &self.people;
        let (first, second) = if one.node == other.node {
            let node = &self.nodes[one.node];
            node.runtime().block_on(join(people.act(node, one), people.act(node, other)))
        } else {
            let run = |call: &Call| {
                let node = &self.nodes[call.node];
                node.runtime().block_on(people.act(node, call))
            };
            thread::scope(|scope| {
                let first = scope.spawn(|| run(one));
                let second = run(other);
                (first.join().unwrap(), second)
            })
        };
        for node in &self.nodes {
            node.runtime().block_on(self.quiet(node));
        }
        let answered = [(one, &first.0), (other, &second.0)];
        for (call, outcome) in answered {
            self.trace.push(format!("at once: {call:?}: {outcome:?}"));
        }
        let mut after = Vec::new();
        for model in &self.models {
            for order in [[0, 1], [1, 0]] {
                for has_begun in [None, Some(0), Some(1)] {
                    let mut next = model.clone();
                    if let Some(begun) = has_begun {
                        next.begin(&mut self.moment(answered[begun].0, None));
                    }
                    let is_so = order.iter().all(|place| {
                        let (call, outcome) = answered[*place];
                        let mut moment = self.moment(call, None);
                        let expected = next.perform(&mut moment);
                        let beside = next.refreshed_beside(&expected, model);
                        next.takes(&expected, outcome, moment.now())
                            || beside.is_some_and(|expected| next.takes(&expected, outcome, moment.now()))
                    });
                    if is_so {
                        after.push(next);
                    }
                }
            }
            let [first, second] = answered;
            after.extend(self.ended_in_refresh(model, first, second));
            after.extend(self.ended_in_refresh(model, second, first));
        }
        self.keep(after, &answered)?;
        let mut both = [(one, first), (other, second)];
        // Whatever shows a session to be good at the moment when it ends came before that.
        both.sort_by_key(|(call, (outcome, _))| ended_by(call, outcome).is_some());
        for (call, (outcome, secret)) in both {
            self.note(call, outcome, secret)?;
        }
        Ok(())
    }

    /// What is so where a session was refreshed and had ended by another act before it was given the device that it has not: that is a
    /// write of its own.
    fn ended_in_refresh(
        &self,
        model: &Model,
        (refresh, refreshed): (&Call, &Outcome),
        (end, ended): (&Call, &Outcome),
    ) -> Option<Model> {
        let mut moment = self.moment(refresh, None);
        let Expected::Refreshed { login, .. } = model.clone().perform(&mut moment) else { return None };
        if model.logins[login].device.is_some() {
            return None;
        }
        let mut next = moment.between.pop()?;
        let given = Expected::Refreshed { login, device: None };
        let is_refreshed = next.takes(&given, refreshed, moment.now());
        let mut moment = self.moment(end, None);
        let expected = next.perform(&mut moment);
        let is_so = is_refreshed && next.takes(&expected, ended, moment.now());
        (is_so && next.logins[login].ended.is_some()).then_some(next)
    }

    /// Has a code be asked for whose message the sender holds back.
    pub(super) fn hold(&mut self, call: &Call) -> Checked {
        let Act::Request { number, device, fate } = &call.act else { return Ok(()) };
        let node = &self.nodes[call.node];
        node.sms.script(outcome(*fate));
        node.sms.hold();
        let before = node.sms.messages().len();
        let (auth, request) = (node.auth.clone(), self.people.code_request(*number, device.as_ref(), call));
        let caller = node.runtime().spawn(async move { auth.request(request).await });
        let is_held = node.runtime().block_on(async {
            while node.sms.messages().len() == before && !caller.is_finished() {
                tokio::task::yield_now().await;
            }
            node.sms.messages().len() > before
        });
        let first = self.read_mails();
        if !is_held {
            let answer = self.nodes[call.node].runtime().block_on(caller).unwrap();
            self.nodes[call.node].sms.release();
            self.nodes[call.node].sms.unscript();
            let outcome = sent(answer);
            self.tell(call, Some(&outcome), true);
            let mut after = Vec::new();
            for model in &self.models {
                let (mut moment, mut next) = (self.moment(call, None), model.clone());
                let expected = next.perform(&mut moment);
                if next.takes(&expected, &outcome, moment.now()) {
                    after.push(next);
                }
            }
            return self.keep(after, &[(call, &outcome)]);
        }
        self.trace.push(format!("held back: {call:?}"));
        let mut after = Vec::new();
        for model in &self.models {
            let mut moment = Moment { is_held: true, ..self.moment(call, first.clone()) };
            let mut next = model.clone();
            next.perform(&mut moment);
            if next.flight.is_some() {
                after.push(next);
            }
        }
        let fate = *fate;
        self.flight = Some(Flight { node: call.node, fate, steps: 0, call: call.clone(), caller });
        self.keep(after, &[])
    }

    /// The message that is held back comes to its end.
    pub(super) fn land(&mut self) -> Checked {
        let Some(Flight { node, fate, call, caller, .. }) = self.flight.take() else { return Ok(()) };
        let server = &self.nodes[node];
        server.sms.release();
        let outcome = sent(server.runtime().block_on(caller).unwrap());
        self.trace.push(format!("and its end: {outcome:?}"));
        let mut after = Vec::new();
        for model in &self.models {
            let (moment, mut next) = (self.moment(&call, None), model.clone());
            let expected = next.land(fate, &moment);
            if next.takes(&expected, &outcome, moment.now()) {
                after.push(next);
            }
        }
        self.keep(after, &[(&call, &outcome)])
    }

    /// Waits until a server does nothing any more that nobody waits for.
    async fn quiet(&self, node: &Node) {
        let held = usize::from(
            self.flight.as_ref().is_some_and(|flight| ptr::eq(&raw const self.nodes[flight.node], node)),
        );
        while node.auth.tasks.len() > held {
            tokio::task::yield_now().await;
        }
    }

    /// Reads the messages that have come; gives what the first of them says.
    fn read_mails(&mut self) -> Option<String> {
        let come = self.place.sms.messages().split_off(self.read);
        self.read += come.len();
        let mut first = None;
        for sms in come {
            let number = (0..NUMBERS).find(|number| self.people.phone(*number) == sms.to).unwrap();
            let digits = sms.code.digits().to_owned();
            first.get_or_insert_with(|| digits.clone());
            self.mails.push(Mail { number, digits, is_notice: sms.kind == TextKind::PhoneChange });
        }
        first
    }
}

fn outcome(fate: Fate) -> Option<SendOutcome> {
    match fate {
        Fate::Accepted => None,
        Fate::Refused => Some(refused(FailureReason::Delivery)),
        Fate::Lost => Some(lost()),
    }
}

fn sent(answer: WithQuotas<Sent>) -> Outcome {
    answer.result.map_or_else(Outcome::Refused, |sent| Outcome::Sent { is_new: sent.is_new_user })
}
