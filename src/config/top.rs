//! The keys above the first section.

use super::events::WEBHOOKS;
use super::key::{Key, Kind, Section};
use super::reader::Reader;
use super::secrets::Purpose;
use super::senders::SENDERS;
use crate::domain::Secret;

const SECRET: &str =
    "a secret of at least 32 bytes: `freshk key generate` prints one, and a Django project's own will do";

pub(super) static DEBUG: Key = Key::new(
    "debug",
    Kind::Switch,
    "false",
    "Development: keeps a secret of its own beside the database, prints SMS on the console and opens the testing \
     endpoints. Never on a public machine.",
)
.guide("DEBUG");

static SECRET_KEY: Key = Key::new(
    "secret_key",
    Kind::Text(SECRET),
    "",
    "Signs access tokens; the keys for refresh tokens and codes are derived from it. With a Django project's SECRET_KEY, \
     that project accepts the access tokens. At least 32 bytes, and neither a default nor a repetition; not needed in \
     debug.",
)
.secret()
.guide("SECRET_KEY");

static FALLBACKS: Key = Key::new(
    "secret_key_fallbacks",
    Kind::List(
        "secrets of at least 32 bytes; one that holds a comma is taken for two outside freshk.toml, so give it there, in a \
         list",
    ),
    "",
    "Secrets before this one: tokens and codes made with them are still good. In the environment commas stand between \
     them; a secret that holds a comma must stand in freshk.toml, in a list.",
)
.secret()
.guide("SECRET_KEY_FALLBACKS");

pub(super) const SECTION: Section = Section {
    name: "",
    doc: "Above the first section.",
    keys: &[&DEBUG, &SECRET_KEY, &FALLBACKS, &WEBHOOKS, &SENDERS],
};

/// The secret, and those before it. In debug the secret may be absent: see [`super::dev_secret`].
pub(super) fn read(reader: &mut Reader<'_>) -> (Option<Secret>, Vec<Secret>) {
    let secret = reader.secret(&SECRET_KEY, Purpose::Signing);
    if secret.is_none() && !reader.debug && !reader.is_faulty(&SECRET_KEY) {
        reader.fault(
            &SECRET_KEY,
            "it is not set, and without it no token can be signed",
            format!("set {} to {SECRET}", SECRET_KEY.how_to_set()),
        );
    }
    (secret, reader.secrets(&FALLBACKS))
}
