//! Backups that this machine cannot read.

use std::fs;
use std::process::Output;

use age::secrecy::ExposeSecret as _;
use age::x25519::Identity;

use crate::place::{Place, stderr};

/// A place with a database, and a key for its backups.
struct SetUp {
    place: Place,
    recipient: String,
}

impl SetUp {
    fn new() -> Self {
        let place = Place::new();
        place.database("old");
        fs::create_dir(place.path("backups")).unwrap();
        let recipient = key(&place, "key.txt");
        Self { place, recipient }
    }

    fn run(&self, args: &[&str]) -> Output {
        self.with(args, &[])
    }

    fn with(&self, args: &[&str], more: &[(&str, &str)]) -> Output {
        let own = [("FRESHK_BACKUP__DIR", "backups"), ("FRESHK_BACKUP__ENCRYPT_TO", &self.recipient)];
        self.place.command(args, &[&own[..], more].concat()).output().unwrap()
    }

    fn fails(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        stderr(&output)
    }

    /// The name of the only backup.
    fn backup(&self) -> String {
        let files = self.place.files_in("backups");
        let [backup, seal] = &files[..] else { panic!("{files:?}") };
        assert_eq!(*seal, format!("{backup}.sha256"));
        backup.clone()
    }

    fn username(&self) -> String {
        self.place.sql().query_row("SELECT username FROM users", [], |row| row.get(0)).unwrap()
    }
}

/// Writes a secret key, and gives the public one.
fn key(place: &Place, name: &str) -> String {
    let identity = Identity::generate();
    let text = format!("# created: now\n{}\n", identity.to_string().expose_secret());
    fs::write(place.path(name), text).unwrap();
    identity.to_public().to_string()
}

#[test]
fn s31_an_encrypted_backup_is_restored_with_its_key_and_with_no_other() {
    let set_up = SetUp::new();
    assert!(set_up.run(&["db", "backup"]).status.success());
    let name = set_up.backup();
    assert!(name.ends_with(".db.age"), "{name}");
    let bytes = fs::read(set_up.place.path("backups").join(&name)).unwrap();
    assert!(bytes.starts_with(b"age-encryption.org/v1"));
    assert!(!bytes.windows(6).any(|window| window == b"SQLite"));
    let list = set_up.run(&["db", "backups", "--json"]);
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).unwrap();
    let told = &list["backups"][0];
    assert_eq!((&told["encrypted"], &told["checksum"]), (&true.into(), &"ok".into()), "{told}");
    assert!(told["schema"].is_null());
    set_up.place.sql().execute("UPDATE users SET username = 'new'", []).unwrap();
    key(&set_up.place, "other.txt");
    fs::write(set_up.place.path("empty.txt"), "# nothing\n").unwrap();
    for (identity, words) in [
        (None, "is encrypted\nhelp: bring the file with its secret key"),
        (Some("other.txt"), "encrypted for another key"),
        (Some("empty.txt"), "it has no secret key"),
        (Some("missing.txt"), "missing.txt cannot be read"),
    ] {
        let restore = ["db", "restore", "--latest", "--yes"];
        let args =
            identity.map_or_else(|| restore.to_vec(), |file| [&restore[..], &["--identity", file]].concat());
        let said = set_up.fails(&args);
        assert!(said.contains(words), "{said}");
        assert_eq!(set_up.username(), "new");
    }
    let restored = set_up.run(&["db", "restore", "--latest", "--yes", "--identity", "key.txt"]);
    assert!(restored.status.success() && stderr(&restored).is_empty(), "{}", stderr(&restored));
    assert_eq!(set_up.username(), "old");
    let files = set_up.place.files();
    assert!(!files.iter().any(|name| name.contains("decrypted")), "{files:?}");
}

#[test]
fn an_encrypted_backup_is_drilled_with_its_key() {
    let set_up = SetUp::new();
    assert!(set_up.run(&["db", "backup"]).status.success());
    let said = set_up.fails(&["db", "drill"]);
    assert!(said.contains("--identity"), "{said}");
    let drilled = set_up.run(&["db", "drill", "--json", "--identity", "key.txt"]);
    assert!(drilled.status.success(), "{}", stderr(&drilled));
    let told: serde_json::Value = serde_json::from_slice(&drilled.stdout).unwrap();
    assert_eq!((&told["ok"], &told["steps"][0]["step"]), (&true.into(), &"decrypt".into()), "{told}");
}

#[test]
fn s31_a_changed_one_is_refused() {
    let set_up = SetUp::new();
    assert!(set_up.run(&["db", "backup"]).status.success());
    let (backup, restore) = (
        set_up.place.path("backups").join(set_up.backup()),
        ["db", "restore", "--latest", "--yes", "--identity", "key.txt"],
    );
    let mut bytes = fs::read(&backup).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&backup, bytes).unwrap();
    assert!(set_up.fails(&restore).contains(".sha256"));
    fs::remove_file(freshk::files::beside(&backup, ".sha256")).unwrap();
    assert!(set_up.fails(&restore).contains("it is damaged"));
    assert_eq!(set_up.username(), "old");
}

#[test]
fn old_ones_of_both_kinds_go() {
    let set_up = SetUp::new();
    let dir = set_up.place.path("backups");
    for (recipient, suffix) in [(set_up.recipient.as_str(), "Z.db.age"), ("", "Z.db")] {
        for name in ["freshk-20200101T000000Z.db", "freshk-20200102T000000Z.db.age"] {
            fs::write(dir.join(name), "").unwrap();
        }
        let settings = [("FRESHK_BACKUP__KEEP", "1"), ("FRESHK_BACKUP__ENCRYPT_TO", recipient)];
        assert!(set_up.with(&["db", "backup"], &settings).status.success());
        assert!(set_up.backup().ends_with(suffix), "{}", set_up.backup());
        fs::remove_dir_all(&dir).unwrap();
        fs::create_dir(&dir).unwrap();
    }
}

#[test]
fn a_named_file_is_encrypted_if_its_name_says_so() {
    let set_up = SetUp::new();
    assert!(set_up.run(&["db", "backup", "x.db.age"]).status.success());
    assert!(fs::read(set_up.place.path("x.db.age")).unwrap().starts_with(b"age-encryption.org"));
    assert!(set_up.run(&["db", "backup", "x.db"]).status.success());
    assert!(fs::read(set_up.place.path("x.db")).unwrap().starts_with(b"SQLite"));
    let output = set_up.place.run(&["db", "backup", "y.db.age"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
}

#[test]
fn s15_a_recipient_that_is_none_is_a_fault_and_a_secret_key_is_not_repeated() {
    let set_up = SetUp::new();
    let text = fs::read_to_string(set_up.place.path("key.txt")).unwrap();
    let secret = text.lines().last().unwrap();
    for wrong in ["age1nobody", "ssh-ed25519 AAAA", secret] {
        let output = set_up.with(&["db", "backup"], &[("FRESHK_BACKUP__ENCRYPT_TO", wrong)]);
        let said = stderr(&output);
        assert!(!output.status.success() && said.contains("backup.encrypt_to"), "{said}");
        assert!(!said.contains(&secret[20..]), "{said}");
    }
    assert!(set_up.place.files_in("backups").is_empty());
}
