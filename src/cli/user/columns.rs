//! How a user stands in a file: the columns, and what each may hold.

use serde_json::{Value, json};

use crate::domain::phone::mask_name;
use crate::domain::{Attributes, PhoneNumber, PhonePolicy, Timestamp, User, UserId};
use crate::storage::users::ImportedUser;

/// The columns of a file, in the order in which `user export` writes them.
pub(super) const COLUMNS: [&str; 8] =
    ["id", "username", "phone_number", "role", "is_active", "phone_verified", "date_joined", ATTRIBUTES];

/// The last column, which a file has where any user has attributes.
const ATTRIBUTES: &str = "attributes";

/// How many columns a file has where nobody has attributes.
pub(super) const ALWAYS: usize = COLUMNS.len() - 1;

/// The column that no file can do without.
pub(super) const REQUIRED: usize = 2;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    Text,
    Switch,
    Object,
}

/// What a column holds, by its place.
pub(super) fn kind(column: usize) -> Kind {
    match COLUMNS[column] {
        "id" => Kind::Number,
        "is_active" | "phone_verified" => Kind::Switch,
        ATTRIBUTES => Kind::Object,
        _ => Kind::Text,
    }
}

/// The texts of one line, by column; `None` where there is none or an empty one.
pub(super) type Texts = [Option<String>; COLUMNS.len()];

/// Beyond this a number in JSON is no longer exact everywhere (RFC 8259 §6).
const HIGHEST_ID: i64 = 9_007_199_254_740_991;

/// Django allows no longer ones.
const LONGEST_NAME: usize = 150;

/// What decides whether a line is good.
pub(super) struct Rules {
    pub(super) roles: Vec<String>,
    pub(super) default_role: String,
    pub(super) phones: PhonePolicy,
    pub(super) now: Timestamp,
}

impl Rules {
    /// Reads one line, or says what is wrong with it; the words never quote a phone.
    pub(super) fn judge(&self, texts: Texts) -> Result<ImportedUser, String> {
        let [id, username, phone, role, is_active, phone_verified, joined, attributes] = texts;
        let phone = phone.ok_or("phone_number is empty")?;
        let role = role.unwrap_or_else(|| self.default_role.clone());
        if !self.roles.contains(&role) {
            // Perhaps the columns are in another order.
            return Err(format!("role {} is not among users.roles", mask_name(&format!("{role:?}"))));
        }
        Ok(ImportedUser {
            id: id.map(|id| read_id(&id)).transpose()?,
            username: username.map(read_name).transpose()?,
            phone: self.phones.read(&phone).map_err(|error| format!("phone_number is {error}"))?,
            role,
            is_active: is_active.map_or(Ok(true), |text| read_switch("is_active", &text))?,
            phone_verified: phone_verified.map_or(Ok(false), |text| read_switch("phone_verified", &text))?,
            joined_at: joined.map_or(Ok(self.now), |text| read_instant(&text))?,
            attributes: attributes
                .map_or_else(|| Ok(Attributes::default()), |text| read_attributes(&text))?,
        })
    }
}

fn read_id(text: &str) -> Result<UserId, String> {
    let id = text.parse().ok().filter(|id| (1..=HIGHEST_ID).contains(id));
    id.map(UserId).ok_or_else(|| format!("id is not a whole number from 1 to {HIGHEST_ID}"))
}

fn read_name(text: String) -> Result<String, String> {
    if text.chars().count() > LONGEST_NAME {
        return Err(format!("username has more than {LONGEST_NAME} characters"));
    }
    if text.chars().any(char::is_control) {
        Err("username holds control characters".to_owned())
    } else {
        Ok(text)
    }
}

fn read_switch(column: &str, text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" => Ok(true),
        "false" | "f" | "0" | "no" => Ok(false),
        _ => Err(format!("{column} is neither true nor false")),
    }
}

fn read_instant(text: &str) -> Result<Timestamp, String> {
    let instant: jiff::Timestamp = text
        .parse()
        .map_err(|_| "date_joined is not an ISO 8601 instant such as 2026-01-31T12:00:00Z".to_owned())?;
    Ok(Timestamp::from_millis(instant.as_millisecond()))
}

fn read_attributes(text: &str) -> Result<Attributes, String> {
    Attributes::parse(text).map_err(|error| format!("{ATTRIBUTES} is {error}"))
}

/// A user as the columns of a line.
pub(super) fn fields(user: &User) -> [String; COLUMNS.len()] {
    [
        user.id.to_string(),
        user.username.clone(),
        user.phone_text().to_owned(),
        user.role.clone(),
        user.is_active.to_string(),
        user.phone_verified.to_string(),
        user.joined_at.iso(),
        if user.attributes.is_empty() { String::new() } else { user.attributes.to_string() },
    ]
}

/// A user as a line of JSON, phone in full.
pub(super) fn object(user: &User) -> Value {
    let mut object = json!({
        "id": user.id.0,
        "username": user.username,
        "phone_number": user.phone.as_ref().map(PhoneNumber::as_str),
        "role": user.role,
        "is_active": user.is_active,
        "phone_verified": user.phone_verified,
        "date_joined": user.joined_at.iso(),
    });
    if !user.attributes.is_empty() {
        object[ATTRIBUTES] = user.attributes.members().into();
    }
    object
}
