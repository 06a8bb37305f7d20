//! Whether anything reads the metrics.

use std::path::Path;
use std::time::Duration;

use freshk::domain::Timestamp;
use freshk::files::FileId;
use freshk::metrics::LAST_SCRAPE;

use super::canned::{Canned, http};
use super::set_up::{SetUp, now};
use crate::place::until;

/// The metrics of the server of a database, given by its identity.
fn page(last: i64, database: &str) -> String {
    page_with(last, "", database)
}

/// The same with more lines.
pub(super) fn page_with(last: i64, more: &str, database: &str) -> String {
    let text =
        format!("# TYPE freshk_sessions_live gauge\nfreshk_sessions_live 0\n{more}{LAST_SCRAPE} {last}\n");
    http(200, &[("x-freshk-database", database)], &text)
}

/// Metrics that were last read at an instant.
pub(super) fn read_at(last: Timestamp, database: &Path) -> Canned {
    Canned::serving(page(last.as_secs(), &identity(database)))
}

pub(super) fn identity(database: &Path) -> String {
    FileId::of(database).unwrap().to_string()
}

#[test]
fn metrics_that_nobody_reads() {
    let set_up = SetUp::good();
    let ours = identity(&set_up.place.path("freshk.db"));
    for (answer, mend) in [
        (page((now() - Duration::from_mins(6)).as_secs(), &ours), "docs/alerts.yml"),
        (page(0, &ours), "docs/alerts.yml"),
        (page(now().as_secs(), "1:2"), "an ops.listen of its own"),
        (http(200, &[], "# EOF\n"), "an ops.listen of its own"),
        (http(404, &[], ""), "an ops.listen of its own"),
        ("rubbish".to_owned(), "start the server"),
    ] {
        set_up.metrics.gives(answer);
        set_up.assert_only(&[], "warn monitoring", mend);
    }
    set_up.metrics.gives(page((now() - Duration::from_mins(4)).as_secs(), &ours));
    set_up.assert_ok(&[]);
    set_up.assert_only(&[("FRESHK_OPS__LISTEN", "127.0.0.1:1")], "warn monitoring", "start the server");
    let heads = set_up.metrics.heads();
    assert!(heads.iter().all(|head| head.contains("user-agent: freshk-check\r\n")), "{heads:?}");
}

#[test]
fn a_server_that_serves_no_metrics_is_restarted_and_a_look_is_no_scrape() {
    let set_up = SetUp::good();
    let server = set_up.place.serve(&[]);
    set_up.assert_only(&[("FRESHK_OPS__LISTEN", "127.0.0.1:1")], "warn monitoring", "restart the server");
    let ops = server.ops.to_string();
    for _ in 0..2 {
        set_up.assert_only(&[("FRESHK_OPS__LISTEN", &ops)], "warn monitoring", "docs/alerts.yml");
    }
    until(|| server.get("/metrics").contains(LAST_SCRAPE));
    set_up.assert_ok(&[("FRESHK_OPS__LISTEN", &ops)]);
}
