//! What is written of a message that has ended, once and about the right code.

use futures_util::FutureExt as _;

use super::console::{want, want_on_hold};
use super::maintenance::events;
use super::reports::tell_of;
use super::*;
use crate::auth::settle::{Outcome, note_outcome};
use crate::domain::audit::Actor;
use crate::domain::message::{DeliveryReport, MessageState};
use crate::domain::{ChallengeState, EventNumber, MessageId};
use crate::sms::route::{Always, Routed};
use crate::sms::{Accepted, Unavailable};
use crate::telemetry::caught::Log;

#[tokio::test]
async fn what_could_not_be_written_is_written_for_its_own_number_and_mode_alone() {
    let bed = Bed::open().await;
    bed.faults.plan(1, 1);
    bed.request(1).await.result.unwrap();
    bed.faults.plan(0, 1);
    for (mode, number) in [(Mode::Production, 2), (Mode::Testing, 1)] {
        assert_eq!(bed.auth.settle_late(mode, &phone(number)).await, []);
        assert!(!bed.faults.are_over(), "nothing was written");
    }
    let challenge = bed.message().await.challenge;
    assert_eq!(bed.auth.settle_late(Mode::Production, &phone(1)).await, [challenge]);
    assert!(bed.faults.are_over());
}

#[tokio::test]
async fn what_two_find_unwritten_is_written_and_counted_once() {
    let bed = Bed::open().await;
    bed.faults.plan(1, 1);
    bed.request(1).await.result.unwrap();
    let number = phone(1);
    let late = || bed.auth.settle_late(Mode::Production, &number);
    assert_eq!(futures_util::future::join(late(), late()).await, (vec![], vec![]));
    assert_eq!(bed.told(AuditEvent::SmsSent).await.len(), 1);
    assert_eq!(bed.counted("sms_deliveries_total{state=\"queued\"}"), [" 1"]);
}

#[tokio::test]
async fn two_messages_with_one_name_are_told_of_and_the_later_is_written_at_once_without_it() {
    let (log, _logging) = Log::catch();
    let bed = Bed::open().await;
    let sid = format!("SM{}", "1".repeat(32));
    let accepted = Accepted { sid: Some(sid.clone()), state: MessageState::Queued, segments: None };
    bed.sms.script([SendOutcome::Accepted(accepted.clone()), SendOutcome::Accepted(accepted)]);
    for (number, named, warnings) in [(1, Some(sid), 0), (2, None, 1)] {
        bed.request(number).await.result.unwrap();
        let message = bed.message().await;
        assert_eq!((message.sid, message.state), (named, MessageState::Queued));
        assert_eq!(log.count("one SID"), warnings);
        let left = bed.auth.settle_late(Mode::Production, &phone(number)).await;
        assert_eq!(left, [], "nothing is left to write");
        bed.verify(number, &bed.code()).await.result.unwrap();
    }
}

#[tokio::test]
async fn a_message_is_told_of_whose_name_is_anothers_and_not_one_that_a_report_has_named_already() {
    let bed = Bed::open().await;
    for number in [1, 2] {
        bed.request(number).await.result.unwrap();
    }
    let sid = bed.read(|view| view.message(MessageId(1))).await.unwrap().sid;
    for (number, warnings) in [(1, 0), (2, 1)] {
        let accepted = Accepted { sid: sid.clone(), state: MessageState::Queued, segments: None };
        let routed =
            Routed { outcome: SendOutcome::Accepted(accepted), via: Via::new("memory", Channel::Sms) };
        let (locks, actor) = (Locks::none().phone(&phone(number)), Actor::system(bed.clock.now()));
        let noted = bed.auth.write(locks, actor, move |tx| {
            // It is logged where it is written.
            let (log, _logging) = Log::catch();
            note_outcome(tx, MessageId(number.into()), routed.clone())?;
            Ok(log.count("one SID"))
        });
        assert_eq!(noted.await.unwrap(), warnings);
    }
}

#[tokio::test]
async fn only_a_message_that_was_accepted_has_a_name_to_be_left_out() {
    let forgets =
        |outcome| Outcome::Sent(Routed { outcome, via: Via::new("memory", Channel::Sms) }).forget_sid();
    let accepted = |sid: Option<&str>| {
        let sid = sid.map(str::to_owned);
        SendOutcome::Accepted(Accepted { sid, state: MessageState::Queued, segments: None })
    };
    assert!(forgets(accepted(Some("SM1"))));
    for outcome in [accepted(None), lost(), refused(FailureReason::Delivery)] {
        assert!(!forgets(outcome));
    }
}

#[tokio::test]
async fn a_code_that_was_not_sent_takes_no_place_among_those_that_are_live() {
    let bed = Bed::with(|policy| (policy.limits.ip, policy.otp.live_codes) = (0, 2)).await;
    bed.request(1).await.result.unwrap();
    let first = bed.code();
    bed.sms.script([refused(FailureReason::Delivery)]);
    bed.request(1).await.result.unwrap_err();
    bed.request(1).await.result.unwrap();
    bed.verify(1, &first).await.result.unwrap();
}

#[tokio::test]
async fn what_is_reported_of_the_notice_of_a_change_says_nothing_of_its_code() {
    let bed = Bed::open().await;
    let login = bed.log_in(1).await;
    let bearer = bed.bearer(&login).await;
    bed.sms.script([lost()]);
    let (asked, proven) = want_on_hold(&bed, bearer).await;
    let report = DeliveryReport {
        sender: None,
        sid: None,
        message: Some(MessageId(3)),
        state: MessageState::Delivered,
        error_code: None,
    };
    bed.auth.report(report, "r".to_owned()).await.unwrap();
    bed.sms.release();
    asked.await.unwrap().unwrap_err();
    proven.await.unwrap().unwrap();
    assert_eq!(bed.told(AuditEvent::SmsFailed).await.len(), 1, "of the code nothing was reported");
}

#[tokio::test]
async fn a_code_and_the_notice_of_its_change_are_lost_each_for_itself() {
    let bed = Bed::open().await;
    let login = bed.log_in(1).await;
    want(&bed, &login, 2).await;
    for (message, lost) in [(2, 1), (3, 2)] {
        tell_of(&bed, message, MessageState::Undelivered).await;
        let told = bed.read(|view| view.events_before(EventNumber(i64::MAX), None, 100)).await;
        let told = told.iter().filter(|(_, event)| event.kind.as_str() == "sms.undelivered");
        assert_eq!(told.count(), lost);
    }
    let of_user = events(&bed, login.user.id).await.0;
    assert_eq!(of_user.first(), Some(&"sms.undelivered"), "the notice went to the user's number");
}

#[tokio::test]
async fn a_report_that_comes_before_the_answer_settles_nothing() {
    let bed = Bed::open().await;
    bed.sms.hold();
    let auth = bed.auth.clone();
    let flow = tokio::spawn(async move { auth.request(code_request(1)).await.result });
    bed.sms.arrived(1).await;
    let report = DeliveryReport {
        sender: None,
        sid: Some("SM1".to_owned()),
        message: Some(MessageId(1)),
        state: MessageState::Sent,
        error_code: None,
    };
    bed.auth.report(report, "r".to_owned()).await.unwrap();
    let challenge = bed.message().await.challenge;
    let challenge = bed.read(move |view| view.challenge(challenge)).await.unwrap();
    assert_eq!((challenge.state, challenge.settled), (ChallengeState::Sending, None));
    bed.sms.release();
    flow.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_report_that_comes_twice_at_once_is_counted_once() {
    let bed = Bed::open().await;
    bed.request(1).await.result.unwrap();
    let message = bed.message().await;
    let report = DeliveryReport {
        sender: None,
        sid: message.sid,
        message: None,
        state: MessageState::Delivered,
        error_code: None,
    };
    bed.faults.keep(0);
    let (auth, same) = (bed.auth.clone(), report.clone());
    let first = tokio::spawn(async move { auth.report(same, "r".to_owned()).await });
    while !bed.faults.has_delayed() {
        tokio::task::yield_now().await;
    }
    bed.auth.report(report, "r".to_owned()).await.unwrap();
    bed.faults.free();
    bed.store.write(Locks::none(), |_| Ok(())).await.unwrap();
    first.await.unwrap().unwrap();
    assert_eq!(bed.counted("sms_deliveries_total{state=\"delivered\"}"), [" 1"]);
}

#[tokio::test]
async fn where_nothing_is_sent_the_answer_takes_as_long_as_if_it_were() {
    let bed = Bed::open().await;
    let to = phone(1);
    let send = bed.auth.send(Err(Unavailable::NoSender), None, &to, &Always);
    assert!(send.now_or_never().is_none());
}
