//! The configuration file.

use std::fs;
use std::path::PathBuf;

use crate::config::{Config, Sources};

/// A file that is taken can be shown, and holds no secret there; one that is not has a fault with a help for each.
pub(super) fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let directory = std::env::temp_dir().join(format!("freshk-fuzzing-{}", std::process::id()));
    let file = directory.join("freshk.toml");
    if fs::create_dir_all(&directory).and_then(|()| fs::write(&file, text)).is_err() {
        return;
    }
    let sources =
        Sources { config: Some(file), directory, system_file: PathBuf::new(), ..Sources::default() };
    if let Err(faults) = Config::load(&sources) {
        assert!(!faults.0.is_empty());
        assert!(
            faults.0.iter().all(|fault| !fault.problem.is_empty() && !fault.help.is_empty()),
            "{faults:?}"
        );
    }
    let shown = Config::show(&sources);
    assert!(
        shown
            .settings
            .iter()
            .all(|setting| setting.value.as_ref().is_none_or(|value| !value.contains("hunter2hunter2"))),
        "a secret is shown"
    );
}
