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

mod deployment;
mod questions;

use deployment::{Deployment, Proxy};
use questions::{Answers, Questions};

/// What is asked where a flag does not say it; every answer may be left out and written into the file later.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  freshk init
  freshk init --account-sid AC… --phone-number +15005550006 \\
      --public-url https://api.example.com --brand Example --countries DE,AT
  freshk init --systemd --proxy caddy

Asks for what no flag says, on a terminal; an empty answer leaves the key out, to be written later. The Auth Token is \
asked for without showing it, or taken from TWILIO_AUTH_TOKEN: a flag would be seen by everybody on the machine. The \
file gets a new secret and can be read by its owner alone. With --force an existing file is replaced, and its secret \
with it: every token that was signed with it is refused then. With --systemd the unit, where no package has installed it, \
and the site of the proxy are written beside the file, and the commands are printed that put everything in place.")]
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
    /// The only countries to send to, by their two letters: DE,AT
    #[arg(long, value_name = "LIST")]
    pub countries: Option<String>,
    /// For a service under systemd on this machine: unit, proxy and commands, too
    #[arg(long)]
    pub systemd: bool,
    /// With --systemd, the proxy with TLS on this machine [default: caddy]
    #[arg(long, value_enum, requires = "systemd")]
    pub proxy: Option<Proxy>,
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
    let beside = if args.systemd { Deployment::paths(&path, args.proxy) } else { Vec::new() };
    if let Some(existing) = std::iter::once(&path).chain(&beside).find(|path| path.exists())
        && !args.force
    {
        let what = if *existing == path { "it and its secret" } else { "it" };
        return Err(CliError::refused(
            format!("{} exists already", existing.display()),
            format!("edit it, or replace {what} with --force"),
        ));
    }
    // Before anybody has answered five questions for nothing.
    let draft = New::at(path.clone())?;
    let answers = Questions::of(args)?.ask()?;
    let url = HttpUrl::parse(&answers.public_url).ok();
    let deployment = args.systemd.then(|| Deployment::of(url.as_ref(), answers.proxy(), &path));
    draft.write(&text(&answers, url.as_ref(), &key::fresh(random), args.systemd))?;
    let mut files = vec![path.clone()];
    for piece in deployment.iter().flat_map(Deployment::pieces) {
        New::at(piece.path.clone())?.write(&piece.text)?;
        files.push(piece.path);
    }
    let left = left(&answers, &path, deployment.as_ref());
    let commands = deployment.as_ref().map(Deployment::commands).unwrap_or_default();
    if output.json {
        let mut told = json!({ "file": path, "left": left });
        if args.systemd {
            told["files"] = json!(files);
            told["commands"] = json!(commands);
        }
        return Ok(output.json(&told)?);
    }
    Ok(output.text(&told(&files, &left, &commands))?)
}

/// A file that is made beside its name, so that one that cannot be written is told before anything is done.
struct New {
    draft: Draft,
    path: PathBuf,
}

impl New {
    fn at(path: PathBuf) -> Result<Self, CliError> {
        let draft = Owner::beside(&path).and_then(|owner| Draft::beside(&path, "part", Some(owner)));
        match draft {
            Ok(draft) => Ok(Self { draft, path }),
            Err(error) => Err(unwritable(&path, &error)),
        }
    }

    fn write(self, text: &str) -> Result<(), CliError> {
        let written = self.draft.file().write_all(text.as_bytes());
        written.and_then(|()| self.draft.replace(&self.path)).map_err(|error| unwritable(&self.path, &error))
    }
}

fn unwritable(path: &Path, error: &io::Error) -> CliError {
    CliError::refused(
        format!("{} cannot be written: {error}", path.display()),
        "name a file in a directory that exists and can be written, with --config",
    )
}

fn told(files: &[PathBuf], left: &[String], commands: &[String]) -> String {
    let names: Vec<_> = files.iter().map(|file| file.display().to_string()).collect();
    let mut told = match names.as_slice() {
        [one] => format!("{one} is written. Next:\n"),
        several => format!("Written: {}. Next:\n", several.join(", ")),
    };
    // Writing to a string cannot fail.
    for step in left {
        let _ = writeln!(told, "  - {step}");
    }
    if !commands.is_empty() {
        let _ = writeln!(told, "  - run as root:\n\n{}", commands.join("\n"));
    }
    told
}

fn text(answers: &Answers, url: Option<&HttpUrl>, secret: &str, is_deployed: bool) -> String {
    let line = |name: &str, value: &str| {
        if value.is_empty() {
            format!("# {name} = \"\"\n")
        } else {
            // JSON's strings are TOML's basic strings.
            format!("{name} = {}\n", json!(value))
        }
    };
    let host = url.map(HttpUrl::host).unwrap_or_default();
    let hosts = if host.is_empty() { String::new() } else { format!("allowed_hosts = [{}]\n", json!(host)) };
    let sms = match answers.brand.as_str() {
        "" => String::new(),
        brand => format!("[sms]\n{}\n", line("brand", brand)),
    };
    let phone = match answers.countries() {
        countries if countries.is_empty() => String::new(),
        countries => format!("[phone]\nallowed_countries = {}\n\n", json!(countries)),
    };
    // What the unit lets the server write, and the proxy of this machine.
    let place = if is_deployed {
        "trusted_proxies = [\"127.0.0.1\", \"::1\"] # the proxy with TLS, on this machine\n\n\
         [database]\nurl = \"sqlite:///var/lib/freshk/freshk.db\"\n\n\
         [backup]\ndir = \"/var/backups/freshk\" # better: on another disk\n\n"
    } else {
        "# trusted_proxies = [\"127.0.0.1\"] # behind a proxy on this machine\n\n"
    };
    format!(
        "# `freshk config example` prints every key, `freshk config show` every value and where it came from.\n\
         {}\n[server]\n{}{hosts}{place}\
         {phone}{sms}[twilio]\n{}{}{}",
        line("secret_key", secret),
        line("public_url", &answers.public_url),
        line("account_sid", &answers.account_sid),
        line("auth_token", &answers.auth_token),
        line("phone_number", &answers.phone_number),
    )
}

fn left(answers: &Answers, path: &Path, deployment: Option<&Deployment>) -> Vec<String> {
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
    if let Some(deployment) = deployment {
        left.extend(deployment.left());
        return left;
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
