//! `freshk key` and `[tokens]` as an operator meets them: the real binary, a directory per test.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use freshk::domain::Algorithm;
use freshk::tokens::keys::KeySet;

const ALGORITHM: &str = "FRESHK_TOKENS__ALGORITHM";
const KEY_FILE: &str = "FRESHK_TOKENS__KEY_FILE";
const ASYMMETRIC: [&str; 3] = ["EdDSA", "ES256", "RS256"];

fn run(dir: &Path, args: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_freshk"));
    command.args(args).current_dir(dir).env_clear().env("DEBUG", "True");
    command.envs(environment.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn generate_prints_or_writes_and_never_overwrites() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(text(&run(dir.path(), &["key", "generate"], &[]).stdout).trim_end().len(), 64);
    for algorithm in ASYMMETRIC {
        let printed = text(&run(dir.path(), &["key", "generate", "--algorithm", algorithm], &[]).stdout);
        assert!(KeySet::parse(Algorithm::parse(algorithm).unwrap(), &printed).is_ok(), "{algorithm}");
        let path = dir.path().join(format!("{algorithm}.pem"));
        let out = ["key", "generate", "--algorithm", algorithm, "--out", path.to_str().unwrap()];
        assert!(run(dir.path(), &out, &[]).status.success());
        assert_eq!(mode(&path), 0o600);
        let first = fs::read(&path).unwrap();
        let again = run(dir.path(), &out, &[]);
        assert_eq!(again.status.code(), Some(1));
        assert!(text(&again.stderr).contains("name a file that does not exist yet"));
        assert_eq!(fs::read(&path).unwrap(), first);
    }
    let unknown = run(dir.path(), &["key", "generate", "--algorithm", "HS384"], &[]);
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn rotate_puts_a_new_key_first_and_replaces_the_file_as_a_whole() {
    for algorithm in ASYMMETRIC {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.pem");
        let out = ["key", "generate", "--algorithm", algorithm, "--out", "tokens.pem"];
        assert!(run(dir.path(), &out, &[]).status.success());
        let environment =
            [("FRESHK_TOKENS__ALGORITHM", algorithm), ("FRESHK_TOKENS__KEY_FILE", "tokens.pem")];
        let first = fs::read_to_string(&path).unwrap();
        let rotated = run(dir.path(), &["key", "rotate"], &environment);
        assert!(rotated.status.success(), "{}", text(&rotated.stderr));
        assert!(text(&rotated.stdout).contains("reload freshk"));
        let second = fs::read_to_string(&path).unwrap();
        assert_eq!(second.matches("BEGIN PRIVATE KEY").count(), 1);
        assert_eq!(second.matches("BEGIN PUBLIC KEY").count(), 1);
        assert!(!second.contains(first.lines().nth(1).unwrap()), "the old private key is gone");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left aside");
    }
}

#[test]
fn rotate_says_what_to_do_where_a_secret_signs_or_the_file_is_no_good() {
    let dir = tempfile::tempdir().unwrap();
    let refused = run(dir.path(), &["key", "rotate"], &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("SECRET_KEY_FALLBACKS"));
    fs::write(dir.path().join("bad.pem"), "rubbish").unwrap();
    let environment = [("FRESHK_TOKENS__ALGORITHM", "EdDSA"), ("FRESHK_TOKENS__KEY_FILE", "bad.pem")];
    let refused = run(dir.path(), &["key", "rotate"], &environment);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("freshk key generate --algorithm EdDSA"));
    assert_eq!(fs::read(dir.path().join("bad.pem")).unwrap(), b"rubbish");
}

#[test]
fn the_configuration_is_judged_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("some.pem"), "x").unwrap();
    fs::set_permissions(dir.path().join("some.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let show = |environment: &[(&str, &str)]| run(dir.path(), &["config", "show"], environment);
    for (environment, told) in [
        (vec![(ALGORITHM, "EdDSA")], "EdDSA needs a key file"),
        (vec![(ALGORITHM, "none")], "one of: HS256, EdDSA, ES256, RS256"),
        (vec![(ALGORITHM, "ES256"), (KEY_FILE, "missing.pem")], "missing.pem cannot be read"),
        (vec![(KEY_FILE, "some.pem")], "HS256 signs with secret_key"),
    ] {
        let refused = show(&environment);
        assert_eq!(refused.status.code(), Some(1), "{environment:?}");
        assert!(text(&refused.stderr).contains(told), "{}", text(&refused.stderr));
    }
    let open = show(&[(ALGORITHM, "ES256"), (KEY_FILE, "some.pem")]);
    assert!(open.status.success());
    assert!(text(&open.stderr).contains("chmod 600 some.pem"), "{}", text(&open.stderr));
    let serve = run(dir.path(), &["serve"], &[(ALGORITHM, "ES256"), (KEY_FILE, "some.pem")]);
    assert_eq!(serve.status.code(), Some(78), "the server does not start with such a file");
    assert!(text(&serve.stderr).contains("it is not a PEM file"), "{}", text(&serve.stderr));
}
