//! Why a `PostgreSQL` database cannot be used, in words for the operator: what is wrong, and what to do next.

use super::connect::{NO_POOLER, Refused};
use super::fault::Failure;
use super::settings::PostgresSettings;
use crate::domain::Help;

/// Why a database cannot be used, and what to do. None shows a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostgresError {
    /// There is no server, or no way to it.
    #[error("database.url: {place} cannot be reached: {reason}")]
    Unreachable {
        /// Host, port and database.
        place: String,
        /// Why.
        reason: String,
    },
    /// The server does not let this user in.
    #[error("database.url: {place} refuses the user or the password: {reason}")]
    Refused {
        /// Host, port and database.
        place: String,
        /// The server's words.
        reason: String,
    },
    /// There is no such database.
    #[error("database.url: there is no database {database} on the server")]
    NoDatabase {
        /// The database.
        database: String,
    },
    /// There is no TLS between here and there.
    #[error("database.url: no TLS with {place}: {reason}")]
    Tls {
        /// Host, port and database.
        place: String,
        /// Why.
        reason: String,
    },
    /// A pooler or a server that cannot be used.
    #[error("database.url: {place} cannot be used: {problem}")]
    Unfit {
        /// Host, port and database.
        place: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        help: String,
    },
    /// The user may not make the schema.
    #[error("database.schema: {place} does not let this user make the schema {schema}")]
    MayNotCreate {
        /// Host, port and database.
        place: String,
        /// The schema.
        schema: String,
        /// The user.
        user: String,
    },
    /// Something else stands in the schema.
    #[error("database.schema: the schema {schema} of {place} holds tables that are not FreshK's")]
    Foreign {
        /// Host, port and database.
        place: String,
        /// The schema.
        schema: String,
    },
    /// Written by a later version.
    #[error("the schema {schema} of {place} has version {found}, and this freshk knows {known}")]
    Newer {
        /// Host, port and database.
        place: String,
        /// The schema.
        schema: String,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Written by an earlier version, or not made yet.
    #[error("the schema {schema} of {place} has version {found}, and this freshk needs {known}")]
    Older {
        /// Host, port and database.
        place: String,
        /// The schema.
        schema: String,
        /// Its version; 0 where there is none.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Somebody else changes the schema.
    #[error("another freshk is changing the schema {schema} of {place}")]
    Migrating {
        /// Host, port and database.
        place: String,
        /// The schema.
        schema: String,
    },
    /// Another server with other secrets serves it.
    #[error("secret_key: the server on {host} serves {place} with none of this one's keys")]
    OtherKeys {
        /// Host, port and database.
        place: String,
        /// The machine of the other server.
        host: String,
    },
    /// A statement failed.
    #[error("{place} cannot be used: {reason}")]
    Failed {
        /// Host, port and database.
        place: String,
        /// The server's words.
        reason: String,
    },
}

impl Help for PostgresError {
    fn help(&self) -> String {
        match self {
            Self::Unreachable { .. } => "start the server, or correct the host and port".to_owned(),
            Self::Refused { .. } => "correct them, or what pg_hba.conf allows".to_owned(),
            Self::NoDatabase { database } => {
                format!("make it with `createdb {database}`, or correct the URL")
            }
            Self::Tls { .. } => "correct sslmode and sslrootcert, or the server's certificate".to_owned(),
            Self::Unfit { help, .. } => help.clone(),
            Self::MayNotCreate { schema, user, .. } => {
                format!("let its owner run `CREATE SCHEMA {schema} AUTHORIZATION \"{user}\"`")
            }
            Self::Foreign { .. } => "name another one, and FreshK makes it".to_owned(),
            Self::Newer { .. } => "install the version that wrote it, or a later one".to_owned(),
            Self::Older { .. } => "run `freshk db migrate`".to_owned(),
            Self::Migrating { .. } => "wait until it is done, and try again".to_owned(),
            Self::OtherKeys { .. } => {
                "give both the same secret_key; while it changes, each has the other's in \
                                       secret_key_fallbacks"
                    .to_owned()
            }
            Self::Failed { .. } => "look at the log of the server".to_owned(),
        }
    }
}

impl PostgresError {
    /// Why there is no connection.
    pub(super) fn of_connection(settings: &PostgresSettings, refused: Refused) -> Self {
        let place = settings.to_string();
        let failure = match refused {
            Refused::Unfit { problem, help } => return Self::Unfit { place, problem, help },
            Refused::Tls(reason) => return Self::Tls { place, reason },
            Refused::Server(failure) => failure,
        };
        let reason = failure.to_string();
        match failure.state() {
            Some("3D000") => Self::NoDatabase { database: settings.database.clone() },
            Some(state) if state.starts_with("28") => Self::Refused { place, reason },
            // What a pooler says to startup options that it does not know.
            Some("08P01") if reason.contains("startup parameter") => {
                let problem = format!("{reason}: a pooler stands before the server");
                Self::Unfit { place, problem, help: NO_POOLER.to_owned() }
            }
            Some(_) => Self::Failed { place, reason },
            None => Self::Unreachable { place, reason },
        }
    }

    /// A statement failed.
    pub(super) fn of_statement(settings: &PostgresSettings, failure: &Failure) -> Self {
        let (place, reason) = (settings.to_string(), failure.to_string());
        let unfit = |problem: &str, help: &str| Self::Unfit {
            place: place.clone(),
            problem: format!("{problem}: {reason}"),
            help: help.to_owned(),
        };
        match failure.state() {
            Some("25006") => {
                unfit("it is read-only", "name the primary, or set default_transaction_read_only to off")
            }
            Some("55P03") => unfit(
                "another session keeps one of its tables",
                "wait until it has ended, such as a pg_dump, and start again",
            ),
            Some("53100") => unfit("its disk is full", "make room on the disk of the server"),
            _ => Self::Failed { place, reason },
        }
    }
}
