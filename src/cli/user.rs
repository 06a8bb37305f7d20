//! `freshk user`: the people who log in.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::admin::{AdminContext, READING, WRITING};
use super::output::Output;
use super::{CliError, Global};
use crate::domain::{Timestamp, User};

mod change;
mod columns;
mod duplicates;
mod export;
mod import;
mod list;

#[cfg(any(test, fuzzing))]
pub(crate) use import::read_lines;

/// What can be done with users. USER is an id, a phone or a username.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// List users
    List(list::ListArgs),
    /// Show one user with its sessions
    #[command(after_long_help = "\
Examples:
  freshk user show 42
  freshk user show +1234567890 --show-phones
  freshk user show user_1234567890 --json")]
    Show {
        /// An id, a phone or a username
        user: String,
    },
    /// Create a user before the first login
    #[command(after_long_help = "\
Examples:
  freshk user create +1234567890
  freshk user create +1234567890 --role staff --verified

A user who is not verified is deleted after users.unverified_retention, like one who asked for a code and \
never entered it.")]
    Create {
        /// The phone, in international format
        phone: String,
        /// The role
        #[arg(long, help = "One of users.roles [default: users.default_role]")]
        role: Option<String>,
        /// The number has been verified elsewhere
        #[arg(long)]
        verified: bool,
    },
    /// Give a user another role
    #[command(after_long_help = "\
Example:
  freshk user set-role +1234567890 staff

The role must be among users.roles. A running server sees it within a second; it stands in tokens from the \
next refresh on.")]
    SetRole {
        /// An id, a phone or a username
        user: String,
        /// One of users.roles
        role: String,
    },
    /// Give a user another phone number; ends the sessions
    #[command(after_long_help = "\
Example:
  freshk user set-phone 42 +1234567891

A username that was derived from the old number follows; any other stays.")]
    SetPhone {
        /// An id, a phone or a username
        user: String,
        /// The new phone, in international format
        phone: String,
    },
    /// Take back a user's change of number that waits
    #[command(after_long_help = "\
Example:
  freshk user cancel-phone-change 42

`freshk user show` tells of a change that waits. The number stays as it is; a session that asked for the change goes on.")]
    CancelPhoneChange {
        /// An id, a phone or a username
        user: String,
    },
    /// Note something about a user, for tokens to carry
    #[command(after_long_help = "\
Examples:
  freshk user set-attribute 42 plan gold
  freshk user set-attribute 42 seats 3
  freshk user set-attribute 42 plan null      takes it out

VALUE is JSON, or else text: 3 is a number, and '\"3\"' is text. All of a user's attributes have 1 KiB at most. Access \
tokens carry those that tokens.claims names, from the next login or refresh on; anybody who holds the token reads them.")]
    SetAttribute {
        /// An id, a phone or a username
        user: String,
        /// The name of the attribute
        name: String,
        /// Its value: JSON, or else text; null takes it out
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Activate a deactivated user
    #[command(after_long_help = "\
Example:
  freshk user activate 42")]
    Activate {
        /// An id, a phone or a username
        user: String,
    },
    /// Deactivate a user: no codes, no tokens; ends the sessions
    #[command(after_long_help = "\
Example:
  freshk user deactivate +1234567890

Sessions end for good: after `freshk user activate` the user logs in again.")]
    Deactivate {
        /// An id, a phone or a username
        user: String,
    },
    /// End all sessions of a user
    #[command(after_long_help = "\
Example:
  freshk user logout 42

Tokens that Django issued before the move (tokens.accept_foreign) are refused for this user from then on.")]
    Logout {
        /// An id, a phone or a username
        user: String,
    },
    /// Keep a user who is to be deleted
    #[command(after_long_help = "\
Example:
  freshk user restore 42

A user who deleted the account is deleted when users.deletion_grace is over; until then `freshk user show` says so. The \
sessions have ended: the user logs in again.")]
    Restore {
        /// An id, a phone or a username
        user: String,
    },
    /// Delete a user and all that identifies the person
    #[command(after_long_help = "\
Examples:
  freshk user delete 42
  freshk user delete +1234567890 --yes

Deleted are the user, its sessions, codes and messages, and the phone in the audit trail. Kept are, until \
audit.retention ends, the lines of the audit trail, with the user's id and the addresses they came from; for a day at most, \
the units that the phone has spent of its quotas, under a keyed hash; and log files and backups that were written \
before. A user who was to be deleted later is deleted now.")]
    Delete {
        /// An id, a phone or a username
        user: String,
    },
    /// List telephones that several users have, in different spellings
    #[command(after_long_help = "\
Examples:
  freshk user check-duplicates
  freshk user check-duplicates --json --show-phones

A telephone has one spelling by the numbering plan, and old or national ones beside it: +44 0…, Mexico's +52 1…. Run this before \
phone.strict is switched on: then each telephone has one account, which is the first that is listed. Nothing is changed.")]
    CheckDuplicates {
        /// At most so many telephones
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Import users from a CSV or JSON Lines file
    Import(import::ImportArgs),
    /// Write all users, phones in full
    Export(export::ExportArgs),
}

/// Files of users.
#[derive(Args, Clone, Debug)]
pub struct FormatArgs {
    /// The format of the file [default: by its name, else csv]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
}

/// How users stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Comma separated, with a header
    Csv,
    /// A JSON object a line
    Jsonl,
}

impl FormatArgs {
    fn of(&self, file: Option<&PathBuf>) -> Format {
        let named = file.and_then(|file| file.extension()).is_some_and(|e| e == "jsonl" || e == "ndjson");
        self.format.unwrap_or(if named { Format::Jsonl } else { Format::Csv })
    }
}

/// Runs a command.
///
/// # Errors
/// [`CliError`]
pub fn run(command: &UserCommand, global: &Global, output: &mut Output) -> Result<(), CliError> {
    match command {
        UserCommand::Import(args) => return import::run(args, global, output),
        UserCommand::Create { phone, role, verified } => {
            let admin = AdminContext::open_or_make(global, WRITING)?;
            return change::create(&admin, output, phone, role.as_deref(), *verified);
        }
        _ => {}
    }
    let reads = matches!(
        command,
        UserCommand::List(_)
            | UserCommand::Show { .. }
            | UserCommand::Export(_)
            | UserCommand::CheckDuplicates { .. }
    );
    let admin = AdminContext::open(global, if reads { READING } else { WRITING })?;
    match command {
        UserCommand::List(args) => list::run(args, &admin, output),
        UserCommand::Show { user } => list::show(&admin, output, user),
        UserCommand::SetRole { user, role } => change::set_role(&admin, output, user, role),
        UserCommand::SetPhone { user, phone } => change::set_phone(&admin, output, user, phone),
        UserCommand::CancelPhoneChange { user } => change::cancel_phone_change(&admin, output, user),
        UserCommand::SetAttribute { user, name, value } => {
            change::set_attribute(&admin, output, user, name, value)
        }
        UserCommand::Activate { user } => change::activate(&admin, output, user),
        UserCommand::Deactivate { user } => change::deactivate(&admin, output, user),
        UserCommand::Logout { user } => change::log_out(&admin, output, user),
        UserCommand::Restore { user } => change::restore(&admin, output, user),
        UserCommand::Delete { user } => change::delete(&admin, output, user, global.yes),
        UserCommand::CheckDuplicates { limit } => duplicates::run(&admin, output, *limit),
        UserCommand::Export(args) => export::run(args, &admin, global.yes, output),
        UserCommand::Import(_) | UserCommand::Create { .. } => Ok(()),
    }
}

/// A user as `--json` shows it.
fn document(admin: &AdminContext, user: &User) -> Value {
    json!({
        "id": user.id.0,
        "username": admin.shown_name(&user.username),
        "phone_number": admin.shown_if_any(user),
        "role": user.role,
        "is_active": user.is_active,
        "phone_verified": user.phone_verified,
        "date_joined": user.joined_at.iso(),
        "attributes": user.attributes.members(),
        "deletes_at": user.deletes_at.map(Timestamp::iso),
    })
}
