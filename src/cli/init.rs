//! `freshk init`: a first configuration.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::output::Output;
use super::{CliError, Global, key};
use crate::domain::HttpUrl;
use crate::files::{Draft, Owner};
use crate::random::Random;

mod questions;

use questions::{Answers, Questions};

/// What is asked where a flag does not say it; every answer may be left out and written into the file later.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  freshk init
  freshk init --account-sid AC… --phone-number +15005550006 \\
      --public-url https://api.example.com --brand Example

Asks for what no flag says, on a terminal; an empty answer leaves the key out, to be written later. The Auth Token is \
asked for without showing it, or taken from TWILIO_AUTH_TOKEN: a flag would be seen by everybody on the machine. The \
file gets a new secret and can be read by its owner alone. With --force an existing file is replaced, and its secret \
with it: every token that was signed with it is refused then.")]
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
    /// The name of the app, as the text message has it
    #[arg(long, value_name = "NAME")]
    pub brand: Option<String>,
}

/// Writes the file and lists what is left to do.
///
/// # Errors
/// A file that exists already or cannot be written, or a flag whose value the server would refuse.
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
    let unwritable = |error: io::Error| {
        CliError::refused(
            format!("{} cannot be written: {error}", path.display()),
            "name a file in a directory that exists and can be written, with --config",
        )
    };
    // Before anybody has answered five questions for nothing.
    let draft = Owner::beside(&path).and_then(|owner| Draft::beside(&path, "part", Some(owner)));
    let draft = draft.map_err(unwritable)?;
    let answers = Questions::of(args).ask()?;
    let written = draft.file().write_all(text(&answers, &key::fresh(random)).as_bytes());
    written.and_then(|()| draft.replace(&path)).map_err(unwritable)?;
    let left = left(&answers, &path);
    if output.json {
        return Ok(output.json(&json!({ "file": path, "left": left }))?);
    }
    let mut told = format!("{} is written. Next:\n", path.display());
    for step in left {
        // Writing to a string cannot fail.
        let _ = writeln!(told, "  - {step}");
    }
    Ok(output.text(&told)?)
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
    let url = HttpUrl::parse(&answers.public_url).ok();
    let host = url.as_ref().map(HttpUrl::host).unwrap_or_default();
    let hosts = if host.is_empty() { String::new() } else { format!("allowed_hosts = [{}]\n", json!(host)) };
    let sms = match answers.template() {
        None => String::new(),
        Some(template) => format!("[sms]\n{}\n", line("template", &template)),
    };
    format!(
        "# `freshk config example` prints every key, `freshk config show` every value and where it came from.\n\
         {}\n[server]\n{}{hosts}# trusted_proxies = [\"127.0.0.1\"] # behind a proxy on this machine\n\n\
         {sms}[twilio]\n{}{}{}",
        line("secret_key", secret),
        line("public_url", &answers.public_url),
        line("account_sid", &answers.account_sid),
        line("auth_token", &answers.auth_token),
        line("phone_number", &answers.phone_number),
    )
}

fn left(answers: &Answers, path: &Path) -> Vec<String> {
    let no_twilio = [&answers.account_sid, &answers.auth_token, &answers.phone_number]
        .iter()
        .any(|answer| answer.is_empty());
    let mut left = Vec::new();
    if no_twilio {
        left.push("write Twilio's account_sid, auth_token and phone_number into [twilio]".to_owned());
    }
    if answers.public_url.is_empty() {
        left.push("write server.public_url, so that Twilio can report deliveries".to_owned());
    }
    left.push("put a proxy with TLS in front of it and name it in server.trusted_proxies".to_owned());
    left.push("set backup.dir, preferably on another disk".to_owned());
    // Where it is found without being named.
    let found = path == Path::new("freshk.toml") || path == Path::new(super::SYSTEM_FILE);
    let named = if found { String::new() } else { format!(" --config {}", path.display()) };
    left.push(format!("see what is still missing: freshk{named} check"));
    left.push(format!("start it: freshk{named} serve"));
    left
}
