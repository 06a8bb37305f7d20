//! `[tokens]`: tokens and sessions.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::fault::quoted;
use super::key::{Key, Kind, Section};
use super::mode;
use super::reader::Reader;
use crate::domain::session::Lifetimes;
use crate::domain::{Algorithm, Secret, attributes};

/// `[tokens]`
#[derive(Clone, Debug)]
pub struct Tokens {
    /// What signs tokens.
    pub signing: Signing,
    /// `iss` of the tokens.
    pub issuer: Option<String>,
    /// `aud` of the tokens.
    pub audience: Option<String>,
    /// How long tokens and sessions live.
    pub lifetimes: Lifetimes,
    /// How long a rotated refresh token may come again.
    pub reuse_grace: Duration,
    /// Sessions of one user at once; the oldest goes.
    pub max_sessions: usize,
    /// Devices of one user at once; the one whose login is the longest ago goes.
    pub max_devices: usize,
    /// Names of the users' attributes that access tokens carry.
    pub claims: Vec<String>,
    /// Whether session and user of each access token are read from the database.
    pub strict: bool,
    /// Whether tokens that simplejwt issued under the secret are good.
    pub accept_foreign: bool,
}

/// What signs tokens.
#[derive(Clone, Debug)]
pub enum Signing {
    /// `SECRET_KEY`, by HS256.
    Secret,
    /// A key of its own.
    KeyFile {
        /// Any but HS256.
        algorithm: Algorithm,
        /// Where the key is.
        path: PathBuf,
        /// What the file holds; whether that is such a key is for `tokens` to say.
        text: Secret,
    },
}

static ALGORITHM: Key = Key::new(
    "tokens.algorithm",
    Kind::Choice(&["HS256", "EdDSA", "ES256", "RS256"]),
    "HS256",
    "How access tokens are signed: HS256 under secret_key, as simplejwt does by default, or EdDSA, ES256 or RS256 under \
     a key of their own, whose public half is at /.well-known/jwks.json. Access tokens of another algorithm are refused. \
     Refresh tokens are always HS256, under a key derived from secret_key.",
);
static KEY_FILE: Key = Key::new(
    "tokens.key_file",
    Kind::Text("the path of a PEM file that only FreshK's user can read"),
    "",
    "The key for EdDSA, ES256 and RS256, in PEM: the private key that signs first, after it those that only verify any \
     more. freshk key generate makes one, freshk key rotate puts a new one first.",
);
static ISSUER: Key = Key::new(
    "tokens.issuer",
    Kind::Text("a name, such as https://api.example.com"),
    "",
    "The iss of tokens, for APIs that want one; a token that names another is refused. One without is good for \
     tokens.refresh_ttl after this was first set.",
);
static AUDIENCE: Key = Key::new(
    "tokens.audience",
    Kind::Text("a name, such as shop"),
    "",
    "The aud of tokens, for APIs that want one; a token that names another is refused. One without is good for \
     tokens.refresh_ttl after this was first set.",
);
static ACCESS: Key = Key::new(
    "tokens.access_ttl",
    Kind::Duration { min: "1s", max: "1d" },
    "15m",
    "How long an access token is good.",
);
static REFRESH: Key = Key::new(
    "tokens.refresh_ttl",
    Kind::Duration { min: "1s", max: "3650d" },
    "30d",
    "How long a refresh token is good, from its issue; so it slides with every rotation.",
);
static SESSION: Key = Key::new(
    "tokens.session_ttl",
    Kind::Duration { min: "1s", max: "3650d" },
    "365d",
    "The longest that a session lasts from its login, however often it is refreshed.",
);
static GRACE: Key = Key::new(
    "tokens.reuse_grace",
    Kind::Duration { min: "0s", max: "1h" },
    "60s",
    "How long a refresh token that was rotated away may come again: a phone may have lost the answer.",
);
static MAX_SESSIONS: Key = Key::new(
    "tokens.max_sessions",
    Kind::Number { min: 1, max: 1000 },
    "10",
    "Sessions of one user at once; the oldest goes.",
);

static MAX_DEVICES: Key = Key::new(
    "tokens.max_devices",
    Kind::Number { min: 1, max: 1000 },
    "3",
    "Devices of one user at once that ask for codes and guess by quotas of their own; the one whose login is the longest ago \
     goes.",
);
static CLAIMS: Key = Key::new(
    "tokens.claims",
    Kind::List("names of attributes, such as plan"),
    "",
    "Which of a user's attributes (freshk user set-attribute) access tokens carry, as claims of these names; from the next login \
     or refresh on.",
);
static STRICT: Key = Key::new(
    "tokens.strict",
    Kind::Switch,
    "false",
    "Whether each call with an access token reads its session from the database. Otherwise a server answers from memory what \
     it has read before; with several servers on PostgreSQL, what ended on another one is refused within two seconds at most, and \
     within 50 ms as a rule.",
);
static ACCEPT_FOREIGN: Key = Key::new(
    "tokens.accept_foreign",
    Kind::Switch,
    "false",
    "For the move from Django: what simplejwt issued under secret_key or a fallback is good for users whose id an import \
     brought. Access tokens until they expire; a refresh token is exchanged once for a session here. Switch it off when \
     Django's longest refresh lifetime has passed.",
);

pub(super) const SECTION: Section = Section {
    name: "tokens",
    doc: "Tokens and sessions.",
    keys: &[
        &ALGORITHM,
        &KEY_FILE,
        &ISSUER,
        &AUDIENCE,
        &ACCESS,
        &REFRESH,
        &SESSION,
        &GRACE,
        &MAX_SESSIONS,
        &MAX_DEVICES,
        &CLAIMS,
        &STRICT,
        &ACCEPT_FOREIGN,
    ],
};

pub(super) fn read(reader: &mut Reader<'_>) -> Tokens {
    let lifetimes = Lifetimes {
        access: reader.duration(&ACCESS),
        refresh: reader.duration(&REFRESH),
        session: reader.duration(&SESSION),
    };
    let judged = !reader.is_faulty(&ACCESS) && !reader.is_faulty(&REFRESH);
    if judged && lifetimes.access > lifetimes.refresh {
        reader.fault(
            &ACCESS,
            "an access token would outlive the refresh token that renews it",
            "make tokens.access_ttl at most tokens.refresh_ttl",
        );
    }
    Tokens {
        signing: signing(reader),
        issuer: name(reader, &ISSUER),
        audience: name(reader, &AUDIENCE),
        lifetimes,
        reuse_grace: reader.duration(&GRACE),
        max_sessions: reader.number(&MAX_SESSIONS),
        max_devices: reader.number(&MAX_DEVICES),
        claims: reader.list(&CLAIMS, claim),
        strict: reader.switch(&STRICT),
        accept_foreign: reader.switch(&ACCEPT_FOREIGN),
    }
}

fn claim(name: &str) -> Result<String, String> {
    attributes::check_name(name).map_err(|error| format!("{} is {error}", quoted(name)))?;
    Ok(name.to_owned())
}

fn name(reader: &mut Reader<'_>, key: &'static Key) -> Option<String> {
    let name = |text: &str| match text.split_once(" #") {
        // Tokens with it in them would be refused by whoever was told the name alone.
        Some(_) => Err(format!("{} has a comment behind it", quoted(text))),
        None => Ok(text.to_owned()),
    };
    reader.one(key, name)
}

fn signing(reader: &mut Reader<'_>) -> Signing {
    let algorithm = Algorithm::parse(reader.choice(&ALGORITHM)).unwrap_or(Algorithm::Hs256);
    let path = name(reader, &KEY_FILE).map(PathBuf::from);
    if reader.is_faulty(&ALGORITHM) {
        return Signing::Secret;
    }
    match (algorithm, path) {
        (Algorithm::Hs256, None) => Signing::Secret,
        (Algorithm::Hs256, Some(_)) => {
            reader.fault(
                &KEY_FILE,
                "HS256 signs with secret_key, not with a key file",
                "write the file's algorithm into tokens.algorithm (EdDSA, ES256 or RS256), or take tokens.key_file away",
            );
            Signing::Secret
        }
        (algorithm, None) => {
            let name = algorithm.as_str();
            reader.fault(
                &KEY_FILE,
                format!("{name} needs a key file"),
                format!(
                    "make one with freshk key generate --algorithm {name} --out tokens.pem, and write its path here"
                ),
            );
            Signing::Secret
        }
        (algorithm, Some(path)) => key_file(reader, algorithm, path),
    }
}

fn key_file(reader: &mut Reader<'_>, algorithm: Algorithm, path: PathBuf) -> Signing {
    match fs::read_to_string(&path) {
        Ok(text) => {
            if mode::gives(&path, mode::GROUP_OR_OTHERS) {
                let path = path.display();
                reader.findings.warn(
                    Some(KEY_FILE.name),
                    format!("{path} holds a key and others can read it"),
                    format!("if it is yours, chmod 600 {path}"),
                );
            }
            Signing::KeyFile { algorithm, path, text: Secret::new(text) }
        }
        Err(error) => {
            reader.fault(
                &KEY_FILE,
                format!("{} cannot be read: {error}", path.display()),
                format!(
                    "let this user read it, or make it with freshk key generate --algorithm {} --out {}",
                    algorithm.as_str(),
                    path.display()
                ),
            );
            Signing::Secret
        }
    }
}
