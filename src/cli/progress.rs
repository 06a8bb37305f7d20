//! Progress of long work, on standard error while that is a terminal.

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

/// A bar towards a known end; `what` says of what.
pub fn bar(total: u64, what: &'static str) -> ProgressBar {
    styled(ProgressBar::new(total), "{prefix} {bar:30} {percent}% ({eta})", what)
}

/// A count without a known end.
pub fn counter(what: &'static str) -> ProgressBar {
    styled(ProgressBar::no_length(), "{pos} {prefix} ({per_sec})", what)
}

fn styled(bar: ProgressBar, template: &str, what: &'static str) -> ProgressBar {
    // A template that cannot be read leaves the usual look.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    // A failure must not leave it standing above its words.
    bar.with_style(style).with_prefix(what).with_finish(ProgressFinish::AndClear)
}
