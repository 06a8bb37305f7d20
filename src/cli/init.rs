//! `freshk init`: a configuration to begin with.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::output::{self, Output};
use super::{CliError, Global, key};
use crate::files::{Draft, Owner};
use crate::random::Random;

/// What is asked where a flag does not say it; every answer may be left out and written into the file later.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  freshk init                               asks
  freshk init --account-sid AC… --phone-number +15005550006 --public-url https://api.example.com

The Auth Token is asked for, or taken from TWILIO_AUTH_TOKEN: a flag would be seen by everybody on the machine. \
The file gets a fresh secret and can be read by its owner alone. With --force an existing file is replaced, and \
its secret with it: every token that was signed with it is void then.")]
pub struct InitArgs {
    /// Replace an existing file
    #[arg(long)]
    pub force: bool,
    /// Twilio's Account SID
    #[arg(long, value_name = "SID")]
    pub account_sid: Option<String>,
    /// The number that sends
    #[arg(long, value_name = "NUMBER")]
    pub phone_number: Option<String>,
    /// The URL under which the world reaches the server
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
}

struct Answers {
    account_sid: String,
    auth_token: String,
    phone_number: String,
    public_url: String,
}

/// Writes the file and says what is left to do.
///
/// # Errors
/// A file that is there already, or cannot be written.
pub fn run(
    args: &InitArgs,
    global: &Global,
    random: &dyn Random,
    output: &mut Output,
) -> Result<(), CliError> {
    let path = global.config.clone().unwrap_or_else(|| PathBuf::from("freshk.toml"));
    if path.exists() && !args.force {
        return Err(CliError::refused(
            format!("{} exists already", path.display()),
            "edit it, or replace it and its secret with --force",
        ));
    }
    let answers = ask(args)?;
    write(&path, &text(&answers, &key::fresh(random))).map_err(|error| {
        CliError::refused(
            format!("{} cannot be written: {error}", path.display()),
            "name a file in a directory that exists and can be written, with --config",
        )
    })?;
    let left = left(&answers);
    if output.json {
        return Ok(output.json(&json!({ "file": path, "left": left }))?);
    }
    let mut told = format!("{} is written. Left to do:\n", path.display());
    for step in left {
        // Writing to a string cannot fail.
        let _ = writeln!(told, "  - {step}");
    }
    Ok(output.text(&told)?)
}

fn ask(args: &InitArgs) -> io::Result<Answers> {
    let asks = io::stdin().is_terminal() && io::stderr().is_terminal();
    let answer = |given: Option<String>, question: &str| -> io::Result<String> {
        match given {
            Some(given) => Ok(given),
            None if !asks => Ok(String::new()),
            None => {
                output::note(&format!("{question} (empty: later)"));
                let mut line = String::new();
                io::stdin().lock().read_line(&mut line)?;
                Ok(line.trim().to_owned())
            }
        }
    };
    Ok(Answers {
        account_sid: answer(args.account_sid.clone(), "Twilio's Account SID, AC…")?,
        auth_token: answer(
            std::env::var("TWILIO_AUTH_TOKEN").ok(),
            "Twilio's Auth Token; it is shown as you type",
        )?,
        phone_number: answer(args.phone_number.clone(), "The number that sends, +15005550006")?,
        public_url: answer(args.public_url.clone(), "The URL of this server, https://api.example.com")?,
    })
}

fn text(answers: &Answers, secret: &str) -> String {
    let line = |name: &str, value: &str| {
        if value.is_empty() {
            format!("# {name} = \"\"\n")
        } else {
            // JSON's strings are TOML's basic strings.
            format!("{name} = {}\n", json!(value))
        }
    };
    let host = answers.public_url.split("//").nth(1).unwrap_or_default();
    let host = host.split(['/', ':']).next().unwrap_or_default();
    let hosts = if host.is_empty() { String::new() } else { format!("allowed_hosts = [{}]\n", json!(host)) };
    format!(
        "# `freshk config example` shows every key, `freshk config show` what is in force.\n\
         {}\n[server]\n{}{hosts}# trusted_proxies = [\"127.0.0.1\"] # behind a proxy on this machine\n\n\
         [twilio]\n{}{}{}",
        line("secret_key", secret),
        line("public_url", &answers.public_url),
        line("account_sid", &answers.account_sid),
        line("auth_token", &answers.auth_token),
        line("phone_number", &answers.phone_number),
    )
}

fn left(answers: &Answers) -> Vec<&'static str> {
    let no_twilio = [&answers.account_sid, &answers.auth_token, &answers.phone_number]
        .iter()
        .any(|answer| answer.is_empty());
    let mut left = Vec::new();
    if no_twilio {
        left.push("give Twilio's account_sid, auth_token and phone_number in [twilio]");
    }
    if answers.public_url.is_empty() {
        left.push("give server.public_url, so that Twilio's delivery reports come in");
    }
    left.push("put a proxy with TLS before it and name it in server.trusted_proxies");
    left.push("set backup.dir, best on another disk");
    left.push("see what is still missing: freshk check");
    left.push("start it: freshk serve");
    left
}

/// Under another name first, so that there is never half a file, and for the owner alone from its first byte: the owner of
/// the file that it replaces, else of the directory.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let draft = Draft::beside(path, "part", Some(Owner::beside(path)?))?;
    draft.file().write_all(text.as_bytes())?;
    draft.replace(path)
}
