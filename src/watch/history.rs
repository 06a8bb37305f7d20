//! Readings of the last day: each minute of the last hour, and a quarter of an hour apart before that.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::reading::{Reading, Wanted};
use crate::domain::Timestamp;

/// How often a reading is taken.
pub const EVERY: Duration = Duration::from_mins(1);

const HOUR: Duration = Duration::from_hours(1);

/// How far readings lie apart that are older than an hour.
const QUARTER: Duration = Duration::from_mins(15);

const DAY: Duration = Duration::from_hours(24);

/// Readings in the order in which they were taken.
#[derive(Clone, Debug, Default)]
pub struct History(VecDeque<(Timestamp, Arc<Reading>)>);

impl History {
    /// Adds a reading, and lets go of those that nothing asks for any more.
    pub fn add(&mut self, at: Timestamp, reading: Reading) {
        let reading = match self.0.back() {
            Some((_, latest)) => reading.sharing_names(latest),
            None => reading,
        };
        self.0.push_back((at, Arc::new(reading)));
        let (mut thinned, mut kept) = (VecDeque::with_capacity(self.0.len()), None);
        for (then, reading) in self.0.drain(..) {
            let age = then.until(at);
            let is_due = kept.is_none_or(|kept: Timestamp| kept.until(then) >= QUARTER);
            if age <= HOUR || (age <= DAY + QUARTER && is_due) {
                kept = Some(then);
                thinned.push_back((then, reading));
            }
        }
        self.0 = thinned;
    }

    /// The latest reading.
    pub fn latest(&self) -> Option<&Reading> {
        self.0.back().map(|(_, reading)| &**reading)
    }

    /// By how much the series of a counter whose labels are as wanted have grown within `window` before the latest reading. What
    /// was counted before the first reading of a server's run counts: then it began at zero.
    pub fn increase(&self, name: &str, wanted: &[Wanted<'_>], window: Duration) -> f64 {
        let Some((now, latest)) = self.0.back() else { return 0.0 };
        let before = self.0.iter().rev().find(|(then, _)| then.until(*now) >= window);
        let before = before.and_then(|(_, reading)| reading.sum(name, wanted)).unwrap_or(0.0);
        latest.sum(name, wanted).unwrap_or(0.0) - before
    }

    /// The value that `share` of the observations of a histogram within `window` stay below, in its unit; none without
    /// observations. As Prometheus estimates it: within a bucket they lie evenly.
    pub fn quantile(&self, name: &str, wanted: &[Wanted<'_>], share: f64, window: Duration) -> Option<f64> {
        let buckets = format!("{name}_bucket");
        let mut bounds: Vec<_> = self
            .latest()?
            .of(&buckets)
            .filter(|(series, _)| series.is(wanted))
            .filter_map(|(series, _)| {
                Some((series.label("le").parse::<f64>().ok()?, series.label("le").to_owned()))
            })
            .collect();
        bounds.sort_by(|one, other| one.0.total_cmp(&other.0));
        bounds.dedup_by(|one, other| one.1 == other.1);
        let counts: Vec<_> = bounds
            .into_iter()
            .map(|(bound, text)| {
                let le: [&str; 1] = [&text];
                let wanted: Vec<Wanted<'_>> = wanted.iter().copied().chain([("le", &le[..])]).collect();
                (bound, self.increase(&buckets, &wanted, window))
            })
            .collect();
        let all = counts.last().map(|(_, count)| *count).filter(|count| *count > 0.0)?;
        let rank = share * all;
        let (mut floor, mut below) = (0.0, 0.0);
        for (bound, count) in counts {
            if count >= rank {
                let within = if count > below { (rank - below) / (count - below) } else { 1.0 };
                return Some(if bound.is_finite() { floor + (bound - floor) * within } else { floor });
            }
            (floor, below) = (bound, count);
        }
        None
    }

    /// By how much a counter has grown in each of the quarters of an hour of the last day, the oldest first.
    pub fn course(&self, name: &str, wanted: &[Wanted<'_>]) -> Vec<f64> {
        const PARTS: u32 = 96;
        let Some((now, _)) = self.0.back() else { return Vec::new() };
        let at = |age: Duration| {
            let earlier = self.0.iter().rev().find(|(then, _)| then.until(*now) >= age);
            earlier.and_then(|(_, reading)| reading.sum(name, wanted)).unwrap_or(0.0)
        };
        let levels: Vec<_> = (0..=PARTS).rev().map(|part| at(QUARTER * part)).collect();
        levels.windows(2).map(|pair| pair.last().unwrap_or(&0.0) - pair.first().unwrap_or(&0.0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: u64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000) + Duration::from_mins(minutes)
    }

    fn counted(text: &str) -> Reading {
        Reading::parse(text, |_| true)
    }

    #[test]
    fn what_was_counted_within_a_window_counts_and_what_was_before_does_not() {
        let mut history = History::default();
        let grown = |history: &History, wanted: &[Wanted<'_>], window| {
            let grown = history.increase("n_total", wanted, window);
            format!("{grown:.0}")
        };
        assert_eq!(grown(&history, &[], HOUR), "0");
        for minute in 0..100 {
            history.add(
                at(minute),
                counted(&format!("n_total{{a=\"x\"}} {}\nn_total{{a=\"y\"}} 7\n", 10 * (minute + 1))),
            );
        }
        assert_eq!(grown(&history, &[], Duration::from_mins(10)), "100");
        assert_eq!(grown(&history, &[("a", &["y"])], HOUR), "0");
        assert_eq!(grown(&history, &[("a", &["x"])], DAY), "1000", "a server begins at zero");
    }

    #[test]
    fn a_day_of_readings_is_kept_thinly() {
        let mut history = History::default();
        for minute in 0..3 * 24 * 60 {
            history.add(at(minute), counted(&format!("n_total {minute}\n")));
        }
        assert!((61 + 92..=61 + 97).contains(&history.0.len()), "{}", history.0.len());
        let day = history.increase("n_total", &[], DAY);
        assert!((1440.0..1456.0).contains(&day), "{day}");
        let course = history.course("n_total", &[]);
        assert_eq!(course.len(), 96);
        assert!(course.iter().all(|part| (0.0..=30.0).contains(part)), "{course:?}");
        assert!((1425.0..=1455.0).contains(&course.iter().sum::<f64>()));
    }

    #[test]
    fn a_quantile_is_estimated_as_prometheus_does() {
        let mut history = History::default();
        assert_eq!(history.quantile("s", &[], 0.5, HOUR), None);
        let page = "s_bucket{le=\"0.1\"} 50\ns_bucket{le=\"0.2\"} 100\ns_bucket{le=\"+Inf\"} 100\n";
        history.add(at(0), counted(page));
        let quantile = |share| history.quantile("s", &[], share, HOUR).unwrap();
        assert!((quantile(0.25) - 0.05).abs() < 1e-9 && (quantile(0.75) - 0.15).abs() < 1e-9);
        let beyond = "s_bucket{le=\"0.1\"} 0\ns_bucket{le=\"+Inf\"} 5\n";
        let mut history = History::default();
        history.add(at(0), counted(beyond));
        assert_eq!(history.quantile("s", &[], 0.99, HOUR), Some(0.1), "the last bound that is known");
    }
}
