//! Why a command failed, and what to do.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::Command;
use super::database::{LockError, OpenError};
use crate::auth::AuthError;
use crate::config::Faults;
use crate::domain::Help;
use crate::http::server::BindError;
use crate::http::tls::TlsError;
use crate::storage::StoreError;
use crate::storage::postgres::PostgresError;
use crate::telemetry;
use crate::tokens::keys::KeyError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration is faulty.
    #[error(transparent)]
    Config(#[from] Faults),
    /// The answer could not be written.
    #[error("the answer could not be written: {0}")]
    Output(#[from] io::Error),
    /// The parts do not fit together.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// The database cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The server or the schema cannot be used.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    /// Another process serves it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The database failed under the server.
    #[error("the database failed: {0}")]
    Database(AuthError),
    /// A number that the configuration names cannot be a test number.
    #[error("sms.test_numbers: {problem}", problem = .0.problem)]
    TestNumber(Advice),
    /// The listener for phones cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// What the service manager passed on is not one port.
    #[error("{problem}", problem = .0.problem)]
    Passed(Advice),
    /// The listener for operators cannot be opened.
    #[error("ops.listen: cannot listen on {0}: {1}")]
    Operations(SocketAddr, #[source] io::Error),
    /// The plain port beside TLS cannot be opened.
    #[error("server.tls.redirect_listen: cannot listen on {0}: {1}")]
    Redirect(SocketAddr, #[source] io::Error),
    /// The log cannot be written.
    #[error(transparent)]
    Telemetry(#[from] telemetry::InitError),
    /// The secret beside the database.
    #[error("the secret beside the database can be neither read nor made: {0}")]
    DevSecret(io::Error),
    /// A key cannot be used or made.
    #[error("tokens.key_file: {0}")]
    Key(#[from] KeyError),
    /// The file of a key.
    #[error("the key file {path} cannot be written: {error}", path = .path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// `key rotate` where a secret signs.
    #[error("tokens.algorithm is HS256, which signs with SECRET_KEY and has no key file")]
    NothingToRotate,
    /// Threads or signals.
    #[error("the system refused a thread, a signal or a socket: {0}")]
    Runtime(io::Error),
    /// The command line is wrong, as far as can be told without looking at anything; it exits with 2.
    #[error("{problem}", problem = .0.problem)]
    Usage(Advice),
    /// What was asked for cannot be done now.
    #[error("{problem}", problem = .0.problem)]
    Refused(Advice),
    /// There is no database yet.
    #[error("there is no database {}", .0.display())]
    Missing(PathBuf),
    /// The database failed under a command.
    #[error("the database failed: {0}; nothing was changed")]
    Storage(#[from] StoreError),
    /// There is no working directory.
    #[error("the working directory cannot be read: {0}")]
    Directory(io::Error),
}

/// What is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub help: String,
}

impl Advice {
    /// Puts the two together.
    pub fn new(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self { problem: problem.into(), help: help.into() }
    }
}

impl CliError {
    /// A usage error.
    pub fn usage(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Usage(Advice::new(problem, help))
    }

    /// A refusal.
    pub fn refused(problem: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Refused(Advice::new(problem, help))
    }

    /// What the process exits with after `command`: 2 for a usage error, 78 (`EX_CONFIG` of sysexits.h) where starting the
    /// server again cannot help, since its configuration is at fault or the database is newer than the program, else 1.
    pub const fn exit_code(&self, command: &Command) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Config(_)
            | Self::Wiring(_)
            | Self::TestNumber(_)
            | Self::Passed(_)
            | Self::Open(OpenError::Newer { .. })
            | Self::Postgres(PostgresError::Newer { .. })
                if matches!(command, Command::Serve(_)) =>
            {
                78
            }
            _ => 1,
        }
    }
}

impl Help for CliError {
    fn help(&self) -> String {
        match self {
            Self::Config(_) => String::new(),
            Self::Output(_) => "check that standard output can be written to".into(),
            Self::Wiring(error) => error.help(),
            Self::Open(error) => error.help(),
            Self::Postgres(error) => error.help(),
            Self::Lock(error) => error.help(),
            Self::Database(_) => {
                "the log above has the cause; where the disk is full, free some room and start again".into()
            }
            Self::Usage(advice) | Self::Refused(advice) | Self::TestNumber(advice) | Self::Passed(advice) => {
                advice.help.clone()
            }
            Self::Bind(error) => error.help(),
            Self::Operations(..) => "choose another address, or off".into(),
            Self::Redirect(..) => {
                "choose another address; ports below 1024 need AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit".into()
            }
            Self::Telemetry(error) => error.help(),
            Self::DevSecret(_) => "set SECRET_KEY, or correct the file".into(),
            Self::Key(error) => error.help(),
            Self::KeyFile { .. } => {
                "name a file that does not exist yet, in a directory that this user can write".into()
            }
            Self::NothingToRotate => {
                "to change the secret, move it to SECRET_KEY_FALLBACKS and write a new one \
                                      (`freshk key generate`) into SECRET_KEY; nobody is logged out"
                    .into()
            }
            Self::Runtime(_) => "raise the limits of this user (ulimit -a)".into(),
            Self::Missing(_) => "`freshk serve` makes it; or correct database.url or --database".into(),
            Self::Storage(_) => {
                "the line above has the cause: where the database is locked stop the process that has \
                                 it, where the disk is full free some room; then try again"
                    .into()
            }
            Self::Directory(_) => "change to a directory that exists".into(),
        }
    }
}

/// Why the parts do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// The file of the key that signs tokens holds no such key.
    #[error("tokens.key_file: {path}: {error}")]
    KeyFile {
        /// The file.
        path: String,
        /// What is wrong with it.
        error: KeyError,
    },
    /// The name of the forwarding header will not do.
    #[error("server.forwarded_header is not the name of a header")]
    ForwardedHeader,
    /// TLS of the server's own.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Help for WiringError {
    fn help(&self) -> String {
        match self {
            Self::KeyFile { error, .. } => error.help(),
            Self::ForwardedHeader => "use x-forwarded-for, or what your proxy sends".into(),
            Self::Tls(_) => "leave server.tls out, behind a proxy with TLS, and report this".into(),
        }
    }
}
