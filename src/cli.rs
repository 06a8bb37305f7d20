//! The command line, for the operator. A subcommand is a file: its arguments and its `run`.
//!
//! Exit codes: 0 done, 1 failed, 2 usage, 78 a faulty configuration of `serve`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::auth::AuthError;
use crate::config::{Config, Faults, Loaded, Needs, Sources, Warning, dev_secret};
use crate::domain::Secret;
use crate::http::server::BindError;
use crate::random::SystemRandom;
use crate::storage::sqlite::{LockError, OpenError};
use crate::telemetry;
use crate::tokens::keys::KeyError;

pub mod admin;
pub mod audit;
pub mod backups;
pub mod check;
pub mod completions;
pub mod config;
pub mod confirm;
pub mod db;
pub mod disk;
pub mod http;
pub mod init;
pub mod interrupt;
pub mod key;
pub mod limit;
pub mod man;
pub mod openapi;
pub mod otp;
pub mod output;
mod process;
pub mod progress;
pub mod selftest;
pub mod serve;
pub mod session;
pub mod sms;
pub mod stats;
pub mod user;
pub mod when;
pub mod wiring;

use output::Output;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "freshk",
    version,
    about = "Phone login for small teams: one binary, one SQLite file, one VPS",
    disable_help_subcommand = true,
    after_long_help = EXAMPLES)]
pub struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  freshk serve --dev                        try it out on this machine
  freshk config example > freshk.toml       a configuration to begin with
  freshk key generate                       a SECRET_KEY
  freshk user show +1234567890              a person, beside the running server
  freshk stats                              how it goes
  freshk config show                        what is in force, and where it came from
  freshk --env-file .env.production config show --json

A setting is taken from the flags, the environment, the env file (.env), freshk.toml or the \
defaults: the first of them that has it.";

/// The configuration of the machine's server.
const SYSTEM_FILE: &str = "/etc/freshk/freshk.toml";

/// What every command takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The configuration file [default: the first of ./freshk.toml, $CREDENTIALS_DIRECTORY/freshk.toml and
    /// /etc/freshk/freshk.toml that exists; FRESHK_CONFIG names one too]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// The env file [default: .env, if it is there]
    #[arg(long, value_name = "FILE", global = true)]
    pub env_file: Option<PathBuf>,
    /// The database
    #[arg(
        long,
        value_name = "URL",
        global = true,
        value_parser = not_empty,
        help = "The database, such as sqlite:///var/lib/freshk/freshk.db"
    )]
    pub database: Option<String>,
    /// Answer in JSON, for scripts
    #[arg(long, global = true)]
    pub json: bool,
    /// Show phone numbers in full
    #[arg(long, global = true)]
    pub show_phones: bool,
    /// Do not ask before what cannot be undone
    #[arg(long, global = true)]
    pub yes: bool,
}

/// A flag that is given has a value: an empty one would silently mean the configured one.
fn not_empty(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("it is empty: give a value, or leave the flag out".to_owned());
    }
    Ok(text.to_owned())
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer the phones
    Serve(serve::ServeArgs),
    /// List, create, change, import and export users
    #[command(subcommand)]
    User(user::UserCommand),
    /// List and end sessions
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// List and delete codes
    #[command(subcommand)]
    Otp(otp::OtpCommand),
    /// Show and reset quotas
    #[command(subcommand)]
    Limit(limit::LimitCommand),
    /// List messages, send one to try the provider, name test numbers
    #[command(subcommand)]
    Sms(sms::SmsCommand),
    /// Read the audit trail
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Count requests, deliveries, logins and refusals
    Stats(stats::StatsArgs),
    /// Write a configuration to begin with
    Init(init::InitArgs),
    /// Go through the deployment checklist
    Check(check::CheckArgs),
    /// Log in on a running server with a test number, call by call
    Selftest(selftest::SelftestArgs),
    /// Look after the database: backups, checks, restoring
    #[command(subcommand)]
    Db(db::DbCommand),
    /// Show the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Make secrets and keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Print the description of the API
    Openapi(openapi::OpenapiArgs),
    /// Print what a shell needs to complete the command line
    Completions(completions::CompletionsArgs),
    /// Print or write manual pages
    Man(man::ManArgs),
}

/// Why a command failed. Each says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The configuration is not good.
    #[error(transparent)]
    Config(#[from] Faults),
    /// The answer could not be written.
    #[error("the answer could not be written: {0}\nsee to it that standard output can be written to")]
    Output(#[from] std::io::Error),
    /// The parts do not fit together.
    #[error(transparent)]
    Wiring(#[from] wiring::WiringError),
    /// The database cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Somebody else serves it.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The database failed.
    #[error(
        "the database failed: {0}\nsee the log above for the cause: free some room where the disk is full"
    )]
    Database(AuthError),
    /// A number that the configuration names cannot be a test number.
    #[error("sms.test_numbers: {0}")]
    TestNumber(String),
    /// Nothing can listen there.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Nothing can listen there for operators.
    #[error("ops.listen: cannot listen on {0}: {1}; choose another address, or off")]
    Operations(SocketAddr, #[source] std::io::Error),
    /// The log cannot be written.
    #[error(transparent)]
    Telemetry(#[from] telemetry::InitError),
    /// The secret beside the database.
    #[error(
        "the secret beside the database can be neither read nor made: {0}\nset SECRET_KEY, or mend the file"
    )]
    DevSecret(std::io::Error),
    /// A key is no good, or cannot be made.
    #[error("tokens.key_file: {0}")]
    Key(#[from] KeyError),
    /// The file of a key.
    #[error("the key file {path} cannot be written: {error}\nname a file that does not exist yet, in a directory that this user can write to", path = .path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: std::io::Error,
    },
    /// `key rotate` where a secret signs.
    #[error(
        "tokens.algorithm is HS256, which signs with SECRET_KEY and has no key file\nto change the secret, move it to \
         SECRET_KEY_FALLBACKS and write a new one (freshk key generate) into SECRET_KEY; nobody is logged out"
    )]
    NothingToRotate,
    /// Threads or signals.
    #[error(
        "the system refused a thread, a signal or a socket: {0}\nraise the limits of this user (ulimit -a)"
    )]
    Runtime(std::io::Error),
    /// The command line asks for what cannot be, as far as anybody can tell without looking; it exits with 2.
    #[error("{0}")]
    Usage(String),
    /// What was asked for cannot be done as things are.
    #[error("{0}")]
    Refused(String),
    /// There is no database yet.
    #[error(
        "there is no database {}\n`freshk serve` makes it; or correct database.url or --database",
        .0.display()
    )]
    Missing(PathBuf),
    /// The database failed under a command.
    #[error(
        "the database failed: {0}; nothing was changed\nsee the line above for the cause: where it is locked stop the \
         process that has it, where the disk is full free some room; then try again"
    )]
    Storage(#[from] crate::storage::StoreError),
    /// There is no working directory.
    #[error("the working directory cannot be read: {0}\nchange to a directory that exists")]
    Directory(std::io::Error),
}

impl CliError {
    /// What the process exits with after `command`: 2 for a usage error, 78 (`EX_CONFIG` of sysexits.h) where the server's
    /// configuration is at fault and starting it again cannot help, else 1.
    pub const fn exit_code(&self, command: &Command) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Config(_) | Self::Wiring(_) | Self::TestNumber(_)
                if matches!(command, Command::Serve(_)) =>
            {
                78
            }
            _ => 1,
        }
    }
}

impl Global {
    /// Where the configuration comes from, for this process.
    ///
    /// # Errors
    /// [`CliError::Directory`]
    pub fn sources(&self) -> Result<Sources, CliError> {
        Ok(Sources {
            config: self.config.clone(),
            env_file: self.env_file.clone(),
            database: self.database.clone(),
            listen: None,
            dev: false,
            environment: environment(),
            directory: std::env::current_dir().map_err(CliError::Directory)?,
            system_file: PathBuf::from(SYSTEM_FILE),
        })
    }
}

/// Loads what a command uses of the configuration, and writes its warnings to standard error.
///
/// # Errors
/// [`CliError::Config`] with every fault.
pub fn load(sources: &Sources, needs: Needs) -> Result<Loaded, CliError> {
    let loaded = Config::load_for(sources, needs)?;
    warn(&loaded.warnings);
    Ok(loaded)
}

fn warn(warnings: &[Warning]) {
    for warning in warnings {
        output::note(&format!("warning: {warning}"));
    }
}

/// The configured secret; in debug, where it may be missing, one that is made once and kept beside the database.
///
/// # Errors
/// [`CliError::DevSecret`]
pub(crate) fn secret(config: &Config) -> Result<Secret, CliError> {
    match &config.secret_key {
        Some(secret) => Ok(secret.clone()),
        None => {
            dev_secret::read_or_create(config.database.url.path(), &SystemRandom).map_err(CliError::DevSecret)
        }
    }
}

/// Runs a command.
///
/// # Errors
/// [`CliError`], for `main` to report.
pub fn run(cli: &Cli) -> Result<(), CliError> {
    let mut output = Output::stdout(cli.global.json);
    match &cli.command {
        Command::Serve(args) => serve::run(args, &cli.global, &mut output),
        Command::Openapi(_) => openapi::run(&mut output),
        Command::User(command) => user::run(command, &cli.global, &mut output),
        Command::Session(command) => session::run(command, &cli.global, &mut output),
        Command::Otp(command) => otp::run(command, &cli.global, &mut output),
        Command::Limit(command) => limit::run(command, &cli.global, &mut output),
        Command::Sms(command) => sms::run(command, &cli.global, &mut output),
        Command::Audit(command) => audit::run(command, &cli.global, &mut output),
        Command::Stats(args) => stats::run(*args, &cli.global, &mut output),
        Command::Check(args) => check::run(args, &cli.global, &mut output),
        Command::Selftest(args) => selftest::run(args, &cli.global, &mut output),
        Command::Init(args) => init::run(args, &cli.global, &SystemRandom, &mut output),
        Command::Completions(args) => completions::run(args, &mut output),
        Command::Man(args) => man::run(args, &mut output),
        Command::Db(command) => db::run(command, &cli.global, &mut output),
        Command::Config(command) => config::run(command, &cli.global, &mut output),
        Command::Key(command) => key::run(command, &cli.global, &SystemRandom, &mut output),
    }
}

/// Names that are not UTF-8 are none of ours; in values that are not, a replacement character tells of it.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_parser_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_flags_go_before_and_after_the_command() {
        for line in ["freshk --json config show", "freshk config show --json"] {
            assert!(Cli::try_parse_from(line.split(' ')).unwrap().global.json);
        }
    }
}
