//! The metrics at one moment, read from the page that Prometheus reads.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The values of all series at one moment.
#[derive(Clone, Debug, Default)]
pub struct Reading(BTreeMap<Series, f64>);

/// One series: its metric and its labels, in the order of the page.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Series {
    /// The name of the metric.
    pub name: Arc<str>,
    /// Its labels with their values.
    pub labels: Arc<[(String, String)]>,
}

/// What a label must be for its series to count: its name, and the values that do.
pub type Wanted<'a> = (&'a str, &'a [&'a str]);

impl Series {
    /// The value of a label; empty where the series has none of this name.
    pub fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(label, _)| label == name).map_or("", |(_, value)| value)
    }

    /// Whether its labels are as wanted.
    pub fn is(&self, wanted: &[Wanted<'_>]) -> bool {
        wanted.iter().all(|(label, values)| values.contains(&self.label(label)))
    }
}

impl Reading {
    /// Reads a page in the text format 0.0.4. Lines that are none of it are passed over; of the metrics only those that `keep`
    /// names.
    pub fn parse(page: &str, keep: impl Fn(&str) -> bool) -> Self {
        let series = page.lines().filter(|line| !line.starts_with('#'));
        Self(series.filter_map(|line| sample(line, &keep)).collect())
    }

    /// The same, with the names of series that `earlier` has in the place of its own: readings of one server hold each name once.
    #[must_use]
    pub fn sharing_names(self, earlier: &Self) -> Self {
        let shared = self.0.into_iter().map(|(series, value)| {
            let known = earlier.0.get_key_value(&series).map(|(known, _)| known.clone());
            (known.unwrap_or(series), value)
        });
        Self(shared.collect())
    }

    /// The series of a metric with their values.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a Series, f64)> + 'a {
        // Series are in the order of their names, and one without labels is the first of its name.
        let first = Series { name: name.into(), labels: [].into() };
        let series = self.0.range(first..).take_while(move |(series, _)| &*series.name == name);
        series.map(|(series, value)| (series, *value))
    }

    /// The sum over the series of a metric whose labels are as wanted; none where there is no such series.
    pub fn sum(&self, name: &str, wanted: &[Wanted<'_>]) -> Option<f64> {
        let found = self.of(name).filter(|(series, _)| series.is(wanted)).map(|(_, value)| value);
        found.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }

    /// The greatest value among the series of a metric.
    pub fn max(&self, name: &str) -> Option<f64> {
        self.of(name).map(|(_, value)| value).reduce(f64::max)
    }
}

/// `name{label="value",…} 1.5`
fn sample(line: &str, keep: &impl Fn(&str) -> bool) -> Option<(Series, f64)> {
    let name_ends = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(name_ends);
    if !keep(name) {
        return None;
    }
    let (labels, value) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (Vec::new(), rest),
    };
    let value = value.trim().split(' ').next()?.parse().ok()?;
    Some((Series { name: name.into(), labels: labels.into() }, value))
}

/// The labels, and what comes after their brace.
fn labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start_matches(',');
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let (mut value, mut escaped, mut end) = (String::new(), false, None);
        for (at, character) in quoted.char_indices() {
            match (escaped, character) {
                (true, 'n') => value.push('\n'),
                (false, '\\') => {
                    escaped = true;
                    continue;
                }
                (false, '"') => {
                    end = Some(at);
                    break;
                }
                (_, other) => value.push(other),
            }
            escaped = false;
        }
        labels.push((name.to_owned(), value));
        rest = quoted.get(end? + 1..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP a_total A.\n# TYPE a_total counter\na_total{x=\"1\",y=\"p\\\"q\\\\\"} 2\na_total{x=\"2\",y=\"\"} 3.5\n\
        b +Inf\nc_bucket{le=\"+Inf\"} 7 1700000000\nnonsense\n{} 4\nd{x=\"1\n";

    #[test]
    fn a_page_is_read_series_by_series_and_nonsense_is_passed_over() {
        let reading = Reading::parse(PAGE, |_| true);
        assert_eq!(reading.sum("a_total", &[]), Some(5.5));
        assert_eq!(reading.sum("a_total", &[("x", &["2", "3"])]), Some(3.5));
        assert_eq!(reading.sum("a_total", &[("x", &["3"])]), None);
        assert_eq!(reading.sum("b", &[]), Some(f64::INFINITY));
        assert_eq!(reading.sum("c_bucket", &[("le", &["+Inf"])]), Some(7.0));
        let (series, _) = reading.of("a_total").next().unwrap();
        assert_eq!((series.label("y"), series.label("z")), ("p\"q\\", ""));
        assert_eq!(reading.max("a_total"), Some(3.5));
        assert_eq!(reading.sum("d", &[]), None);
    }

    #[test]
    fn what_nobody_looks_at_is_not_kept_and_names_are_kept_once() {
        let first = Reading::parse(PAGE, |name| name == "b");
        assert_eq!((first.sum("a_total", &[]), first.max("b")), (None, Some(f64::INFINITY)));
        let second = Reading::parse(PAGE, |name| name == "b").sharing_names(&first);
        let name = |reading: &Reading| reading.0.keys().next().unwrap().name.clone();
        assert!(Arc::ptr_eq(&name(&first), &name(&second)));
    }
}
