//! `phone.strict`: before anybody calls, every number gets the spelling by which its user is found.

use crate::auth::Outbox;
use crate::auth::operator::{self, Means, Spellings, Telephone};
use crate::cli::CliError;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::keys::KeyRing;
use crate::domain::{Secret, UserId};
use crate::storage::{Locks, Store, StoreResult, View};

/// Users of a page.
const PAGE: usize = 1000;

/// Users whose numbers are written in one transaction.
const SLICE: usize = 50;

/// Spells the numbers as the plan does. Where two users have one telephone, one of them gets it, and the log says so.
pub(super) async fn unify(
    config: &Config,
    secret: &Secret,
    outbox: &Outbox,
    (store, clock): (&Store, &dyn Clock),
) -> Result<(), CliError> {
    if !config.phone.strict {
        return Ok(());
    }
    let (mut found, mut after) = (Spellings::default(), UserId(0));
    loop {
        let page = store.read(move |view| view.users_after(after, PAGE)).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        found.take(page);
    }
    let unassigned = found.unassigned;
    let telephones = store.read(move |view| found.telephones(view)).await?;
    let keys = KeyRing::new(secret, &config.secret_key_fallbacks).into();
    let means = Means { keys, outbox: outbox.clone() };
    let mut respelled = 0;
    for slice in telephones.chunks(SLICE) {
        let slice = slice.to_vec();
        let locks = slice.iter().fold(Locks::none().test_numbers(), |locks, telephone| {
            let users = &telephone.users;
            let locks = locks.phones(users.iter().filter_map(|user| user.phone.as_ref()));
            locks.phone(&telephone.phone).users(users.iter().map(|user| &user.id))
        });
        let act = operator::act(store, locks, clock.now(), means.clone(), move |operator| {
            slice.iter().try_fold(0, |done, telephone| Ok(done + usize::from(operator.respell(telephone)?)))
        });
        respelled += act.await?;
    }
    let shared = store.read(move |view| still_shared(view, &telephones)).await?;
    if respelled > 0 {
        tracing::info!(
            users = respelled,
            "phone.strict: these numbers have the spelling of the numbering plan now"
        );
    }
    if shared > 0 {
        tracing::error!(
            telephones = shared,
            help = "`freshk user check-duplicates` lists them; keep one account of each, and delete the others or give them \
                    another number",
            "phone.strict: several users have the same telephone, and only one of them can log in"
        );
    }
    if unassigned > 0 {
        tracing::warn!(
            users = unassigned,
            help = "give them another number with `freshk user set-phone`, or set phone.strict to false",
            "phone.strict: the numbering plan gives these numbers to no telephone, and their users cannot log in"
        );
    }
    Ok(())
}

/// How many of the telephones have several users, now that some registrations have made way.
fn still_shared(view: &dyn View, telephones: &[Telephone]) -> StoreResult<usize> {
    let mut shared = 0;
    for telephone in telephones.iter().filter(|telephone| telephone.is_shared()) {
        let mut users = 0;
        for user in &telephone.users {
            users += usize::from(view.user(user.id)?.is_some());
        }
        shared += usize::from(users > 1);
    }
    Ok(shared)
}
