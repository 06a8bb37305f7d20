//! The five layers, from the lowest: defaults, file, env file, environment, flags.

use std::io;
use std::path::{Path, PathBuf};

use super::fault::{Fault, Findings};
use super::sources::Sources;
use super::value::{self, Raw};
use super::values::{Layer, Values};
use super::{database, file, keys, mode, server, top, variables};

/// The file that is read where `--config` names none.
const FILE: &str = "freshk.toml";
/// The env file that is read where `--env-file` names none.
const ENV_FILE: &str = ".env";

/// All layers but the defaults, the lowest first.
pub(super) fn above_defaults(sources: &Sources, findings: &mut Findings) -> Vec<Layer> {
    let mut found = Vec::new();
    let read = |named: Option<&PathBuf>, usual: &str, flag: &str, findings: &mut Findings| {
        let name = named.map_or_else(|| usual.to_owned(), |path| path.display().to_string());
        let path = sources.directory.join(named.map_or(Path::new(usual), PathBuf::as_path));
        match read_text(&path, &name, flag, named.is_some()) {
            Ok(text) => text.map(|text| (name, path, text)),
            Err(fault) => {
                findings.faults.push(fault);
                None
            }
        }
    };
    if let Some((name, path, text)) = read(sources.config.as_ref(), FILE, "--config", findings) {
        let layer = file::layer(&name, &text, &mut findings.faults);
        warn_of_open_file(&layer, &path, &name, findings);
        found.push(layer);
    }
    if let Some((name, path, text)) = read(sources.env_file.as_ref(), ENV_FILE, "--env-file", findings) {
        let variables = variables::env_file(&name, &text, &mut findings.faults);
        let layer = variables::layer(&name, &variables, &sources.directory, findings);
        warn_of_open_file(&layer, &path, &name, findings);
        found.push(layer);
    }
    found.push(variables::layer("environment", &sources.environment, &sources.directory, findings));
    found.push(flags(sources));
    found
}

/// A file with secrets that everybody on the machine can read is worth a word.
fn warn_of_open_file(layer: &Layer, path: &Path, name: &str, findings: &mut Findings) {
    let holds_secrets = keys::all().any(|key| key.secret && layer.sets(key));
    if holds_secrets && mode::gives(path, mode::OTHERS_READ) {
        findings.warn(
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

/// Reads `path` as text; `None` if it was not named by the operator and is not there.
fn read_text(path: &Path, name: &str, flag: &str, named: bool) -> Result<Option<String>, Fault> {
    if !named && path.is_dir() {
        return Ok(None);
    }
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named => Ok(None),
        Err(error) => {
            let help = if error.kind() == io::ErrorKind::NotFound {
                format!("name a file that exists, or leave {flag} out")
            } else {
                "see to it that the file can be read, as UTF-8 text".to_owned()
            };
            let fault = Fault::new(name, format!("it cannot be read: {error}"), help);
            Err(if named { fault.from(flag) } else { fault })
        }
    }
}

/// Whether debug is on, as far as it can be told before the defaults are chosen.
pub(super) fn debug(values: &Values) -> bool {
    values.get(&top::DEBUG).and_then(|(raw, _)| value::switch(raw.one().ok()?.trim()).ok()).unwrap_or(false)
}
