//! `freshk user check-duplicates`.

use serde_json::{Value, json};

use super::document;
use crate::auth::operator::{Spellings, Telephone};
use crate::cli::admin::{AdminContext, PAGE};
use crate::cli::output::{self, Listed, Output};
use crate::cli::{CliError, when};
use crate::domain::UserId;

/// Lists the telephones that several users have, whether or not `phone.strict` is on.
///
/// # Errors
/// [`CliError`]
pub(super) fn run(admin: &AdminContext, output: &mut Output, limit: usize) -> Result<(), CliError> {
    let (mut found, mut after) = (Spellings::default(), UserId(0));
    loop {
        let page = admin.read(move |view| view.users_after(after, PAGE))?;
        let Some(last) = page.last() else { break };
        after = last.id;
        found.take(page);
    }
    let (unassigned, otherwise) = (found.unassigned, found.otherwise);
    let mut shared = admin.read(move |view| found.telephones(view))?;
    shared.retain(Telephone::is_shared);
    let listed = Listed::first(shared, limit);
    listed.tell(output.json);
    let Listed { rows, total, .. } = listed;
    if output.json {
        let telephones: Vec<Value> = rows
            .iter()
            .map(|telephone| {
                let users: Vec<_> = telephone.users.iter().map(|user| document(admin, user)).collect();
                json!({ "phone_number": admin.shown(&telephone.phone), "users": users })
            })
            .collect();
        return Ok(output.json(&json!({
            "duplicates": telephones,
            "total": total,
            "spelled_otherwise": otherwise,
            "unassigned": unassigned,
        }))?);
    }
    let word = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let lines = rows.iter().flat_map(|telephone| {
        telephone.users.iter().map(|user| {
            [
                admin.shown(&telephone.phone),
                user.id.to_string(),
                admin.shown_name(&user.username),
                admin.shown_if_any(user).unwrap_or_else(|| "–".to_owned()),
                word(user.is_active),
                word(user.phone_verified),
                when::short(user.joined_at),
            ]
        })
    });
    let header = ["telephone", "id", "username", "phone", "active", "verified", "joined (UTC)"];
    output.table(header, lines)?;
    output::note(&format!(
        "telephones with several users: {total}; of each, the first user listed gets it where phone.strict is on,\n\
         unless another one has it as the numbering plan spells it, and has logged in or was deactivated\n\
         users whose number is spelled otherwise than by the numbering plan: {otherwise}\n\
         users whose number is no telephone's, who could not log in: {unassigned}"
    ));
    Ok(())
}
