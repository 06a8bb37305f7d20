//! What changes one user.

use serde_json::{Value, json};

use super::document;
use crate::auth::operator::{Occupied, Operator};
use crate::cli::CliError;
use crate::cli::admin::AdminContext;
use crate::cli::confirm::confirm;
use crate::cli::output::{Output, counted};
use crate::domain::{PhoneNumber, User};
use crate::storage::{Locks, StoreResult};

pub(super) fn create(
    admin: &AdminContext,
    output: &mut Output,
    phone: &str,
    role: Option<&str>,
    verified: bool,
) -> Result<(), CliError> {
    let phone = admin.phone(phone)?;
    let role = known_role(admin, role.unwrap_or(&admin.config.users.default_role))?;
    let new = phone.clone();
    let locks = Locks::none().user_of(&phone);
    let user = admin.act(locks, move |operator| operator.create(&new, &role, verified))?;
    let user = user.map_err(|occupied| match occupied {
        Occupied::User => CliError::refused(
            format!("{} has a user already", admin.shown(&phone)),
            "`freshk user show` shows it",
        ),
        Occupied::TestNumber => is_test_number(admin, &phone),
    })?;
    told(admin, output, &user, &format!("created {}", admin.named(&user)))
}

pub(super) fn set_role(
    admin: &AdminContext,
    output: &mut Output,
    name: &str,
    role: &str,
) -> Result<(), CliError> {
    let role = known_role(admin, role)?;
    let user = change(admin, name, None, move |operator, user| operator.set_role(&user, &role))?;
    told(admin, output, &user, &format!("{} has the role {}", admin.named(&user), user.role))
}

pub(super) fn set_attribute(
    admin: &AdminContext,
    output: &mut Output,
    user: &str,
    name: &str,
    value: &str,
) -> Result<(), CliError> {
    let of: Value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    let set = name.to_owned();
    let changed = change(admin, user, None, move |operator, user| {
        Ok(match user.attributes.with(&set, of.clone()) {
            Ok(attributes) => Ok(operator.set_attributes(&user, attributes)?),
            Err(error) => Err(error),
        })
    })?;
    let user = changed.map_err(|error| {
        let help = "choose another name or a shorter value; `freshk user show` shows what is there";
        CliError::refused(format!("the attributes would be {error}"), help)
    })?;
    told(admin, output, &user, &format!("{} has the attributes {}", admin.named(&user), user.attributes))
}

pub(super) fn activate(admin: &AdminContext, output: &mut Output, name: &str) -> Result<(), CliError> {
    let activated = change(admin, name, None, |operator, user| match user.phone {
        Some(_) => operator.activate(&user).map(Ok),
        None => Ok(Err(user)),
    })?;
    let user = activated.map_err(|user| {
        let problem = format!("the number of user {} is somebody else's now", user.id);
        CliError::refused(problem, "give the user another number first with `freshk user set-phone`")
    })?;
    told(admin, output, &user, &format!("{} is activated", admin.named(&user)))
}

pub(super) fn restore(admin: &AdminContext, output: &mut Output, name: &str) -> Result<(), CliError> {
    let restored = change(admin, name, None, |operator, user| match user.deletes_at {
        Some(_) => operator.restore(&user).map(Ok),
        None => Ok(Err(user)),
    })?;
    match restored {
        Ok(user) => told(admin, output, &user, &format!("{} stays", admin.named(&user))),
        Err(user) => Err(CliError::refused(
            format!("{} is not to be deleted", admin.named(&user)),
            "nothing is left to do",
        )),
    }
}

pub(super) fn deactivate(admin: &AdminContext, output: &mut Output, name: &str) -> Result<(), CliError> {
    let (user, ended) = change(admin, name, None, |operator, user| operator.deactivate(&user))?;
    let text = format!("{} is deactivated: {} ended", admin.named(&user), counted(ended, "session"));
    told(admin, output, &user, &text)
}

pub(super) fn set_phone(
    admin: &AdminContext,
    output: &mut Output,
    name: &str,
    phone: &str,
) -> Result<(), CliError> {
    let phone = admin.phone(phone)?;
    let new = phone.clone();
    let changed = change(admin, name, Some(&phone), move |operator, user| operator.set_phone(&user, &new))?;
    let (user, ended) = changed.map_err(|occupied| match occupied {
        Occupied::User => CliError::refused(
            format!("{} belongs to another user", admin.shown(&phone)),
            "`freshk user show` shows that user; delete it first if it is not wanted",
        ),
        Occupied::TestNumber => is_test_number(admin, &phone),
    })?;
    let text = format!(
        "{} has this phone now, and the name {}: {} ended",
        admin.named(&user),
        admin.shown_name(&user.username),
        counted(ended, "session")
    );
    told(admin, output, &user, &text)
}

pub(super) fn cancel_phone_change(
    admin: &AdminContext,
    output: &mut Output,
    name: &str,
) -> Result<(), CliError> {
    let (user, is_cancelled) = change(admin, name, None, |operator, user| {
        let is_cancelled = operator.cancel_phone_change(&user)?;
        Ok((user, is_cancelled))
    })?;
    if !is_cancelled {
        return Err(CliError::refused(
            format!("no change of number of {} waits", admin.named(&user)),
            "`freshk user show` shows the number; `freshk user set-phone` changes it",
        ));
    }
    told(admin, output, &user, &format!("{} keeps its number: the change is taken back", admin.named(&user)))
}

pub(super) fn log_out(admin: &AdminContext, output: &mut Output, name: &str) -> Result<(), CliError> {
    let (user, ended) = change(admin, name, None, |operator, user| {
        let ended = operator.log_out(&user)?;
        Ok((user, ended))
    })?;
    if output.json {
        return Ok(output.json(&json!({ "id": user.id.0, "sessions_ended": ended }))?);
    }
    Ok(output.sentences(&format!(
        "{} is logged out: {} ended\n",
        admin.named(&user),
        counted(ended, "session")
    ))?)
}

pub(super) fn delete(
    admin: &AdminContext,
    output: &mut Output,
    name: &str,
    yes: bool,
) -> Result<(), CliError> {
    let user = admin.user(name)?;
    confirm(&format!("{} will be deleted, with all that identifies the person.", admin.named(&user)), yes)?;
    let id = user.id.to_string();
    let erased = change(admin, &id, None, |operator, user| operator.delete(&user))?;
    // The write-ahead log of a server's database holds the user until it is emptied.
    admin.checkpoint()?;
    if output.json {
        return Ok(output.json(&json!({
            "id": user.id.0,
            "sessions": erased.sessions,
            "codes": erased.challenges,
            "spends_kept": erased.spends,
            "audit_lines_cleared": erased.audit,
        }))?);
    }
    Ok(output.sentences(&format!(
        "{} is deleted, with {}, {} and their messages; the phone is removed from {}\n\
         kept: those lines, with the id {} and addresses, until audit.retention ends; {} of spent quotas under a keyed hash, for \
         a day at most; logs and backups written before\n",
        admin.named(&user),
        counted(erased.sessions, "session"),
        counted(erased.challenges, "code"),
        counted(erased.audit, "audit line"),
        user.id,
        counted(erased.spends, "unit"),
    ))?)
}

/// How often an act begins again because the user got another phone before it was locked.
const TRIES: usize = 5;

/// Finds a user and changes it as it is at the moment of the write; `phone` is the one that it is to have.
fn change<T, F>(admin: &AdminContext, name: &str, phone: Option<&PhoneNumber>, act: F) -> Result<T, CliError>
where
    T: Send + 'static,
    F: Fn(&mut Operator<'_, '_>, User) -> StoreResult<T> + Clone + Send + 'static,
{
    let id = admin.user(name)?.id;
    for _ in 0..TRIES {
        let Some(found) = admin.read(move |view| view.user(id))? else { break };
        let locks = Locks::none().test_numbers().phones(&found.phone).phones(phone).user(id);
        let act = act.clone();
        let changed = admin.act(locks, move |operator| match operator.view().user(id)? {
            Some(user) if user.phone == found.phone => act(operator, user).map(Some),
            _ => Ok(None),
        })?;
        if let Some(changed) = changed {
            return Ok(changed);
        }
    }
    Err(CliError::refused(format!("user {id} was deleted meanwhile"), "nothing is left to do"))
}

fn is_test_number(admin: &AdminContext, phone: &PhoneNumber) -> CliError {
    CliError::refused(
        format!("{} is a test number, and its code would log this user in", admin.shown(phone)),
        "remove it first with `freshk sms test-number remove`",
    )
}

fn known_role(admin: &AdminContext, role: &str) -> Result<String, CliError> {
    let roles = &admin.config.users.roles;
    if roles.iter().any(|known| known == role) {
        return Ok(role.to_owned());
    }
    Err(CliError::usage(
        format!("{role:?} is not a role: users.roles has {}", roles.join(", ")),
        "choose one of them, or add it to users.roles",
    ))
}

fn told(admin: &AdminContext, output: &mut Output, user: &User, text: &str) -> Result<(), CliError> {
    if output.json {
        Ok(output.json(&document(admin, user))?)
    } else {
        Ok(output.sentences(&format!("{text}\n"))?)
    }
}
