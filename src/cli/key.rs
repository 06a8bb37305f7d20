//! `freshk key`: secrets, and the keys of asymmetric signing.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::output::Output;
use super::{CliError, Global};
use crate::config::Needs;
use crate::config::tokens::Signing;
use crate::domain::Algorithm;
use crate::files::{Draft, Owner, PRIVATE};
use crate::random::Random;
use crate::tokens::keys;

/// What can be done with secrets and keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Generate a secret, or a key
    #[command(after_long_help = "\
Examples:
  echo \"SECRET_KEY=$(freshk key generate)\" >> .env
  freshk key generate --algorithm EdDSA --out /etc/freshk/tokens.pem

When the secret is changed, the old one goes to SECRET_KEY_FALLBACKS until its tokens have expired. To have an \
existing Django project accept the tokens, use the SECRET_KEY of that project instead.")]
    Generate(GenerateArgs),
    /// Add a new signing key; the earlier ones only verify from then on
    #[command(after_long_help = "\
Example:
  freshk --config /etc/freshk/freshk.toml key rotate

The file is replaced as a whole, with mode 0600. Nobody is logged out: tokens of the old key stay good, and the next \
refresh gives one signed with the new key.")]
    Rotate,
}

/// What to make.
#[derive(Args, Debug)]
pub struct GenerateArgs {
    /// What the key is for; HS256 takes a secret
    #[arg(long, value_name = "ALGORITHM", default_value = "HS256", ignore_case = true)]
    pub algorithm: Algorithm,
    /// A file to write it to, with mode 0600, instead of standard output; it must not exist yet
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

impl ValueEnum for Algorithm {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.as_str()))
    }
}

/// What `key rotate` uses.
const TOKENS: Needs = Needs::Only(&[&["tokens"]]);

/// 384 bits make 64 characters without padding.
const BYTES: usize = 48;

/// Runs a command.
///
/// # Errors
/// When no key can be made, or a file or the answer cannot be written.
pub fn run(
    command: &KeyCommand,
    global: &Global,
    random: &dyn Random,
    output: &mut Output,
) -> Result<(), CliError> {
    match command {
        KeyCommand::Generate(args) => generate(args, random, output),
        KeyCommand::Rotate => rotate(global, output),
    }
}

fn generate(args: &GenerateArgs, random: &dyn Random, output: &mut Output) -> Result<(), CliError> {
    let algorithm = args.algorithm;
    let (name, key) = match algorithm {
        Algorithm::Hs256 => ("secret_key", fresh(random)),
        _ => ("key", keys::generate(algorithm)?),
    };
    let (told, text) = match &args.out {
        None => (json!({ name: key }), format!("{}\n", key.trim_end())),
        Some(path) => {
            write_new(path, &key).map_err(|error| CliError::KeyFile { path: path.clone(), error })?;
            (
                json!({ "algorithm": algorithm.as_str(), "path": path }),
                format!("{} key written to {}\n", algorithm.as_str(), path.display()),
            )
        }
    };
    if output.json {
        output.json(&told)?;
    } else {
        output.text(&text)?;
    }
    Ok(())
}

fn rotate(global: &Global, output: &mut Output) -> Result<(), CliError> {
    let loaded = super::load(&global.sources()?, TOKENS)?;
    let Signing::KeyFile { algorithm, path, text } = loaded.config.tokens.signing else {
        return Err(CliError::NothingToRotate);
    };
    let rotated = keys::rotate(algorithm, text.expose())?;
    replace(&path, &rotated).map_err(|error| CliError::KeyFile { path: path.clone(), error })?;
    let ttl = humantime::format_duration(loaded.config.tokens.lifetimes.refresh);
    if output.json {
        output.json(&json!({ "algorithm": algorithm.as_str(), "path": path }))?;
    } else {
        output.sentences(&format!(
            "a new {} key is first in {}; those after it only verify\n\
             next: reload freshk (systemctl reload freshk, or SIGHUP), so that it signs with the new key.\n\
             After {ttl} (tokens.refresh_ttl) every token of the old ones has expired, and their PUBLIC KEY\n\
             blocks can be deleted from the file.\n",
            algorithm.as_str(),
            path.display()
        ))?;
    }
    Ok(())
}

/// A secret of 64 characters that need no quoting, neither in a shell nor in a URL.
pub(super) fn fresh(random: &dyn Random) -> String {
    let mut bytes = [0; BYTES];
    random.fill(&mut bytes);
    data_encoding::BASE64URL_NOPAD.encode(&bytes)
}

/// Writes a file that must not exist yet, for its owner alone.
fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(path)?;
    writeln!(file, "{}", text.trim_end())?;
    file.sync_all()
}

/// Replaces a file as a whole: whoever reads it meanwhile, or after a crash, finds the old text or the new. The server's
/// user must be able to read it, whoever rotates.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let draft = Draft::beside(&path, "part", Some(Owner::beside(&path)?))?;
    writeln!(draft.file(), "{}", text.trim_end())?;
    draft.replace(&path)
}
