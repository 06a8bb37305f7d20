use proptest::prelude::*;

use super::*;

const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const YEAR: Duration = Duration::from_hours(365 * 24);

/// A machine whose wall clock is wrong by `error`, and the program on it.
struct Machine {
    truth: Timestamp,
    /// The wall clock against the truth, in milliseconds.
    error: i64,
    monotonic: Duration,
    guard: LeapGuard,
    /// What the start and the readings since told.
    events: Vec<ClockEvent>,
    /// How long the program ran, over all its runs.
    ran: Duration,
}

impl Machine {
    fn new() -> Self {
        Self::starting(START, 0, None)
    }

    fn starting(truth: Timestamp, error: i64, stored: Option<StoredClock>) -> Self {
        let monotonic = Duration::from_secs(1000);
        let wall = Timestamp::from_millis(truth.as_millis() + error);
        let (guard, event) = LeapGuard::start(Reading { monotonic, wall }, stored);
        Self { truth, error, monotonic, guard, events: Vec::from_iter(event), ran: Duration::ZERO }
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_millis(self.truth.as_millis() + self.error)
    }

    fn pass(&mut self, time: Duration) {
        self.truth = self.truth + time;
        self.monotonic += time;
        self.ran += time;
    }

    fn read(&mut self) -> Times {
        let (times, event) = self.guard.read(Reading { monotonic: self.monotonic, wall: self.wall() });
        self.events.extend(event);
        times
    }

    /// Time passes, and the clock is read as often as a server does.
    fn run(&mut self, time: Duration) -> Times {
        for _ in 0..time.as_secs() / 30 {
            self.pass(30 * SECOND);
            self.read();
        }
        self.read()
    }

    /// Stops, is off for so long, and starts with a wall clock that is wrong by `error`.
    fn restart(&mut self, off: Duration, error: i64, stored: StoredClock) {
        let next = Self::starting(self.truth + off, error, Some(stored));
        *self = Self { ran: self.ran, ..next };
    }
}

fn signed(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap()
}

#[test]
fn s39_a_leap_of_32_days_for_a_second_moves_neither_now_nor_the_retention() {
    let mut machine = Machine::new();
    machine.run(HOUR);
    machine.error = signed(32 * DAY);
    machine.pass(SECOND);
    let wrong = machine.read();
    assert_eq!(wrong.wall, machine.truth + 32 * DAY);
    assert_eq!((wrong.now, wrong.retention), (machine.truth, machine.truth));
    assert_eq!(wrong.doubt, Some(CONFIRMED_AFTER));
    machine.error = 0;
    machine.pass(SECOND);
    let truth = machine.truth;
    assert_eq!(machine.read(), Times { now: truth, wall: truth, retention: truth, doubt: None });
    assert_eq!(machine.events, [ClockEvent::Ahead(32 * DAY), ClockEvent::Returned]);
}

#[test]
fn s39_a_second_leap_while_the_first_is_in_doubt_is_another_leap() {
    let mut machine = Machine::new();
    machine.run(HOUR);
    for days in [32, 64] {
        machine.error = signed(days * DAY);
        let times = machine.read();
        assert_eq!((times.now, times.doubt), (machine.truth, Some(CONFIRMED_AFTER)), "{days}");
    }
    assert_eq!(machine.events, [ClockEvent::Ahead(32 * DAY), ClockEvent::Ahead(32 * DAY)]);
}

#[test]
fn s39_a_start_two_years_ahead_for_a_second_and_a_half_moves_nothing() {
    for off in [Duration::ZERO, 20 * MINUTE] {
        let mut machine = Machine::new();
        machine.run(HOUR);
        let (stored, stopped) = (machine.guard.stored(), machine.truth);
        machine.restart(off, signed(2 * YEAR), stored);
        let wrong = machine.read();
        assert_eq!((wrong.now, wrong.retention), (stopped, stopped));
        assert!(wrong.doubt.is_some());
        machine.pass(Duration::from_millis(1500));
        machine.error = 0;
        let right = machine.read();
        assert_eq!((right.now, right.wall, right.doubt), (machine.truth, machine.truth, None));
        assert_eq!(right.retention, stopped + Duration::from_millis(1500), "it waits to be sure");
        assert_eq!(machine.events, [ClockEvent::AheadAtStart(2 * YEAR + off), ClockEvent::Returned]);
    }
}

#[test]
fn s39_after_a_step_back_now_goes_on_and_the_wall_is_told_as_it_is() {
    for step in [5 * SECOND, HOUR] {
        let mut machine = Machine::new();
        machine.run(HOUR);
        machine.error = -signed(step);
        let times = machine.read();
        assert_eq!((times.now, times.wall), (machine.truth, machine.truth - step));
        let later = machine.run(HOUR);
        assert_eq!((later.now, later.wall, later.doubt), (machine.truth, machine.truth - step, None));
        assert_eq!(later.retention, later.wall, "nothing is deleted before the wall clock says so");
        assert_eq!(machine.events, [ClockEvent::Back(step), ClockEvent::Confirmed]);
    }
}

#[test]
fn a_correction_within_the_tolerance_is_no_leap() {
    for error in [-2000, 2000] {
        let mut machine = Machine::new();
        machine.error = error;
        assert_eq!(machine.read().doubt, None);
        assert_eq!(machine.events, []);
        machine.error = 2 * error + error.signum();
        machine.read();
        assert_eq!(machine.events.len(), 1);
    }
}

#[test]
fn a_leap_that_lasts_is_believed_after_ten_minutes_and_followed_an_hour_at_a_time() {
    let mut machine = Machine::new();
    machine.error = signed(7 * HOUR);
    machine.read();
    let before = machine.run(19 * 30 * SECOND);
    assert_eq!((before.now, before.doubt), (machine.truth, Some(30 * SECOND)));
    let after = machine.run(30 * SECOND);
    assert_eq!((after.now, after.doubt), (machine.wall(), None));
    assert_eq!(after.retention, machine.truth + HOUR);
    machine.run(50 * MINUTE);
    assert_eq!(machine.read().retention, machine.truth + 6 * HOUR);
    machine.run(10 * MINUTE);
    assert_eq!(machine.read().retention, machine.wall());
}

#[test]
fn an_ordinary_restart_is_no_leap_and_a_long_one_is_in_doubt_without_harm() {
    for (off, in_doubt) in [(SECOND, false), (HOUR, false), (3 * HOUR, true), (30 * DAY, true)] {
        let mut machine = Machine::new();
        machine.run(HOUR);
        let stored = machine.guard.stored();
        machine.restart(off, 0, stored);
        let times = machine.read();
        assert_eq!(times.doubt.is_some(), in_doubt, "{off:?}");
        assert!(times.now == machine.truth || off > DAY);
        let later = machine.run(10 * MINUTE);
        assert_eq!((later.now, later.doubt), (machine.truth, None), "{off:?}");
        // The time that it was off is made up for, at an hour for each ten minutes.
        let hours = u32::try_from(off.as_secs() / 3600).unwrap();
        assert_eq!(machine.run(10 * MINUTE * hours).retention, machine.truth, "{off:?}");
    }
}

#[test]
fn s2_a_start_on_a_clock_that_was_set_back_goes_by_that_clock() {
    let mut machine = Machine::new();
    machine.run(HOUR);
    let stored = machine.guard.stored();
    machine.restart(SECOND, -signed(5 * MINUTE), stored);
    let times = machine.read();
    assert_eq!((times.now, times.wall), (machine.wall(), machine.wall()));
    assert_eq!(machine.events, [ClockEvent::BackAtStart(299 * SECOND)]);
    // A machine that has the right time only after a while.
    machine.error = 0;
    assert_eq!((machine.read().now, machine.read().doubt), (machine.truth, None));
}

#[derive(Clone, Debug)]
enum Step {
    Pass(Duration),
    Wrong(i64),
    Read,
    Store,
    Restart { off: Duration, error: i64 },
    Crash { off: Duration, error: i64 },
}

fn durations() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0u64..5000).prop_map(Duration::from_millis),
        (0u64..1200).prop_map(Duration::from_secs),
        (0u32..60).prop_map(|hours| hours * HOUR),
    ]
}

fn errors() -> impl Strategy<Value = i64> {
    let far = signed(3 * YEAR);
    prop_oneof![Just(0), -3000i64..3000, -signed(2 * HOUR)..signed(2 * HOUR), -far..far]
}

fn schedules() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => durations().prop_map(Step::Pass),
        2 => errors().prop_map(Step::Wrong),
        3 => Just(Step::Read),
        1 => Just(Step::Store),
        1 => (durations(), errors()).prop_map(|(off, error)| Step::Restart { off, error }),
        1 => (durations(), errors()).prop_map(|(off, error)| Step::Crash { off, error }),
    ];
    prop::collection::vec(step, 1..80)
}

/// A wall clock that is wrong for less than ten minutes at a time (three times the first duration), and then right.
fn passing_leaps() -> impl Strategy<Value = Vec<(i64, Duration, Duration)>> {
    let error = prop_oneof![-signed(3 * YEAR)..-4001, 4001..signed(3 * YEAR)];
    let wrong = (0u64..199_000).prop_map(Duration::from_millis);
    prop::collection::vec((error, wrong, durations()), 1..20)
}

proptest! {
    #[test]
    fn s39_passing_leaps_leave_no_trace(leaps in passing_leaps()) {
        let mut machine = Machine::new();
        for (error, wrong, right) in leaps {
            machine.pass(right);
            let times = machine.read();
            prop_assert_eq!((times.now, times.wall, times.doubt), (machine.truth, machine.truth, None));
            prop_assert!(times.retention <= machine.truth);
            machine.error = error;
            for _ in 0..3 {
                let times = machine.read();
                prop_assert_eq!(times.now, machine.truth);
                prop_assert_eq!(times.wall, machine.wall());
                prop_assert!(times.retention <= machine.truth);
                prop_assert!(times.doubt.is_some());
                machine.pass(wrong);
            }
            machine.error = 0;
        }
    }

    #[test]
    fn s39_whatever_happens_the_retention_is_not_rushed_and_now_never_goes_back(steps in schedules()) {
        let mut machine = Machine::new();
        let mut stored = machine.guard.stored();
        let begun = stored.retention;
        let mut last = machine.read();
        let mut passed = Duration::ZERO;
        for step in steps {
            match step {
                Step::Pass(time) => {
                    machine.pass(time);
                    passed += time;
                }
                Step::Wrong(error) => machine.error = error,
                Step::Read => {
                    let times = machine.read();
                    prop_assert!(times.now >= last.now + passed);
                    let catch_ups = u32::try_from(machine.ran.as_secs() / 600).unwrap();
                    prop_assert!(times.retention <= begun + machine.ran + catch_ups * HOUR);
                    (last, passed) = (times, Duration::ZERO);
                }
                Step::Store => stored = machine.guard.stored(),
                Step::Restart { off, error } => {
                    machine.read();
                    stored = machine.guard.stored();
                    machine.restart(off, error, stored);
                    (last, passed) = (machine.read(), Duration::ZERO);
                }
                Step::Crash { off, error } => {
                    machine.restart(off, error, stored);
                    (last, passed) = (machine.read(), Duration::ZERO);
                }
            }
        }
        // However wrong it was: once the clock goes right, all is right.
        machine.error = 0;
        machine.read();
        let behind = machine.read().retention.until(machine.truth);
        let rounds = behind.as_secs() / 3600 + 2;
        for _ in 0..rounds {
            machine.pass(CONFIRMED_AFTER);
            machine.read();
        }
        let times = machine.read();
        prop_assert_eq!((times.wall, times.retention, times.doubt), (machine.truth, machine.truth, None));
        prop_assert!(times.now >= machine.truth);
    }

    /// However often the program is restarted, and however short its runs: what is due is deleted at last.
    #[test]
    fn s39_restarts_do_not_stop_the_retention(
        runs in prop::collection::vec((0u64..600, durations()), 1..60),
    ) {
        let mut machine = Machine::new();
        for (seconds, off) in runs {
            machine.pass(Duration::from_secs(seconds));
            let times = machine.read();
            prop_assert!(times.retention >= START + machine.ran);
            prop_assert!(times.retention <= machine.truth);
            let stored = machine.guard.stored();
            machine.restart(off, 0, stored);
        }
    }
}
