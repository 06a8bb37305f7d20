//! The configuration as an operator meets it: the real binary, an empty environment, a directory per test.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up its place has failed")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use freshk::config::show;
use freshk::domain::Code;
use freshk::sms::segments::{self, Size};
use freshk::sms::texts::Wording;
use serde_json::Value;

const SECRET: &str = "an-honest-secret-of-more-than-32-bytes";
const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";

/// A directory to run in.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        fs::write(self.0.path().join(name), text).unwrap();
        self
    }

    fn command(&self, args: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_freshk"));
        command.args(args).current_dir(self.0.path()).env_clear().envs(environment.iter().copied());
        command
    }

    fn run(&self, args: &[&str], environment: &[(&str, &str)]) -> Output {
        self.command(args, environment).output().unwrap()
    }

    /// `config show --json`, which must succeed.
    fn shown(&self, args: &[&str], environment: &[(&str, &str)]) -> Value {
        let args: Vec<_> = args.iter().copied().chain(["config", "show", "--json"]).collect();
        let output = self.run(&args, environment);
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn setting<'a>(shown: &'a Value, key: &str) -> (&'a Value, &'a str) {
    let settings = shown["settings"].as_array().unwrap();
    let found = settings.iter().find(|setting| setting["key"] == key).unwrap();
    (&found["value"], found["origin"].as_str().unwrap())
}

/// Every layer, from the lowest, with what it sets.
#[test]
fn flag_over_environment_over_env_file_over_file_over_default() {
    let place = Place::new();
    let database = |place: &Place, args: &[&str], environment: &[(&str, &str)]| {
        let environment: Vec<_> = environment.iter().copied().chain([("DEBUG", "1")]).collect();
        let shown = place.shown(args, &environment);
        let (value, origin) = setting(&shown, "database.url");
        (value.as_str().unwrap().to_owned(), origin.to_owned())
    };
    let told = |url: &str, origin: &str| (url.to_owned(), origin.to_owned());
    let environment = [("DATABASE_URL", "sqlite://environment.db")];

    assert_eq!(database(&place, &[], &[]), told("sqlite://freshk.db", "default"));
    let place = place.file("freshk.toml", "[database]\nurl = \"sqlite://file.db\"\n");
    assert_eq!(database(&place, &[], &[]), told("sqlite://file.db", "freshk.toml"));
    let place = place.file(".env", "DATABASE_URL=sqlite://env-file.db\n");
    assert_eq!(database(&place, &[], &[]), told("sqlite://env-file.db", ".env (DATABASE_URL)"));
    let from_environment = told("sqlite://environment.db", "environment (DATABASE_URL)");
    assert_eq!(database(&place, &[], &environment), from_environment);
    let flag = ["--database", "sqlite://flag.db"];
    assert_eq!(database(&place, &flag, &environment), told("sqlite://flag.db", "--database"));

    let longer = [("FRESHK_DATABASE__URL", "sqlite://longer.db"), environment[0]];
    let (url, origin) = database(&place, &[], &longer);
    assert_eq!((url.as_str(), origin.as_str()), ("sqlite://longer.db", "environment (FRESHK_DATABASE__URL)"));
    let empty = [("DATABASE_URL", "")];
    assert_eq!(database(&place, &[], &empty).0, "sqlite://env-file.db", "an empty variable is not set");
}

#[test]
fn named_files_are_read_instead_of_the_usual_ones() {
    let place = Place::new()
        .file("freshk.toml", "debug = \"nonsense\"\n")
        .file(".env", "DEBUG=nonsense\n")
        .file("other.toml", "debug = true\n[otp]\nttl = \"5m\"\n")
        .file("other.env", "export FRESHK_OTP__LENGTH='8' # digits\n");
    let shown = place.shown(&["--config", "other.toml", "--env-file", "other.env"], &[]);
    assert_eq!(setting(&shown, "otp.ttl"), (&"5m".into(), "other.toml"));
    assert_eq!(setting(&shown, "otp.length"), (&"8".into(), "other.env (FRESHK_OTP__LENGTH)"));
    assert_eq!(setting(&shown, "log.format"), (&"pretty".into(), "default (debug)"));
}

#[test]
fn every_fault_is_told_at_once_and_no_secret_with_it() {
    let place = Place::new()
        .file("freshk.toml", "secret_key = \"hush-1\"\ntypo = 1\n[otp]\nttl = \"11h\"\nlenght = 6\n")
        .file(
            ".env",
            "FRESHK_LIMITS__IPS=5\nTWILIO_AUTH_TOKEN=hush-2\nTWILIO_ACCOUNT_SID=hush-3\nbad line hush-4\n",
        );
    let environment = [
        ("DATABASE_URL", "postgres://user:hush-5@localhost"),
        ("FRESHK_OTP__LIVE_CODES", "3"),
        ("SECRET_KEY_FALLBACKS", "hush-6,hush-7"),
        ("FRESHK_SECRET_KEYS", "hush-8"),
    ];
    let output = place.run(&["config", "show", "--json"], &environment);
    assert_eq!(output.status.code(), Some(1));
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        setting(&shown, "otp.ttl"),
        (&"11h".into(), "freshk.toml"),
        "what is set is shown all the same"
    );
    assert_eq!(shown["faults"].as_array().unwrap().len(), 13);
    assert!(!stdout(&output).contains("hush-1"), "{shown}");
    let told = stderr(&output);
    for expected in [
        "secret_key, from freshk.toml",
        "typo, from freshk.toml",
        "otp.lenght, from freshk.toml\n    there is no such key\n    did you mean otp.length?",
        "otp.ttl, from freshk.toml\n    \"11h\" is too much\n    write a duration with its unit, from 1s to 10h",
        "FRESHK_LIMITS__IPS, from .env\n    there is no such key\n    did you mean FRESHK_LIMITS__IP?",
        "line 4, from .env",
        "twilio.account_sid, from .env (TWILIO_ACCOUNT_SID)",
        "twilio.phone_number\n    it is not set, and Twilio needs it\n    set TWILIO_PHONE_NUMBER to",
        "database.url, from environment (DATABASE_URL)\n    it names no database",
        "otp.live_codes, from environment (FRESHK_OTP__LIVE_CODES)",
        "secret_key_fallbacks, from environment (SECRET_KEY_FALLBACKS)",
        "did you mean FRESHK_SECRET_KEY?",
    ] {
        assert!(told.contains(expected), "{expected}\n-- in --\n{told}");
    }
    assert!(!told.contains("hush"), "{told}");
    assert!(told.contains("error: the configuration has 13 faults:"), "{told}");
}

/// Django's own tools take `#` for the beginning of the value.
#[test]
fn a_value_in_the_env_file_that_begins_with_a_number_sign_is_told_as_what_it_is() {
    let place =
        Place::new().file(".env", format!("SECRET_KEY=#{SECRET}\nFRESHK_SMS__PROVIDER=console\nDEBUG=1\n"));
    let output = place.run(&["config", "show"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    assert!(told.contains("secret_key, from .env (SECRET_KEY)\n    its value begins with #"), "{told}");
    assert!(told.contains("1 fault") && !told.contains(SECRET), "{told}");
    let place = place.file(".env", format!("SECRET_KEY='#{SECRET}'\nDEBUG=1\n"));
    assert_eq!(setting(&place.shown(&[], &[]), "secret_key").1, ".env (SECRET_KEY)");
}

#[test]
fn a_production_configuration_is_shown_with_its_secrets_masked() {
    let env_file = format!(
        "TWILIO_ACCOUNT_SID={ACCOUNT}\nTWILIO_AUTH_TOKEN=hush-token\nTWILIO_PHONE_NUMBER=+15005550006\n\
         SECRET_KEY={SECRET}\nSECRET_KEY_FALLBACKS={SECRET}-older\nALLOWED_HOSTS=a.example,.b.example\nDEBUG=False\n"
    );
    let place = Place::new().file(".env", &env_file);
    let table = place.run(&["config", "show"], &[]);
    assert_eq!(table.status.code(), Some(0), "{}", stderr(&table));
    let json = place.run(&["config", "show", "--json"], &[]);
    for output in [&table, &json] {
        let text = stdout(output);
        assert!(!text.contains(SECRET) && !text.contains("hush"), "{text}");
        assert!(text.contains("********") && text.contains(ACCOUNT));
    }
    let shown: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(setting(&shown, "secret_key"), (&"********".into(), ".env (SECRET_KEY)"));
    assert_eq!(setting(&shown, "twilio.api_key_secret"), (&Value::Null, "default"));
    assert_eq!(setting(&shown, "server.allowed_hosts").0, "a.example,.b.example");
    let row =
        stdout(&table).lines().find(|line| line.trim_start().starts_with("otp.ttl")).unwrap().to_owned();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["otp.ttl", "10m", "default"]);
}

#[cfg(unix)]
#[test]
fn a_file_of_secrets_that_everybody_can_read_is_worth_a_warning() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new().file(".env", format!("DEBUG=1\nSECRET_KEY={SECRET}\n"));
    let mode =
        |mode| fs::set_permissions(place.0.path().join(".env"), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o644);
    assert!(stderr(&place.run(&["config", "show"], &[])).contains("chmod 600 .env"));
    mode(0o600);
    assert_eq!(stderr(&place.run(&["config", "show"], &[])), "");
}

#[test]
fn a_named_file_that_is_missing_and_a_broken_one_are_faults() {
    let place = Place::new().file("broken.toml", "debug = true\n[otp\n");
    let told = |args: &[&str]| {
        let output = place.run(args, &[("DEBUG", "1")]);
        assert_eq!(output.status.code(), Some(1));
        stderr(&output)
    };
    assert!(told(&["--config", "none.toml", "config", "show"]).contains("none.toml, from --config"));
    assert!(told(&["--env-file", "none.env", "config", "show"]).contains("none.env, from --env-file"));
    let broken = told(&["--config", "broken.toml", "config", "show"]);
    assert!(broken.contains("broken.toml\n    it is not TOML at line 2, column"), "{broken}");
}

/// `FRESHK_CONFIG`, then the working directory, then the unit's credentials; `--config` before them all.
#[test]
fn the_configuration_is_found_where_it_lies() {
    let place = Place::new().file("named.toml", "debug = true\n[otp]\nttl = \"1m\"\n");
    fs::create_dir(place.0.path().join("credentials")).unwrap();
    let place = place.file("credentials/freshk.toml", "debug = true\n[otp]\nttl = \"2m\"\n");
    let credentials = place.0.path().join("credentials");
    let credentials = ("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap());
    let ttl = |place: &Place, environment: &[(&str, &str)]| {
        let shown = place.shown(&[], environment);
        let (value, origin) = setting(&shown, "otp.ttl");
        (value.as_str().unwrap().to_owned(), origin.to_owned())
    };
    let from_credentials = ("2m".to_owned(), format!("{}/freshk.toml", credentials.1));
    assert_eq!(ttl(&place, &[credentials]), from_credentials);
    let named = ("FRESHK_CONFIG", "named.toml");
    assert_eq!(ttl(&place, &[credentials, named]), ("1m".to_owned(), "named.toml".to_owned()));
    let place = place.file("freshk.toml", "debug = true\n[otp]\nttl = \"3m\"\n");
    assert_eq!(ttl(&place, &[credentials]), ("3m".to_owned(), "freshk.toml".to_owned()));
    let missing = stderr(&place.run(&["config", "show"], &[("FRESHK_CONFIG", "none.toml")]));
    assert!(missing.contains("none.toml, from FRESHK_CONFIG") && missing.contains("1 fault:"), "{missing}");
}

#[test]
fn how_many_sessions_are_kept_in_memory_is_a_number_within_bounds() {
    let place = |sessions: u64| {
        Place::new().file("freshk.toml", format!("debug = true\n[cache]\nsessions = {sessions}\n"))
    };
    assert_eq!(setting(&place(200_000).shown(&[], &[]), "cache.sessions").0, "200000");
    let told = stderr(&place(0).run(&["config", "show"], &[]));
    assert!(told.contains("cache.sessions") && told.contains("from 1000 to 10000000"), "{told}");
}

/// What is missing may stand in the file that cannot be read.
#[test]
fn a_file_that_cannot_be_read_is_one_fault() {
    let place = Place::new().file("freshk.toml", [0xff, 0xfe]);
    let told = stderr(&place.run(&["config", "show"], &[]));
    assert!(told.contains("error: the configuration has 1 fault:\n\nfreshk.toml\n"), "{told}");
    let place = place.file("freshk.toml", "[twilio\n");
    let told = stderr(&place.run(&["config", "show"], &[("FRESHK_OTP__TTL", "soon")]));
    assert!(told.contains("2 faults:") && told.contains("otp.ttl, from environment"), "{told}");
}

#[test]
fn usage_errors_exit_with_2_and_help_with_0() {
    let place = Place::new();
    for args in [&[][..], &["fly"], &["config"], &["config", "show", "--nonsense"], &["--config"]] {
        let output = place.run(args, &[]);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains("--help"), "{}", stderr(&output));
    }
    let help = place.run(&["--help"], &[]);
    assert_eq!(help.status.code(), Some(0));
    assert!(stdout(&help).contains("Examples:") && !stdout(&help).contains('\u{1b}'));
}

#[test]
fn s15_a_generated_key_is_long_fresh_and_needs_no_quoting() {
    let place = Place::new();
    let key = || stdout(&place.run(&["key", "generate"], &[])).trim_end().to_owned();
    let (one, other) = (key(), key());
    assert_ne!(one, other);
    for key in [&one, &other] {
        assert!(
            key.len() >= 50 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)),
            "{key}"
        );
    }
    let json: Value = serde_json::from_slice(&place.run(&["key", "generate", "--json"], &[]).stdout).unwrap();
    assert!(json["secret_key"].as_str().unwrap().len() >= 50);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = place
        .command(&["config", "example"], &[])
        .stdout(Stdio::from(writer))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn the_committed_example_is_what_the_program_prints() {
    let printed = stdout(&Place::new().run(&["config", "example"], &[]));
    assert_eq!(printed, show::example());
    hold("freshk.toml.example", &printed);
}

#[test]
fn the_documents_table_is_the_table_of_keys() {
    const PAGE: &str = "docs/configuration.md";
    const BEGIN: &str = "<!-- configuration -->\n";
    const END: &str = "<!-- /configuration -->";
    let page = fs::read_to_string(root(PAGE)).expect("the page of the keys");
    let (before, rest) = page.split_once(BEGIN).expect("the marker that begins the table");
    let (_, after) = rest.split_once(END).expect("the marker that ends the table");
    hold(PAGE, &format!("{before}{BEGIN}{}{END}{after}", show::markdown()));
}

/// What each text costs that the program brings along.
#[test]
fn the_documents_table_of_texts_is_what_they_cost() {
    const PAGE: &str = "docs/operating.md";
    const BEGIN: &str = "<!-- texts -->\n";
    const END: &str = "<!-- /texts -->";
    let page = fs::read_to_string(root(PAGE)).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the marker that begins the table");
    let (_, after) = rest.split_once(END).expect("the marker that ends the table");
    let mut table = "| language | text | alphabet | characters | SMS |\n|---|---|---|---|---|\n".to_owned();
    for shipped in Wording::default().shipped() {
        let (language, template) = shipped.expect("every one fits");
        let text = template.render(&Code::from_number(123_456, 6), 10);
        let Size { alphabet, units, segments } = segments::measure(&text);
        writeln!(table, "| {language} | {text} | {alphabet} | {units} | {segments} |").unwrap();
    }
    hold(PAGE, &format!("{before}{BEGIN}{table}{END}{after}"));
}

/// Holds a committed file against what it is generated from.
fn hold(name: &str, generated: &str) {
    if std::env::var_os("UPDATE_GENERATED").is_some_and(|set| set == "1") {
        fs::write(root(name), generated).unwrap();
    }
    let committed = fs::read_to_string(root(name)).unwrap_or_default();
    assert!(
        committed == generated,
        "{name} is not what it is generated from: run `UPDATE_GENERATED=1 cargo test --test config`, look at the \
         difference and commit it"
    );
}

fn root(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}
