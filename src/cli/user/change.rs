//! What changes one user.

use serde_json::json;

use super::{document, named};
use crate::auth::operator::Occupied;
use crate::cli::CliError;
use crate::cli::beside::Beside;
use crate::cli::confirm::confirm;
use crate::cli::output::Output;
use crate::domain::{PhoneNumber, User};
use crate::storage::{StoreResult, Tx};

pub(super) fn create(
    beside: &Beside,
    output: &mut Output,
    phone: &str,
    role: Option<&str>,
    verified: bool,
) -> Result<(), CliError> {
    let phone = beside.phone(phone)?;
    let role = known_role(beside, role.unwrap_or(&beside.config.users.default_role))?;
    let (operator, new) = (beside.operator(), phone.clone());
    let user = beside.write(move |tx| operator.create(tx, &new, &role, verified))?;
    let user = user.map_err(|occupied| match occupied {
        Occupied::User => CliError::Refused(format!(
            "{} has a user already\n`freshk user show` shows it",
            beside.shown(&phone)
        )),
        Occupied::TestNumber => is_test_number(beside, &phone),
    })?;
    told(beside, output, &user, &format!("created {}", named(beside, &user)))
}

pub(super) fn set_role(beside: &Beside, output: &mut Output, name: &str, role: &str) -> Result<(), CliError> {
    let role = known_role(beside, role)?;
    let operator = beside.operator();
    let user = change(beside, name, move |tx, user| operator.set_role(tx, &user, &role))?;
    told(beside, output, &user, &format!("{} has the role {}", named(beside, &user), user.role))
}

pub(super) fn activate(beside: &Beside, output: &mut Output, name: &str) -> Result<(), CliError> {
    let operator = beside.operator();
    let user = change(beside, name, move |tx, user| operator.activate(tx, &user))?;
    told(beside, output, &user, &format!("{} is activated", named(beside, &user)))
}

pub(super) fn deactivate(beside: &Beside, output: &mut Output, name: &str) -> Result<(), CliError> {
    let operator = beside.operator();
    let (user, ended) = change(beside, name, move |tx, user| operator.deactivate(tx, &user))?;
    let text = format!("{} is deactivated; {ended} sessions ended", named(beside, &user));
    told(beside, output, &user, &text)
}

pub(super) fn set_phone(
    beside: &Beside,
    output: &mut Output,
    name: &str,
    phone: &str,
) -> Result<(), CliError> {
    let phone = beside.phone(phone)?;
    let (operator, new) = (beside.operator(), phone.clone());
    let changed = change(beside, name, move |tx, user| operator.set_phone(tx, &user, &new))?;
    let (user, ended) = changed.map_err(|occupied| match occupied {
        Occupied::User => CliError::Refused(format!(
            "{} belongs to another user\nlook at it with `freshk user show`, and delete it first if it is not wanted",
            beside.shown(&phone)
        )),
        Occupied::TestNumber => is_test_number(beside, &phone),
    })?;
    let text = format!(
        "{} has this phone now, and the name {}; {ended} sessions ended",
        named(beside, &user),
        beside.shown_name(&user.username)
    );
    told(beside, output, &user, &text)
}

pub(super) fn log_out(beside: &Beside, output: &mut Output, name: &str) -> Result<(), CliError> {
    let operator = beside.operator();
    let (user, ended) = change(beside, name, move |tx, user| {
        let ended = operator.log_out(tx, &user)?;
        Ok((user, ended))
    })?;
    if output.json {
        return Ok(output.json(&json!({ "id": user.id.0, "sessions_ended": ended }))?);
    }
    Ok(output.text(&format!("{} is logged out: {ended} sessions ended\n", named(beside, &user)))?)
}

pub(super) fn delete(beside: &Beside, output: &mut Output, name: &str, yes: bool) -> Result<(), CliError> {
    let user = beside.user(name)?;
    confirm(&format!("{} will be deleted, with all that identifies the person.", named(beside, &user)), yes)?;
    let operator = beside.operator();
    let id = user.id.to_string();
    let erased = change(beside, &id, move |tx, user| operator.delete(tx, &user))?;
    if output.json {
        return Ok(output.json(&json!({
            "id": user.id.0,
            "sessions": erased.sessions,
            "codes": erased.challenges,
            "spends": erased.spends,
            "audit_lines_cleared": erased.audit,
        }))?);
    }
    Ok(output.text(&format!(
        "{} is deleted: {} sessions, {} codes with their messages, {} units of quotas; {} audit lines no longer \
         name the phone\nwhat stays: those lines with the id {} and addresses, until audit.retention ends, and logs \
         and backups written before\n",
        named(beside, &user),
        erased.sessions,
        erased.challenges,
        erased.spends,
        erased.audit,
        user.id
    ))?)
}

/// Finds a user and changes it as it is at the moment of the write.
fn change<T, F>(beside: &Beside, name: &str, act: F) -> Result<T, CliError>
where
    T: Send + 'static,
    F: FnOnce(&mut dyn Tx, User) -> StoreResult<T> + Send + 'static,
{
    let id = beside.user(name)?.id;
    let changed = beside.write(move |tx| match tx.user(id)? {
        Some(user) => act(tx, user).map(Some),
        None => Ok(None),
    })?;
    changed
        .ok_or_else(|| CliError::Refused(format!("user {id} was deleted meanwhile\nnothing is left to do")))
}

fn is_test_number(beside: &Beside, phone: &PhoneNumber) -> CliError {
    CliError::Refused(format!(
        "{} is a test number: its code would log this user in\n`freshk sms test-number remove` takes it back first",
        beside.shown(phone)
    ))
}

fn known_role(beside: &Beside, role: &str) -> Result<String, CliError> {
    let roles = &beside.config.users.roles;
    if roles.iter().any(|known| known == role) {
        return Ok(role.to_owned());
    }
    Err(CliError::Usage(format!(
        "{role:?} is no role here: users.roles has {}\nchoose one of them, or add it to users.roles",
        roles.join(", ")
    )))
}

fn told(beside: &Beside, output: &mut Output, user: &User, text: &str) -> Result<(), CliError> {
    if output.json {
        Ok(output.json(&document(beside, user))?)
    } else {
        Ok(output.text(&format!("{text}\n"))?)
    }
}
