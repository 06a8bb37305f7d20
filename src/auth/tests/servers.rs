//! Two servers of one database, and settlements that could not be written: who waits for whose message.

use super::*;
use crate::auth::AuthError;
use crate::domain::message::MessageState;

/// Another server beside that of the bed, with a clock and a sender of its own.
pub(super) struct Neighbour {
    pub(super) auth: Arc<Auth>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) sms: MemorySender,
}

impl Neighbour {
    fn of(bed: &Bed) -> Self {
        Self::with(bed, |_| {})
    }

    pub(super) fn with(bed: &Bed, change: impl FnOnce(&mut Policy)) -> Self {
        let (clock, sms) = (Arc::new(ManualClock::new()), MemorySender::new());
        let mut policy = policy();
        policy.limits.ip = 0;
        change(&mut policy);
        let (auth, _) = build(&bed.store, &clock, &sms, (2, RunId::new([2; 8])), policy);
        Self { auth, clock, sms }
    }

    async fn request(&self, number: u32) -> Result<Sent, AuthError> {
        self.auth.request(code_request(number)).await.result
    }
}

/// Waits until whatever has been spawned is done with its write.
async fn written(bed: &Bed) {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    bed.store.write(Locks::none(), |_| Ok(())).await.unwrap();
}

#[tokio::test]
async fn whoever_asks_while_another_server_sends_gets_the_answer_of_that_message() {
    for outcome in [None, Some(refused(FailureReason::InvalidNumber)), Some(lost())] {
        let bed = Bed::open().await;
        let other = Neighbour::of(&bed);
        bed.sms.hold();
        let is_sent = outcome.is_none();
        bed.sms.script(outcome);
        let auth = bed.auth.clone();
        let first = tokio::spawn(async move { auth.request(code_request(1)).await.result });
        bed.sms.arrived(1).await;
        let auth = other.auth.clone();
        let second = tokio::spawn(async move { auth.request(code_request(1)).await.result });
        written(&bed).await;
        bed.sms.release();
        let (first, second) = (first.await.unwrap(), second.await.unwrap());
        assert_eq!(first, second);
        assert_eq!((first.is_ok(), bed.sms.messages().len()), (is_sent, 1));
        assert_eq!(other.sms.messages().len(), 0);
    }
}

#[tokio::test]
async fn a_message_of_which_another_server_says_nothing_in_time_is_waited_for_no_longer() {
    let bed = Bed::open().await;
    let other = Neighbour::of(&bed);
    bed.sms.hold();
    let auth = bed.auth.clone();
    let first = tokio::spawn(async move { auth.request(code_request(1)).await.result });
    bed.sms.arrived(1).await;
    other.clock.advance(10 * SECOND);
    other.request(1).await.unwrap();
    assert_eq!(other.sms.messages().len(), 1);
    bed.sms.release();
    first.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_code_from_a_clock_that_was_ahead_begins_no_pause_that_is_longer_than_two() {
    for (pause, ahead, wait) in
        [(0, 3600, None), (30, 3600, None), (30, 31, None), (30, 30, Some(60)), (30, 20, Some(50))]
    {
        let bed = Bed::with(|policy| policy.otp.resend_cooldown = pause * SECOND).await;
        let ended = Neighbour::of(&bed);
        ended.clock.advance(ahead * SECOND);
        ended.request(1).await.unwrap();
        let answer = bed.request(1).await.result;
        match wait {
            None => assert!(answer.is_ok(), "{pause} {ahead} {answer:?}"),
            Some(wait) => assert_eq!(answer, Err(AuthError::RateLimited(wait * SECOND)), "{pause} {ahead}"),
        }
    }
}

#[tokio::test]
async fn what_an_ended_server_wrote_by_a_clock_that_was_ahead_keeps_nobody_from_a_code() {
    let bed = Bed::open().await;
    let ended = Neighbour::of(&bed);
    ended.clock.advance(HOUR);
    ended.sms.script([refused(FailureReason::Delivery)]);
    ended.request(1).await.unwrap_err();
    bed.request(1).await.result.unwrap();
    assert_eq!((ended.sms.messages().len(), bed.sms.messages().len()), (1, 1));
}

#[tokio::test]
async fn a_message_whose_fate_could_not_be_written_keeps_nobody_waiting() {
    let bed = Bed::open().await;
    bed.faults.plan(1, 2);
    bed.request(1).await.result.unwrap();
    // The write of the first one's fate fails once more.
    bed.request(1).await.result.unwrap();
    assert!(bed.faults.are_over());
    assert_eq!(bed.sms.messages().len(), 2);
}

#[tokio::test]
async fn what_became_of_a_message_is_written_before_a_code_is_judged() {
    let bed = Bed::open().await;
    bed.request(1).await.result.unwrap();
    let older = bed.code();
    bed.faults.plan(1, 1);
    bed.request(1).await.result.unwrap();
    assert!(bed.faults.are_over());
    assert_eq!(bed.verify(1, &older).await.result.unwrap_err(), AuthError::InvalidOtp);
    assert_eq!(bed.told(AuditEvent::LoginFail).await, ["superseded"]);
    bed.verify(1, &bed.code()).await.result.unwrap();
}

#[tokio::test]
async fn whoever_asked_while_a_message_was_under_way_follows_it_though_it_is_settled_by_then() {
    let bed = Bed::open().await;
    bed.sms.hold();
    let auth = bed.auth.clone();
    let first = tokio::spawn(async move { auth.request(code_request(1)).await.result });
    bed.sms.arrived(1).await;
    bed.faults.delay();
    let auth = bed.auth.clone();
    let second = tokio::spawn(async move { auth.request(code_request(1)).await.result });
    while !bed.faults.has_delayed() {
        tokio::task::yield_now().await;
    }
    bed.sms.release();
    assert_eq!(first.await.unwrap(), second.await.unwrap());
    assert_eq!(bed.sms.messages().len(), 1);
}

#[tokio::test]
async fn what_a_server_had_under_way_that_is_gone_is_settled_as_unknown_under_its_number() {
    let bed = Bed::open().await;
    let gone = Neighbour::of(&bed);
    gone.sms.hold();
    let auth = gone.auth.clone();
    let flow = tokio::spawn(async move { auth.request(code_request(1)).await.result });
    gone.sms.arrived(1).await;
    bed.clock.advance(HOUR);
    bed.auth.maintain().await.unwrap();
    let known = bed.message().await;
    assert_eq!((known.state, known.updated_at), (MessageState::Unknown, bed.clock.now()));
    let lines = bed.read(|view| view.audit_after(&AuditOf::Everybody, 0, 1000)).await;
    let line = lines.into_iter().find(|line| line.event == AuditEvent::SmsFailed).unwrap();
    let expected = (Some("production"), Some("+15*****0001"));
    assert_eq!((line.mode.as_deref(), line.phone.as_deref()), expected);
    flow.abort();
}

#[tokio::test]
async fn what_a_server_settles_while_another_thinks_it_gone_is_settled_once() {
    let bed = Bed::open().await;
    let slow = Neighbour::of(&bed);
    slow.sms.hold();
    let auth = slow.auth.clone();
    let flow = tokio::spawn(async move { auth.request(code_request(1)).await.result });
    slow.sms.arrived(1).await;
    bed.clock.advance(HOUR);
    // The round has read what is not settled, and writes after it was.
    bed.faults.delay();
    let auth = bed.auth.clone();
    let round = tokio::spawn(async move { auth.maintain().await });
    while !bed.faults.has_delayed() {
        tokio::task::yield_now().await;
    }
    slow.sms.release();
    flow.await.unwrap().unwrap();
    round.await.unwrap().unwrap();
    let lines = [bed.told(AuditEvent::SmsFailed).await.len(), bed.told(AuditEvent::SmsSent).await.len()];
    assert_eq!(lines, [0, 1]);
    assert_eq!(bed.message().await.state, MessageState::Queued);
}

#[tokio::test]
async fn whoever_follows_another_server_waits_no_longer_than_it_has_patience() {
    let bed = Bed::open().await;
    bed.sms.hold();
    let auth = bed.auth.clone();
    let flow = tokio::spawn(async move { auth.request(code_request(1)).await.result });
    bed.sms.arrived(1).await;
    let id = bed.message().await.challenge;
    let sent = Sent { is_new_user: true, expires_in: HOUR, delivery: None };
    let following = bed.auth.follow_elsewhere(id, sent, Duration::ZERO);
    let followed = tokio::time::timeout(Duration::from_mins(1), following).await.unwrap();
    assert_eq!(followed, Err(AuthError::undelivered(None, None)));
    bed.sms.release();
    flow.await.unwrap().unwrap();
}
