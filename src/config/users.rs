//! `[users]`, `[phone]` and `[privacy]`: who logs in.

use std::time::Duration;

use super::fault::quoted;
use super::key::{Key, Kind, Section};
use super::reader::Reader;
use crate::domain::{Country, PhonePolicy};
use crate::storage::users::FirstId;

/// `[users]`
#[derive(Clone, Debug)]
pub struct Users {
    /// The role of a user who has just registered; one of `roles`.
    pub default_role: String,
    /// Every role that a user may have.
    pub roles: Vec<String>,
    /// The least id of a new user.
    pub first_id: i64,
    /// Whether `first_id` is set: then a database that has users counts on from there too.
    pub first_id_is_set: bool,
    /// How long a user who never verified is kept.
    pub unverified_retention: Duration,
    /// How long a change of number waits that the number before has not proven.
    pub phone_change_delay: Duration,
    /// How long a user who asked for deletion can come back.
    pub deletion_grace: Duration,
    /// After how long without use a login with the number is a new person's; zero for never.
    pub dormant_after: Duration,
}

impl Users {
    /// From where new users' ids count.
    pub fn first(&self) -> FirstId {
        FirstId { id: self.first_id, raises: self.first_id_is_set }
    }

    /// Whether ids from `next` on may be those of a Django project's own users, and nobody has said that they may.
    pub fn may_collide(&self, next: i64) -> bool {
        !self.first_id_is_set && next < self.first_id
    }
}

/// `[privacy]`
#[derive(Clone, Copy, Debug)]
pub struct Privacy {
    /// Whether known and unknown numbers look alike.
    pub conceal_accounts: bool,
}

/// Fits a 32-bit key, and no sequence of Django's comes there.
const DEFAULT_FIRST_ID: &str = "1000000001";

const ROLE: &str = "names of at most 64 characters, without spaces or commas";

static DEFAULT_ROLE: Key = Key::new(
    "users.default_role",
    Kind::Text(ROLE),
    "retailer",
    "The role of a user who has just registered; one of users.roles.",
);
static ROLES: Key = Key::new("users.roles", Kind::List(ROLE), "retailer", "Every role that a user may have.");
static FIRST_ID: Key = Key::new(
    "users.first_id",
    // Beyond 2^53 - 1 a number in JSON is no longer exact everywhere (RFC 8259 §6).
    Kind::Number { min: 1, max: 9_007_199_254_740_991 },
    DEFAULT_FIRST_ID,
    "The least id of a new user: far above the ids that a Django project gives, so that nobody has a superuser's. Unless it is \
     set, a database that has users already goes on counting.",
);
static UNVERIFIED: Key = Key::new(
    "users.unverified_retention",
    // A day at least: longer than any code lives.
    Kind::Duration { min: "1d", max: "3650d" },
    "7d",
    "How long a user who registered here and never verified is kept.",
);
static PHONE_CHANGE_DELAY: Key = Key::new(
    "users.phone_change_delay",
    Kind::Duration { min: "1h", max: "30d" },
    "24h",
    "How long a change of number waits whose user has proven the new number alone: the old one is told, and can take it back.",
);
static DELETION_GRACE: Key = Key::new(
    "users.deletion_grace",
    Kind::Duration { min: "0s", max: "30d" },
    "0s",
    "How long a user who deletes the account can come back: until then a login restores it. 0 deletes at once.",
);
static DORMANT_AFTER: Key = Key::new(
    "users.dormant_after",
    Kind::Duration { min: "0s", max: "3650d" },
    "0s",
    "After how long without use a number counts as somebody else's: a login without a device token then begins a new account, \
     and the old one is deactivated without a number. At least 90d; 0 for never.",
);
const COUNTRIES: &str = "countries by their two letters (ISO 3166), such as US, DE";

static STRICT: Key = Key::new(
    "phone.strict",
    Kind::Switch,
    "false",
    "Checks numbers by the numbering plan, refuses premium, shared cost, pager and unassigned ones, and keeps one spelling for \
     each telephone. `freshk user check-duplicates` says first whose numbers become one.",
);
static ALLOWED: Key = Key::new(
    "phone.allowed_countries",
    Kind::List(COUNTRIES),
    "",
    "The only countries that codes are sent to; empty: all.",
);
static DENIED: Key = Key::new(
    "phone.denied_countries",
    Kind::List(COUNTRIES),
    "",
    "Countries that no code is sent to, also where phone.allowed_countries has them.",
);
static MIN_DIGITS: Key = Key::new(
    "phone.min_digits",
    Kind::Number { min: 7, max: 15 },
    "10",
    "The fewest digits of a phone number after its +; some countries have numbers shorter than ten.",
);
static CONCEAL: Key = Key::new(
    "privacy.conceal_accounts",
    Kind::Switch,
    "false",
    "Makes known and unknown numbers look alike: is_new_user is told only after proof, and a number without a user \
     gets the same answer as a wrong code.",
);

pub(super) const SECTION: Section = Section {
    name: "users",
    doc: "Who logs in.",
    keys: &[
        &DEFAULT_ROLE,
        &ROLES,
        &FIRST_ID,
        &UNVERIFIED,
        &PHONE_CHANGE_DELAY,
        &DELETION_GRACE,
        &DORMANT_AFTER,
    ],
};
pub(super) const PHONE_SECTION: Section =
    Section { name: "phone", doc: "Phone numbers.", keys: &[&STRICT, &MIN_DIGITS, &ALLOWED, &DENIED] };
pub(super) const PRIVACY_SECTION: Section =
    Section { name: "privacy", doc: "What strangers may learn.", keys: &[&CONCEAL] };

pub(super) fn read(reader: &mut Reader<'_>) -> Users {
    let default_role = reader.one(&DEFAULT_ROLE, role).unwrap_or_default();
    let roles = reader.list(&ROLES, role);
    let judged = !reader.is_faulty(&DEFAULT_ROLE) && !reader.is_faulty(&ROLES);
    if judged && !roles.contains(&default_role) {
        reader.fault(
            &DEFAULT_ROLE,
            format!("{} is not among users.roles", quoted(&default_role)),
            "add it to users.roles, or choose one that is there",
        );
    }
    Users {
        default_role,
        roles,
        first_id: reader.number(&FIRST_ID),
        first_id_is_set: reader.is_set(&FIRST_ID),
        unverified_retention: reader.duration(&UNVERIFIED),
        phone_change_delay: reader.duration(&PHONE_CHANGE_DELAY),
        deletion_grace: reader.duration(&DELETION_GRACE),
        dormant_after: dormant_after(reader),
    }
}

/// Phone companies give numbers to others after months, and nobody is away for good after days.
fn dormant_after(reader: &mut Reader<'_>) -> Duration {
    const LEAST: Duration = Duration::from_hours(90 * 24);
    let after = reader.duration(&DORMANT_AFTER);
    if !after.is_zero() && after < LEAST {
        reader.fault(
            &DORMANT_AFTER,
            "an account that was not used for less than 90 days is not dormant",
            "give 90d or more, or 0 for never",
        );
    }
    after
}

pub(super) fn read_phone(reader: &mut Reader<'_>) -> PhonePolicy {
    PhonePolicy {
        min_digits: reader.number(&MIN_DIGITS),
        strict: reader.switch(&STRICT),
        allowed: reader.list(&ALLOWED, country),
        denied: reader.list(&DENIED, country),
    }
}

pub(super) fn country(text: &str) -> Result<Country, String> {
    text.parse().map_err(|error| format!("{} is {error}", quoted(text)))
}

pub(super) fn read_privacy(reader: &mut Reader<'_>) -> Privacy {
    Privacy { conceal_accounts: reader.switch(&CONCEAL) }
}

fn role(text: &str) -> Result<String, String> {
    const LONGEST: usize = 64;
    let good = !text.is_empty()
        && text.chars().count() <= LONGEST
        && !text.chars().any(|c| c.is_whitespace() || c.is_control() || c == ',');
    if good { Ok(text.to_owned()) } else { Err(format!("{} is not a role's name", quoted(text))) }
}
