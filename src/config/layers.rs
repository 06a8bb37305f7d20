//! The five layers, from the lowest: defaults, file, env file, environment, flags.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::fault::{Fault, Findings};
use super::sources::Sources;
use super::value::{self, Raw};
use super::values::{Layer, Values};
use super::variables::{CONFIG_VARIABLE, ENVIRONMENT};
use super::{database, file, keys, limits, mode, otp, server, top, variables};

/// The name of the configuration file where nobody names one.
const FILE: &str = "freshk.toml";
/// The env file that is read where `--env-file` names none.
const ENV_FILE: &str = ".env";
/// Where systemd puts the credentials of a unit.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// A file to read.
struct Named {
    /// How origins name it.
    name: String,
    path: PathBuf,
    /// What named it, if it must exist.
    by: Option<&'static str>,
}

/// All layers but the defaults, the lowest first.
pub(super) fn above_defaults(sources: &Sources, findings: &mut Findings) -> Vec<Layer> {
    let mut found = Vec::new();
    let is_closed = is_closed(&sources.directory);
    if is_closed {
        findings.warn(
            None,
            format!(
                "this user may not enter {}, so {FILE} and {ENV_FILE} are not looked for there",
                sources.directory.display()
            ),
            "change to a folder that it may enter, such as the one of the database",
        );
    }
    if let Some(file) = config_file(sources, is_closed)
        && is_trusted(&file, "--config", sources, findings)
        && let Some(text) = read(&file, findings)
    {
        let layer = file::layer(&file.name, &text, findings);
        warn_of_open_file(&layer, &file, findings);
        found.push(layer);
    }
    let env_file = match &sources.env_file {
        Some(path) => Some(Named::by("--env-file", path, sources)),
        None => (!is_closed).then(|| Named::usual(ENV_FILE, sources)),
    };
    if let Some(env_file) = env_file
        && is_trusted(&env_file, "--env-file", sources, findings)
        && let Some(text) = read(&env_file, findings)
    {
        let variables = variables::env_file(&env_file.name, &text, &mut findings.faults);
        let layer = variables::layer(&env_file.name, &variables, &sources.directory, findings);
        warn_of_open_file(&layer, &env_file, findings);
        found.push(layer);
    }
    found.push(variables::layer(ENVIRONMENT, &sources.environment, &sources.directory, findings));
    found.push(flags(sources));
    found
}

/// Whether this user may not even look for a file there. A link that leads to such a place is no such place.
fn is_closed(directory: &Path) -> bool {
    let looked = directory.join(FILE).symlink_metadata();
    looked.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

/// The file that is named, else the first of the usual ones that is there; the working directory is passed over where it is
/// closed. Development on a machine that serves too must not begin with that server's file.
fn config_file(sources: &Sources, is_closed: bool) -> Option<Named> {
    if let Some(path) = &sources.config {
        return Some(Named::by("--config", path, sources));
    }
    let set =
        |name: &str| sources.environment.get(name).filter(|text| !text.trim().is_empty()).map(Path::new);
    if let Some(path) = set(CONFIG_VARIABLE) {
        return Some(Named::by(CONFIG_VARIABLE, path, sources));
    }
    let elsewhere = [set(CREDENTIALS).map(|dir| dir.join(FILE)), Some(sources.system_file.clone())];
    let elsewhere = elsewhere.into_iter().flatten().filter(|_| !sources.dev).map(|path| Named {
        name: path.display().to_string(),
        path,
        by: None,
    });
    // A file that may not be looked at is there.
    let is_there = |file: &Named| !file.path.is_dir() && !matches!(file.path.try_exists(), Ok(false));
    let here = (!is_closed).then(|| Named::usual(FILE, sources));
    here.into_iter().chain(elsewhere).find(is_there)
}

impl Named {
    fn by(what: &'static str, path: &Path, sources: &Sources) -> Self {
        Self { name: path.display().to_string(), path: sources.directory.join(path), by: Some(what) }
    }

    fn usual(name: &str, sources: &Sources) -> Self {
        Self { name: name.to_owned(), path: sources.directory.join(name), by: None }
    }
}

/// Whether a file of the working directory that nobody named may be read. A configuration names programs to run and files to write: whoever can put one
/// into a folder where others work, such as /tmp, must not have them run his.
fn is_trusted(file: &Named, flag: &str, sources: &Sources, findings: &mut Findings) -> bool {
    let is_here = file.by.is_none() && Path::new(&file.name).is_relative();
    let Some(user) = sources.user.filter(|_| is_here) else { return true };
    // Root by sudo is somebody whose own files are no stranger's.
    let before = sources.environment.get("SUDO_UID").filter(|_| user == 0).and_then(|uid| uid.parse().ok());
    let Some(owner) = mode::stranger(&file.path, &[0, user, before.unwrap_or(user)]) else { return true };
    findings.faults.push(Fault::of_file(
        &file.name,
        format!(
            "it was found in this folder and belongs to another user (number {owner}), so it is not read"
        ),
        format!("if you trust it, name it: {flag} {}; else run this in another folder", file.name),
    ));
    findings.unread = true;
    false
}

/// Reads a file as text; `None` if nobody named it and it is not there, or if it cannot be read, which is noted.
fn read(file: &Named, findings: &mut Findings) -> Option<String> {
    if file.by.is_none() && file.path.is_dir() {
        return None;
    }
    let error = match std::fs::read_to_string(&file.path) {
        Ok(text) => return Some(text),
        Err(error) if error.kind() == ErrorKind::NotFound && file.by.is_none() => return None,
        Err(error) => error,
    };
    let help = match (error.kind(), file.by) {
        (ErrorKind::NotFound, Some(by)) => format!("name a file that exists, or leave {by} out"),
        (ErrorKind::PermissionDenied, _) => {
            "run this as the user that the server runs as, for example with `sudo -u freshk`".to_owned()
        }
        _ => "name a file of UTF-8 text".to_owned(),
    };
    let fault = Fault::of_file(&file.name, format!("it cannot be read: {error}"), help);
    findings.faults.push(match file.by {
        Some(by) => fault.from(by),
        None => fault,
    });
    findings.unread = true;
    None
}

/// A file with secrets that everybody on the machine can read is worth a word, and so is any that they can change.
fn warn_of_open_file(layer: &Layer, Named { name, path, .. }: &Named, findings: &mut Findings) {
    // What is no file, such as /dev/null, is nobody's to change.
    if path.is_file() && mode::gives(path, mode::OTHERS_WRITE) {
        findings.warn(
            None,
            format!("everybody can change {name}, and with it the programs that it names"),
            format!("if it is yours, chmod 600 {name}"),
        );
        return;
    }
    let holds_secrets = keys::all().any(|key| key.secret && layer.sets(key));
    if holds_secrets && mode::gives(path, mode::OTHERS_READ) {
        findings.warn(
            None,
            format!("{name} holds secrets and everybody can read it"),
            format!("if it is yours, chmod 600 {name}"),
        );
    }
}

/// The flags.
fn flags(sources: &Sources) -> Layer {
    let mut layer = Layer::default();
    if let Some(url) = &sources.database {
        layer.set(&database::URL, Raw::Text(url.clone()), "--database");
    }
    if let Some(address) = &sources.listen {
        layer.set(&server::LISTEN, Raw::Text(address.clone()), "--listen");
    }
    if sources.no_limits {
        for (key, value) in limits::OFF.into_iter().chain([otp::MOST_FAILURES]) {
            layer.set(key, Raw::Text(value.to_owned()), "--no-limits");
        }
    }
    if sources.dev {
        layer.set(&top::DEBUG, Raw::Text("true".to_owned()), "--dev");
    }
    layer
}

/// The defaults; those of debug where `debug` is on.
pub(super) fn defaults(debug: bool) -> Layer {
    let mut layer = Layer::default();
    for key in keys::all() {
        match key.in_debug {
            Some(default) if debug => layer.set(key, Raw::Text(default.to_owned()), "default (debug)"),
            _ => layer.set(key, Raw::Text(key.default.to_owned()), "default"),
        }
    }
    layer
}

/// Whether debug is on, as far as it can be told before the defaults are chosen.
pub(super) fn debug(values: &Values) -> bool {
    values.get(&top::DEBUG).and_then(|(raw, _)| value::switch(raw.one().ok()?.trim()).ok()).unwrap_or(false)
}
