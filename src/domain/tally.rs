//! How often what statistics count has happened, by the parts of a span of time.

use crate::domain::Timestamp;
use crate::domain::audit::AuditEvent;

/// Into how many parts a span is cut.
pub const PARTS: usize = 12;

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first instant.
    pub since: Timestamp,
    /// Its end.
    pub until: Timestamp,
}

/// A count in the parts of a span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Course(pub [u64; PARTS]);

/// What the audit trail tells of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Of when.
    pub span: Span,
    /// Codes that were asked for.
    pub requests: Course,
    /// Right codes that were given.
    pub logins: Course,
    /// Wrong ones.
    pub failures: Course,
    /// Calls that a limit refused.
    pub refusals: Course,
}

impl Span {
    /// In milliseconds; at least one.
    pub fn length(&self) -> i64 {
        self.until.as_millis().saturating_sub(self.since.as_millis()).max(1)
    }

    /// Which part an instant lies in. What is later than the span lies in its last part, since a clock may have been put back.
    pub fn part(&self, at: Timestamp) -> Option<usize> {
        if at < self.since {
            return None;
        }
        let part =
            self.since.until(at).as_millis() * PARTS as u128 / u128::from(self.length().unsigned_abs());
        Some(usize::try_from(part).unwrap_or(PARTS).min(PARTS - 1))
    }
}

impl Course {
    /// Adds to a part.
    pub fn add(&mut self, part: usize, count: u64) {
        if let Some(counted) = self.0.get_mut(part) {
            *counted += count;
        }
    }

    /// All parts together.
    pub fn sum(&self) -> u64 {
        self.0.iter().sum()
    }

    fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(counted, more)| *counted += more);
    }
}

impl Tally {
    /// The events whose lines are counted.
    pub const EVENTS: [AuditEvent; 4] = [
        AuditEvent::CodeRequested,
        AuditEvent::LoginSuccess,
        AuditEvent::LoginFail,
        AuditEvent::LimitExceeded,
    ];

    /// Of a span, nothing counted so far.
    pub fn of(span: Span) -> Self {
        let none = Course::default();
        Self { span, requests: none, logins: none, failures: none, refusals: none }
    }

    /// Counts a line of the audit trail.
    pub fn note(&mut self, event: AuditEvent, at: Timestamp, detail: Option<&str>) {
        if let Some(part) = self.span.part(at) {
            self.note_lines(1, event, part, detail);
        }
    }

    /// Counts lines that are alike and lie in one part.
    pub fn note_lines(&mut self, lines: u64, event: AuditEvent, part: usize, detail: Option<&str>) {
        let course = match event {
            AuditEvent::CodeRequested => &mut self.requests,
            AuditEvent::LoginSuccess => &mut self.logins,
            AuditEvent::LoginFail => &mut self.failures,
            AuditEvent::LimitExceeded => &mut self.refusals,
            _ => return,
        };
        course.add(part, lines * event.times(detail));
    }

    /// Adds what other lines tell of the same span.
    pub fn merge(&mut self, other: &Self) {
        let Self { span: _, requests, logins, failures, refusals } = self;
        requests.merge(&other.requests);
        logins.merge(&other.logins);
        failures.merge(&other.failures);
        refusals.merge(&other.refusals);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(minutes: i64) -> Timestamp {
        Timestamp::from_millis(minutes * 60_000)
    }

    #[test]
    fn every_instant_of_a_span_has_its_part_and_no_other_has() {
        let span = Span { since: at(0), until: at(60) };
        assert_eq!(span.part(at(-1)), None);
        assert_eq!(span.part(at(0)), Some(0));
        assert_eq!(span.part(at(5)), Some(1));
        assert_eq!(span.part(at(60)), Some(11));
        assert_eq!(span.part(at(90)), Some(11), "a clock that stepped back");
        let instant = Span { since: at(0), until: at(0) };
        assert_eq!((instant.length(), instant.part(at(0)), instant.part(at(1))), (1, Some(0), Some(11)));
    }

    #[test]
    fn of_the_lines_those_that_are_counted_count_and_a_summary_of_refusals_all_but_the_first_of_them() {
        let mut tally = Tally::of(Span { since: at(0), until: at(60) });
        for event in AuditEvent::ALL {
            tally.note(*event, at(7), None);
        }
        tally.note(AuditEvent::LimitExceeded, at(8), Some("ip:request refused 17 times"));
        tally.note(AuditEvent::LimitExceeded, at(20), Some("ip:request"));
        tally.note(AuditEvent::LoginFail, at(-1), Some("wrong"));
        let sums = [tally.requests, tally.logins, tally.failures, tally.refusals].map(|course| course.sum());
        assert_eq!(sums, [1, 1, 1, 18]);
        assert_eq!((tally.refusals.0[1], tally.refusals.0[4]), (17, 1));
        let mut twice = tally;
        twice.merge(&tally);
        let sums = [twice.requests, twice.logins, twice.failures, twice.refusals].map(|course| course.sum());
        assert_eq!((twice.refusals.0[1], sums), (34, [2, 2, 2, 36]));
    }
}
