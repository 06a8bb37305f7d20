//! The secret of debug: made once, kept beside the database or in it, so that tokens survive a restart.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use super::secrets::MIN_BYTES;
use crate::domain::Secret;
use crate::files::{Draft, Owner, beside};
use crate::random::Random;

/// Reads `<database>.secret`, or makes it: 64 hexadecimal digits that only its owner can read.
///
/// # Errors
/// When it can be neither read nor made, or when what it holds is too short to be a secret.
pub fn read_or_create(database: &Path, random: &dyn Random) -> io::Result<Secret> {
    let path = beside(database, ".secret");
    match read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(&path, Owner::beside(database)?, random)
        }
        other => other,
    }
}

/// A new one: 64 hexadecimal digits.
pub fn fresh(random: &dyn Random) -> String {
    let mut secret = [0; 32];
    random.fill(&mut secret);
    data_encoding::HEXLOWER.encode(&secret)
}

/// Whether debug has made one for this database.
pub fn exists(database: &Path) -> bool {
    beside(database, ".secret").exists()
}

fn read(path: &Path) -> io::Result<Secret> {
    let text = fs::read_to_string(path)?;
    let text = text.trim();
    if text.len() >= MIN_BYTES {
        return Ok(Secret::new(text));
    }
    let problem = format!("{} holds no secret of {MIN_BYTES} bytes: delete it", path.display());
    Err(io::Error::new(io::ErrorKind::InvalidData, problem))
}

/// Writes aside, then links: of two processes that start at once both end with the secret of one, and none ever reads
/// half a file.
fn create(path: &Path, owner: Owner, random: &dyn Random) -> io::Result<Secret> {
    let draft = Draft::beside(path, "part", Some(owner))?;
    let linked = writeln!(draft.file(), "{}", fresh(random))
        .and_then(|()| draft.file().sync_all())
        .and_then(|()| fs::hard_link(draft.path(), path));
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => read(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SeededRandom;

    #[test]
    fn it_is_made_once_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("freshk.db");
        let first = read_or_create(&database, &SeededRandom::new(1)).unwrap();
        let again = read_or_create(&database, &SeededRandom::new(2)).unwrap();
        assert_eq!(first, again);
        assert_eq!(first.expose().len(), 64);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left aside");
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_can_read_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        read_or_create(&dir.path().join("x.db"), &SeededRandom::new(1)).unwrap();
        let mode = fs::metadata(dir.path().join("x.db.secret")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn s15_a_short_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.db.secret"), "short\n").unwrap();
        let refused = read_or_create(&dir.path().join("x.db"), &SeededRandom::new(1)).unwrap_err();
        assert!(refused.to_string().contains("delete it"));
    }
}
