//! A backup that can be read: itself, or what is decrypted of it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::is_encrypted;
use crate::cli::CliError;
use crate::cli::database::{DECRYPTED, verify};
use crate::domain::Help as _;
use crate::encryption::{DecryptionError, Identities};
use crate::files::{Draft, Owner};

/// A backup; what was decrypted of it goes when this is dropped.
pub struct Opened {
    backup: PathBuf,
    decrypted: Option<Draft>,
    /// Of an encrypted one, whether it had a checksum.
    sealed: bool,
}

impl Opened {
    /// Opens one; an encrypted one is compared with its checksum and decrypted beside `database`, readable by the owner
    /// of that alone, with the keys in the file `identity`.
    ///
    /// # Errors
    /// [`CliError`], with what to do.
    pub fn open(backup: &Path, identity: Option<&Path>, database: &Path) -> Result<Self, CliError> {
        let mut opened = Self { backup: backup.to_owned(), decrypted: None, sealed: false };
        if is_encrypted(backup) {
            let from = File::open(backup).map_err(|error| unusable(backup, &error))?;
            let identities = identities(backup, identity)?;
            opened.sealed =
                verify(backup).map_err(|error| CliError::refused(error.to_string(), error.help()))?;
            let draft =
                Owner::beside(database).and_then(|owner| Draft::beside(database, DECRYPTED, Some(owner)));
            let draft = draft.map_err(|error| unwritable(database, &error))?;
            identities.decrypt(&from, draft.file()).map_err(|error| match error {
                DecryptionError::AnotherKey => CliError::refused(
                    format!("{} is encrypted for another key than those of --identity", backup.display()),
                    "give the file with the key that belongs to the backup.encrypt_to of when it was made",
                ),
                DecryptionError::Damaged => {
                    CliError::refused(format!("{}: {error}", backup.display()), "choose another backup")
                }
                DecryptionError::File(error) => unwritable(database, &error),
            })?;
            opened.decrypted = Some(draft);
        }
        Ok(opened)
    }

    /// The file to read.
    pub fn path(&self) -> &Path {
        self.decrypted.as_ref().map_or(&self.backup, Draft::path)
    }

    /// Whether it was compared with a checksum already.
    pub const fn is_sealed(&self) -> bool {
        self.sealed
    }
}

fn identities(backup: &Path, identity: Option<&Path>) -> Result<Identities, CliError> {
    let Some(file) = identity else {
        return Err(CliError::refused(
            format!("{} is encrypted", backup.display()),
            "bring the file with its secret key here, name it with --identity FILE, and delete it here afterwards",
        ));
    };
    let text = fs::read_to_string(file).map_err(|error| unusable(file, &error))?;
    Identities::parse(&text).map_err(|problem| {
        CliError::refused(
            format!("{}: {problem}", file.display()),
            "give a file as age-keygen writes it, with a line AGE-SECRET-KEY-1…",
        )
    })
}

fn unusable(file: &Path, error: &io::Error) -> CliError {
    CliError::refused(
        format!("{} cannot be read: {error}", file.display()),
        "name a file that this user can read",
    )
}

fn unwritable(database: &Path, error: &io::Error) -> CliError {
    CliError::refused(
        format!("the backup cannot be decrypted beside {}: {error}", database.display()),
        "check that its disk has room, and run this as the user that runs freshk",
    )
}
