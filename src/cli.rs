//! The command line, for the operator. A subcommand is a file: its arguments and its `run`.
//!
//! Exit codes: 0 done, 1 failed, 2 usage, 78 where `serve` is not to be tried again: a faulty configuration, or a database that is newer.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Loaded, Needs, Sources, Warning};
use crate::domain::Secret;
use crate::random::SystemRandom;

mod acme;
pub mod admin;
pub mod audit;
pub mod backups;
pub mod check;
pub mod child;
pub mod completions;
pub mod config;
pub mod confirm;
pub mod database;
pub mod db;
pub mod disk;
pub mod engine;
pub mod error;
pub mod event;
pub mod health;
pub mod http;
pub mod init;
pub mod interrupt;
pub mod key;
pub mod limit;
pub mod man;
mod node;
pub mod openapi;
pub mod otp;
pub mod output;
mod process;
pub mod progress;
mod reports;
pub mod selftest;
pub mod serve;
pub mod session;
pub mod sms;
pub mod stats;
mod table;
pub mod trial;
pub mod user;
pub mod watching;
pub mod webhook;
pub mod when;
pub mod wiring;
mod wrap;

pub use error::CliError;

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
  freshk serve --dev                      try it out on this machine
  freshk init                             write a first configuration
  freshk key generate                     print a SECRET_KEY
  freshk check                            check the deployment
  freshk user show +1234567890            show a user, also while the server runs
  freshk stats                            show the last hour, day and week
  freshk config show                      show every setting and where it came from

A setting comes from the first of these that has it: flags, the environment, the env file (.env), \
freshk.toml, the defaults.";

/// The configuration of the machine's server.
const SYSTEM_FILE: &str = "/etc/freshk/freshk.toml";

/// What every command takes.
#[derive(Args, Debug)]
#[command(next_help_heading = "Global options")]
#[expect(clippy::doc_markdown, reason = "the help prints it as it stands")]
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
        help = "The database, such as sqlite:///var/lib/freshk/freshk.db or postgres://user:password@host/database"
    )]
    pub database: Option<String>,
    /// Print JSON, for scripts
    #[arg(long, global = true)]
    pub json: bool,
    /// Show phone numbers in full
    #[arg(long, global = true)]
    pub show_phones: bool,
    /// Do not ask before changes that cannot be undone
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
#[expect(clippy::doc_markdown, reason = "the help prints it as it stands")]
pub enum Command {
    /// Run the server
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
    /// List messages, send a test message, manage test numbers
    #[command(subcommand)]
    Sms(sms::SmsCommand),
    /// List events, and send them to the webhooks again
    #[command(subcommand)]
    Event(event::EventCommand),
    /// List, test and switch on the webhooks that events go to
    #[command(subcommand)]
    Webhook(webhook::WebhookCommand),
    /// Read the audit trail
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Count requests, deliveries, logins and refusals
    Stats(stats::StatsArgs),
    /// Write a first configuration
    Init(init::InitArgs),
    /// Check the deployment
    Check(check::CheckArgs),
    /// Log in on a running server with a test number, call by call
    Selftest(selftest::SelftestArgs),
    /// Ask the running server whether it is ready
    Health(health::HealthArgs),
    /// Back up, check, migrate and restore the database
    #[command(subcommand)]
    Db(db::DbCommand),
    /// Show the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Generate and rotate secrets and keys
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Print the OpenAPI document
    Openapi(openapi::OpenapiArgs),
    /// Print the completion script of a shell
    Completions(completions::CompletionsArgs),
    /// Print or write the manual pages
    Man(man::ManArgs),
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
            no_limits: false,
            environment: environment(),
            directory: std::env::current_dir().map_err(CliError::Directory)?,
            user: Some(rustix::process::geteuid().as_raw()),
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
        None => engine::Place::of(config).dev_secret(),
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
        Command::Event(command) => event::run(command, &cli.global, &mut output),
        Command::Webhook(command) => webhook::run(command, &cli.global, &mut output),
        Command::Audit(command) => audit::run(command, &cli.global, &mut output),
        Command::Stats(args) => stats::run(*args, &cli.global, &mut output),
        Command::Check(args) => check::run(args, &cli.global, &mut output),
        Command::Selftest(args) => selftest::run(args, &cli.global, &mut output),
        Command::Health(args) => health::run(args, &cli.global, &mut output),
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
