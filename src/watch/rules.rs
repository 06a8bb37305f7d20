//! The rules of the alarms: those of `docs/alerts.yml`, asked of the server itself. That nobody reads the metrics is not among
//! them: a server that is down tells of nothing, and `ops.heartbeat_url` does.

use std::time::Duration;

use super::history::History;
use crate::domain::Timestamp;

/// How soon somebody must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Now.
    Page,
    /// Within a day.
    Ticket,
}

impl Severity {
    /// The word that is told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Ticket => "ticket",
        }
    }
}

/// When there is something to tell.
#[derive(Debug)]
pub struct Rule {
    /// The name, as in `docs/alerts.yml` and `docs/runbook.md`.
    pub name: &'static str,
    /// How soon somebody must act.
    pub severity: Severity,
    /// How long it must hold.
    pub holds_for: Duration,
    /// What is wrong.
    pub summary: &'static str,
    /// What to do first.
    pub description: &'static str,
    /// Whether it holds.
    pub holds: fn(&History, Timestamp) -> bool,
}

/// The metrics that rules ask for.
pub const ASKED: &[&str] = &[
    "freshk_refusals_total",
    "process_open_fds",
    "process_max_fds",
    "freshk_certificate_expires_seconds",
    "freshk_certificate_lifetime_seconds",
    "freshk_proxy_fault_timestamp_seconds",
    "freshk_clock_offset_seconds",
    "freshk_writer_commit_seconds_bucket",
    "freshk_sms_breaker_open",
    "freshk_sms_deliveries_total",
    "freshk_sms_blocks_total",
    "freshk_sms_budget_warnings_total",
    "freshk_sms_unpaid_total",
    "freshk_backup_age_seconds",
    "freshk_backup_failures_total",
    "freshk_backup_command_failures_total",
    "freshk_database_size_bytes",
    "freshk_disk_available_bytes",
    "freshk_wal_size_bytes",
    "freshk_events_oldest_seconds",
    "freshk_events_dropped_total",
    "freshk_failed_authentication_attempts_total",
    "freshk_authentications_total",
    "freshk_token_reuse_total",
    "freshk_rate_limit_violations_total",
];

const NOW: Duration = Duration::ZERO;
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const MIB: f64 = 1024.0 * 1024.0;

/// The latest value of a metric that has one series; none where it is not there.
fn latest(history: &History, name: &str) -> Option<f64> {
    history.latest()?.max(name)
}

fn is_above(history: &History, name: &str, bound: f64) -> bool {
    latest(history, name).is_some_and(|value| value > bound)
}

fn has_file(history: &History) -> bool {
    is_above(history, "freshk_database_size_bytes", 0.0)
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_mins(minutes)
}

/// All of them, in the order of `docs/alerts.yml`.
pub const RULES: &[Rule] = &[
    Rule {
        name: "FreshKErrors",
        severity: Severity::Page,
        holds_for: NOW,
        summary: "Requests failed by a fault of ours or of the database",
        description: "Look for level ERROR in the log, and at the disk",
        holds: |history, _| {
            let faults: [&str; 2] = ["internal_error", "unavailable"];
            history.increase("freshk_refusals_total", &[("code", &faults)], minutes(10)) > 0.0
        },
    },
    Rule {
        name: "FreshKFilesRunOut",
        severity: Severity::Ticket,
        holds_for: Duration::from_mins(2),
        summary: "Four fifths of the files that may be open are open",
        description: "Raise LimitNOFILE in the service's unit; the log tells which address has many connections",
        holds: |history, _| {
            let most = latest(history, "process_max_fds");
            most.is_some_and(|most| is_above(history, "process_open_fds", 0.8 * most))
        },
    },
    Rule {
        name: "FreshKCertificateExpires",
        severity: Severity::Page,
        holds_for: Duration::from_mins(15),
        summary: "The certificate of the server ends soon, and then no app can call",
        description: "`freshk check` tells which one; the log says why it was not renewed",
        holds: |history, _| {
            let sixth = latest(history, "freshk_certificate_lifetime_seconds").unwrap_or(f64::INFINITY) / 6.0;
            let left = latest(history, "freshk_certificate_expires_seconds");
            left.is_some_and(|left| left < sixth.min(14.0 * 86_400.0))
        },
    },
    Rule {
        name: "FreshKProxyNamesNobody",
        severity: Severity::Page,
        holds_for: Duration::from_mins(10),
        summary: "Everybody behind a proxy shares one address, and its five logins an hour",
        description: "`freshk check` tells what to add",
        holds: |history, now| {
            let since = now - minutes(10);
            is_above(history, "freshk_proxy_fault_timestamp_seconds", since.as_secs_f64())
        },
    },
    Rule {
        name: "FreshKClockLeapt",
        severity: Severity::Ticket,
        holds_for: MINUTE,
        summary: "The machine's clock is not where the server has it; tokens may be refused elsewhere",
        description: "Look at the machine's time service; it should run, and step only at boot",
        holds: |history, _| latest(history, "freshk_clock_offset_seconds").is_some_and(|by| by.abs() > 5.0),
    },
    Rule {
        name: "FreshKSlow",
        severity: Severity::Ticket,
        holds_for: Duration::from_mins(10),
        summary: "One commit in a hundred takes more than half a second",
        description: "Look at what else writes to the disk",
        holds: |history, _| {
            let slow = history.quantile("freshk_writer_commit_seconds", &[], 0.99, minutes(10));
            slow.is_some_and(|slow| slow > 0.5)
        },
    },
    Rule {
        name: "FreshKSmsBreakerOpen",
        severity: Severity::Page,
        holds_for: Duration::from_mins(2),
        summary: "Twilio fails and is not called for a while; nobody gets a code",
        description: "`freshk check`, `freshk sms list --state failed`, status.twilio.com",
        holds: |history, _| is_above(history, "freshk_sms_breaker_open", 0.0),
    },
    Rule {
        name: "FreshKSmsFailing",
        severity: Severity::Page,
        holds_for: NOW,
        summary: "More than a fifth of the codes of the last half hour did not arrive",
        description: "`freshk sms list --state undelivered` and the error codes in Twilio's console",
        holds: |history, _| {
            let reached = |states: &[&str]| {
                history.increase("freshk_sms_deliveries_total", &[("state", states)], minutes(30))
            };
            let lost = reached(&["failed", "undelivered", "unknown", "refused"]);
            lost > 5.0 && lost > 0.2 * reached(&["intended", "refused"])
        },
    },
    Rule {
        name: "FreshKSmsHeldBack",
        severity: Severity::Ticket,
        holds_for: NOW,
        summary: "Messages to new numbers of a network, a range or a country are held back",
        description: "`freshk limit show` tells which, and why",
        holds: |history, _| {
            let on: [&str; 1] = ["on"];
            history.increase("freshk_sms_blocks_total", &[("guard", &on)], minutes(30)) > 0.0
        },
    },
    Rule {
        name: "FreshKSmsBudgetLow",
        severity: Severity::Ticket,
        holds_for: NOW,
        summary: "Four fifths of a budget for text messages are spent",
        description: "`freshk limit show` tells how the budgets stand, `freshk stats` where the messages go",
        holds: |history, _| history.increase("freshk_sms_budget_warnings_total", &[], HOUR) > 0.0,
    },
    Rule {
        name: "FreshKSmsBudgetSpent",
        severity: Severity::Page,
        holds_for: NOW,
        summary: "A budget for text messages is spent, and people are refused",
        description: "`freshk limit show` tells how the budgets stand; raise it, or wait for the next hour or day",
        holds: |history, _| history.increase("freshk_sms_unpaid_total", &[], minutes(10)) > 0.0,
    },
    Rule {
        name: "FreshKBackupOld",
        severity: Severity::Ticket,
        holds_for: NOW,
        summary: "The latest backup is more than two days old, or there is none",
        description: "`freshk db backup`; the log says why the server makes none. On PostgreSQL: `pg_dump`, then \
             `freshk db backup-stamp`",
        holds: |history, _| {
            let is_older = |age| is_above(history, "freshk_backup_age_seconds", age);
            is_older(2.0 * 86_400.0) && (has_file(history) || !is_older(1e9))
        },
    },
    Rule {
        name: "FreshKBackupFails",
        severity: Severity::Ticket,
        holds_for: NOW,
        summary: "A backup that was due could not be made",
        description: "The log says why; make room, or correct backup.dir",
        holds: |history, _| history.increase("freshk_backup_failures_total", &[], HOUR) > 0.0,
    },
    Rule {
        name: "FreshKBackupCommandFails",
        severity: Severity::Ticket,
        holds_for: NOW,
        summary: "backup.command failed, so the latest backup may be on this machine alone",
        description: "The log says why; `freshk db backup` makes one and runs the command again",
        holds: |history, _| history.increase("freshk_backup_command_failures_total", &[], DAY) > 0.0,
    },
    Rule {
        name: "FreshKDiskFilling",
        severity: Severity::Page,
        holds_for: Duration::from_mins(5),
        summary: "The disk has no room for two copies of the database",
        description: "Make room where the database lies, or give it a larger disk",
        holds: |history, _| {
            let of = |name| latest(history, name).unwrap_or(0.0);
            let copy = of("freshk_database_size_bytes") + of("freshk_wal_size_bytes") + 64.0 * MIB;
            has_file(history) && of("freshk_disk_available_bytes") < 2.0 * copy
        },
    },
    Rule {
        name: "FreshKWalGrows",
        severity: Severity::Ticket,
        holds_for: Duration::from_mins(10),
        summary: "The write-ahead log is not moved into the database",
        description: "Find the process that keeps the database open; with Litestream, see whether it keeps up",
        holds: |history, _| is_above(history, "freshk_wal_size_bytes", 256.0 * MIB),
    },
    Rule {
        name: "FreshKEventsWait",
        severity: Severity::Ticket,
        holds_for: Duration::from_mins(5),
        summary: "Events have waited for a webhook for a quarter of an hour",
        description: "`freshk webhook list` and `freshk event list --since 1h` tell what it answers",
        holds: |history, _| is_above(history, "freshk_events_oldest_seconds", 900.0),
    },
    Rule {
        name: "FreshKEventsDropped",
        severity: Severity::Page,
        holds_for: NOW,
        summary: "Events were dropped that a webhook has not taken",
        description: "Mend the receiver, then `freshk event replay` sends what is still kept",
        holds: |history, _| history.increase("freshk_events_dropped_total", &[], HOUR) > 0.0,
    },
    Rule {
        name: "FreshKWrongCodes",
        severity: Severity::Ticket,
        holds_for: NOW,
        summary: "Twice as many codes are wrong as right; somebody may be guessing",
        description: "`freshk audit list --event authn_login_fail --since 1h`",
        holds: |history, _| {
            let quarter = minutes(15);
            let mode: [&str; 1] = ["production"];
            let wrong = history.increase(
                "freshk_failed_authentication_attempts_total",
                &[("channel", &mode)],
                quarter,
            );
            let right: [&str; 1] = ["success"];
            let wanted = [("channel", &mode[..]), ("outcome", &right[..])];
            wrong > 30.0 && wrong > 2.0 * history.increase("freshk_authentications_total", &wanted, quarter)
        },
    },
    Rule {
        name: "FreshKTokenReuse",
        severity: Severity::Ticket,
        holds_for: NOW,
        summary: "A refresh token that was rotated away was presented again, and its session ended; it is stolen, or an app keeps old tokens",
        description: "`freshk audit list --event authn_token_reuse --since 2h` names user, session and address",
        holds: |history, _| {
            let ended: [&str; 1] = ["ended"];
            history.increase("freshk_token_reuse_total", &[("kind", &ended)], HOUR) > 0.0
        },
    },
    Rule {
        name: "FreshKRefusalsSurge",
        severity: Severity::Ticket,
        holds_for: NOW,
        summary: "Far more requests than usual are refused by the limits",
        description: "`freshk audit list --event excess_rate_limit_exceeded --since 1h`; `freshk check` finds a proxy that is not trusted",
        holds: |history, _| {
            let refused = |window| history.increase("freshk_rate_limit_violations_total", &[], window);
            let now = refused(minutes(15));
            now > 100.0 && now > 5.0 * refused(DAY) / 96.0
        },
    },
];
