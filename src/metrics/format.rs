//! The two text formats that Prometheus reads.

use std::fmt::Write as _;

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

/// How the page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus's own text format, 0.0.4, which every scraper reads.
    Text,
    /// `OpenMetrics` 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    pub(super) fn render(self, registry: &Registry) -> String {
        let mut page = String::new();
        // A string takes whatever is written to it, so half a page cannot be.
        if text::encode(&mut page, registry).is_err() {
            page.clear();
        }
        match self {
            Self::OpenMetrics => page,
            Self::Text => as_text(&page),
        }
    }
}

/// The same page in the older format: there a counter is described under the name that its samples have, and units and the
/// end of the page are unknown.
fn as_text(page: &str) -> String {
    let (mut text, mut help) = (String::with_capacity(page.len()), "");
    for line in page.lines() {
        if let Some(description) = line.strip_prefix("# HELP ") {
            help = description;
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let help = help.strip_prefix(name).unwrap_or_default();
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP {name}{suffix}{help}\n# TYPE {name}{suffix} {kind}");
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_described_under_the_name_of_its_samples() {
        let open = "# HELP x_codes Codes asked for.\n# TYPE x_codes counter\nx_codes_total{a=\"b # HELP\"} 1\n\
                    # HELP x_wait_seconds How long.\n# TYPE x_wait_seconds histogram\n# UNIT x_wait_seconds seconds\n\
                    x_wait_seconds_sum 0.5\nx_wait_seconds_bucket{le=\"+Inf\"} 1\n# EOF\n";
        let text = "# HELP x_codes_total Codes asked for.\n# TYPE x_codes_total counter\n\
                    x_codes_total{a=\"b # HELP\"} 1\n# HELP x_wait_seconds How long.\n\
                    # TYPE x_wait_seconds histogram\nx_wait_seconds_sum 0.5\nx_wait_seconds_bucket{le=\"+Inf\"} 1\n";
        assert_eq!(as_text(open), text);
    }
}
