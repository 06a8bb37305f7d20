//! The operator's side: the real binary, an empty environment, a directory per test, beside a real server where it
//! matters.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set up its place has failed")]

#[path = "ops/backup.rs"]
mod backup;
#[path = "ops/backups.rs"]
mod backups;
#[path = "ops/check.rs"]
mod check;
#[path = "ops/command.rs"]
mod command;
#[path = "ops/db.rs"]
mod db;
#[path = "ops/drill.rs"]
mod drill;
#[path = "ops/encrypted.rs"]
mod encrypted;
#[path = "ops/killed.rs"]
mod killed;
#[path = "ops/place.rs"]
mod place;
#[path = "ops/restore.rs"]
mod restore;
#[path = "ops/setup.rs"]
mod setup;
