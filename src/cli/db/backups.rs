//! `freshk db backups`: what lies in `backup.dir`.

use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use serde_json::{Value, json};

use super::restore::unreadable;
use crate::cli::database::{OpenError, schema_of_backup, verify};
use crate::cli::output::{Listed, Output};
use crate::cli::{CliError, backups, when};
use crate::config::Config;
use crate::domain::Timestamp;

/// A backup, as far as it can be read.
struct Found {
    path: PathBuf,
    at: Timestamp,
    bytes: u64,
    /// `None` where it cannot be read.
    schema: Option<i64>,
    checksum: &'static str,
    is_encrypted: bool,
}

/// Lists them.
///
/// # Errors
/// [`CliError`] where there is no such directory.
pub(super) fn run(config: &Config, limit: usize, output: &mut Output) -> Result<(), CliError> {
    let Some(dir) = &config.backup.dir else {
        return Err(CliError::usage("backup.dir is not set", "set it; the server then makes backups there"));
    };
    let all = backups::all(dir).map_err(|error| unreadable(dir, &error))?;
    let listed = Listed::first(all, limit);
    listed.tell(output.json);
    let total = listed.total;
    let found = listed.rows.into_iter().map(|(at, path)| look(at, path));
    if output.json {
        let backups: Vec<_> = found.map(|backup| document(&backup)).collect();
        return Ok(output.json(&json!({ "backups": backups, "total": total }))?);
    }
    let rows = found.map(|backup| {
        [
            when::short(backup.at),
            ByteSize(backup.bytes).to_string(),
            match (backup.is_encrypted, backup.schema) {
                (true, _) => "encrypted".to_owned(),
                (false, None) => "-".to_owned(),
                (false, Some(schema)) => schema.to_string(),
            },
            backup.checksum.to_owned(),
            backup.path.display().to_string(),
        ]
    });
    Ok(output.table(["made at (UTC)", "size", "schema", "checksum", "file"], rows)?)
}

fn look(at: Timestamp, path: PathBuf) -> Found {
    let is_encrypted = backups::is_encrypted(&path);
    let bytes = path.metadata().map_or(0, |file| file.len());
    Found { schema: schema_of_backup(&path).ok(), checksum: checksum(&path), path, at, bytes, is_encrypted }
}

/// How a backup stands with its checksum.
fn checksum(path: &Path) -> &'static str {
    match verify(path) {
        Ok(true) => "ok",
        Ok(false) => "missing",
        Err(OpenError::Checksum { .. }) => "differs",
        Err(_) => "unreadable",
    }
}

fn document(backup: &Found) -> Value {
    json!({
        "file": backup.path,
        "bytes": backup.bytes,
        "made_at": backup.at.iso(),
        "schema": backup.schema,
        "checksum": backup.checksum,
        "encrypted": backup.is_encrypted,
    })
}
