//! The operator's commands: the real binary beside a real server, in a directory and an environment of its own.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops at the first surprise"
)]

#[path = "cli/beside.rs"]
mod beside;
#[path = "cli/databases.rs"]
mod databases;
#[path = "cli/events.rs"]
mod events;
#[path = "cli/exit_codes.rs"]
mod exit_codes;
#[path = "cli/halfway.rs"]
mod halfway;
#[path = "cli/health.rs"]
mod health;
#[path = "cli/help.rs"]
mod help;
#[path = "cli/import.rs"]
mod import;
#[path = "cli/import_lines.rs"]
mod import_lines;
#[path = "cli/json.rs"]
mod json;
#[path = "cli/messages.rs"]
mod messages;
#[path = "cli/moving.rs"]
mod moving;
#[path = "cli/needs.rs"]
mod needs;
#[path = "cli/old_server.rs"]
mod old_server;
#[path = "cli/planted.rs"]
mod planted;
#[path = "cli/postgresql.rs"]
mod postgresql;
#[path = "cli/reader.rs"]
mod reader;
#[path = "cli/selftest.rs"]
mod selftest;
#[path = "cli/spellings.rs"]
mod spellings;
#[path = "cli/support.rs"]
mod support;
#[path = "cli/terminal.rs"]
mod terminal;
#[path = "cli/test_numbers.rs"]
mod test_numbers;
#[path = "cli/trail.rs"]
mod trail;
#[path = "cli/users.rs"]
mod users;

#[path = "support/sink.rs"]
#[expect(dead_code, reason = "other suites use the rest")]
mod sink;
#[path = "support/twilio.rs"]
#[expect(dead_code, unused_imports, reason = "shared with the tests of the adapter, which use the rest")]
mod twilio;

#[path = "support/postgres.rs"]
#[expect(dead_code, reason = "shared with the tests of the store, which use the rest")]
mod postgres;
