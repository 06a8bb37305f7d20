//! `freshk limit`: who has spent what.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Value, json};

use super::admin::{AdminContext, LIMITS, LIMITS_WRITING, PAGE};
use super::output::{Output, counted};
use super::{CliError, Global, when};
use crate::domain::guard::{Place, Scope};
use crate::domain::quota::{DAY, EXPORTS, Endpoint, Limit, Quota, REFUNDS};
use crate::domain::{ClientAddress, Mode, PhoneNumber, SpendId, Timestamp};
use crate::limits::window::{self, LimitDecision};
use crate::storage::Locks;

mod held;

use held::Held;

/// What can be done with limits. KEY is an address or a phone.
#[derive(Debug, Subcommand)]
pub enum LimitCommand {
    /// Show what a key has left, or without one every key that has nothing left
    #[command(after_long_help = "\
Examples:
  freshk limit show +1234567890
  freshk limit show 203.0.113.7
  freshk limit show --json | jq '.limits[] | .key'

QUOTA is ip:request, ip:verify, ip:resend, ip:account_delete or ip (calls of an address), user (codes sent to a phone, in a window and \
in a day), failures (wrong guesses for a phone in a day), refunds (units given back to a phone in a day, because an \
SMS failed) or export (exports of a user, whose id is the key). A key such as device:0f3a… is a device on which somebody has logged in: it has quotas of its own. A key such as erased:0f3a… \
is a phone whose user was deleted; what it has spent counts on for whoever registers it. RESET is when the next unit returns.

Below the table stand the budgets for text messages, and what the guard against SMS pumping holds back: which network, range of \
numbers or country, and why.")]
    Show {
        /// An address or a phone
        key: Option<String>,
    },
    /// Reset all quotas of a key
    #[command(after_long_help = "\
Examples:
  freshk limit reset +1234567890       also lifts a day of wrong guesses, and the quotas of its user's devices
  freshk limit reset 2001:db8::1       its whole /64, as it is counted, and the /48 around it

What the guard holds back of the address's network, or of the thousand numbers around the phone, is let go. A running server sees \
it within a second.")]
    Reset {
        /// An address or a phone
        key: String,
    },
}

/// Whose quotas.
enum Key {
    Phone(PhoneNumber),
    Address(ClientAddress),
}

/// A quota of a key as it stands.
struct Row {
    quota: Quota,
    subject: String,
    limit: Limit,
    used: usize,
    left: u32,
    reset: Option<Timestamp>,
}

/// Runs a command.
///
/// # Errors
/// [`CliError`]
pub fn run(command: &LimitCommand, global: &Global, output: &mut Output) -> Result<(), CliError> {
    let needs = if matches!(command, LimitCommand::Show { .. }) { LIMITS } else { LIMITS_WRITING };
    let admin = AdminContext::open(global, needs)?;
    match command {
        LimitCommand::Show { key: Some(key) } => {
            let key = read_key(&admin, key)?;
            let rows = of_key(&admin, &key)?;
            show(&admin, output, &rows, &Held::read(&admin, Some(&key))?)
        }
        LimitCommand::Show { key: None } => {
            let rows = out(&admin)?;
            show(&admin, output, &rows, &Held::read(&admin, None)?)
        }
        LimitCommand::Reset { key } => reset(&admin, output, key),
    }
}

fn reset(admin: &AdminContext, output: &mut Output, key: &str) -> Result<(), CliError> {
    let key = read_key(admin, key)?;
    let subjects = key.subjects();
    let phone = match &key {
        Key::Phone(phone) => Some(phone.clone()),
        Key::Address(_) => None,
    };
    let shown = subjects.iter().map(|subject| shown(admin, subject)).collect::<Vec<_>>().join(" and ");
    let locks = match &key {
        Key::Phone(phone) => Locks::none().phone(phone),
        Key::Address(_) => subjects.iter().fold(Locks::none(), Locks::address),
    };
    let block = match &key {
        Key::Phone(phone) => (Scope::Range, Place::range_of(phone).to_owned()),
        Key::Address(address) => (Scope::Network, Place::network_of(*address)),
    };
    let (units, _) = admin.act(locks, move |operator| {
        operator.end_block(block.0, &block.1)?;
        operator.reset_limits(&subjects, phone.as_ref())
    })?;
    if output.json {
        return Ok(output.json(&json!({ "key": shown, "units_given_back": units }))?);
    }
    Ok(output
        .sentences(&format!("all quotas of {shown} are reset: {} given back\n", counted(units, "unit")))?)
}

fn read_key(admin: &AdminContext, text: &str) -> Result<Key, CliError> {
    if text.starts_with('+') {
        return admin.phone_to_find(text).map(Key::Phone);
    }
    address_of(text).parse().map(|ip| Key::Address(ClientAddress::new(ip))).map_err(|_| {
        CliError::usage(
            format!("{text:?} is neither an address nor a phone"),
            "write 203.0.113.7, 2001:db8::1 or +1234567890",
        )
    })
}

impl Key {
    /// Under what names it spends: an IPv6 address for the /48 around it, too.
    fn subjects(&self) -> Vec<String> {
        match self {
            Self::Phone(phone) => vec![phone.as_str().to_owned()],
            Self::Address(address) => std::iter::once(address.subject()).chain(address.site()).collect(),
        }
    }

    fn has(&self, quota: Quota) -> bool {
        match quota {
            Quota::Ip(_) | Quota::IpShared => matches!(self, Self::Address(_)),
            Quota::User(_) | Quota::Failures(_) | Quota::Refunds(_) => matches!(self, Self::Phone(_)),
            // It is the user's.
            Quota::PhoneChanges | Quota::Export => false,
        }
    }
}

/// The address in a subject of the ledger.
fn address_of(subject: &str) -> &str {
    subject.strip_suffix("/64").or_else(|| subject.strip_suffix("/48")).unwrap_or(subject)
}

/// Every quota of one key.
fn of_key(admin: &AdminContext, key: &Key) -> Result<Vec<Row>, CliError> {
    let now = admin.now();
    let mut quotas = Vec::new();
    for subject in key.subjects() {
        for quota in Quota::ALL.into_iter().filter(|quota| key.has(*quota)) {
            let limits = limits_of(admin, quota, &subject);
            quotas.extend(limits.into_iter().map(|limit| (quota, subject.clone(), limit)));
        }
    }
    admin.read(move |view| {
        let row = |(quota, subject, limit): (Quota, String, Limit)| {
            let spent = view.spends(quota, &[&subject], now - limit.window)?;
            Ok(Row::new(quota, subject, limit, &spent, now))
        };
        quotas.into_iter().map(row).collect()
    })
}

/// Every quota that is spent.
fn out(admin: &AdminContext) -> Result<Vec<Row>, CliError> {
    let now = admin.now();
    let mut spent: BTreeMap<(String, &'static str), Vec<Timestamp>> = BTreeMap::new();
    let mut after = SpendId(0);
    loop {
        let page = admin.read(move |view| view.spends_after(after, PAGE))?;
        let Some(last) = page.last() else { break };
        after = last.id;
        for spend in page.into_iter().filter(|spend| spend.at > now - DAY.max(window_of(admin))) {
            spent.entry((spend.subject, spend.quota.as_str())).or_default().push(spend.at);
        }
    }
    let mut rows = Vec::new();
    for ((subject, name), mut spent) in spent {
        let Some(quota) = Quota::parse(name) else { continue };
        spent.sort_unstable();
        for limit in limits_of(admin, quota, &subject) {
            let since = spent.partition_point(|at| *at <= now - limit.window);
            rows.push(Row::new(quota, subject.clone(), limit, &spent[since..], now));
        }
    }
    rows.retain(|row| row.left == 0);
    Ok(rows)
}

fn window_of(admin: &AdminContext) -> Duration {
    admin.config.limits.policy.window
}

/// What is configured, as far as it is on and counts.
fn limits_of(admin: &AdminContext, quota: Quota, subject: &str) -> Vec<Limit> {
    let policy = &admin.config.limits.policy;
    let mut limits = match quota {
        Quota::Ip(_) | Quota::IpShared => {
            let address = address_of(subject).parse();
            let counts = address.ok().map(|address| policy.for_address(Endpoint::Request, address));
            let (shared, is_site) = (quota == Quota::IpShared, subject.ends_with("/48"));
            counts
                .filter(|(counts, _)| (*counts == Quota::IpShared) == shared)
                .map(|(_, limit)| if is_site { limit.of_site() } else { limit })
                .into_iter()
                .collect()
        }
        Quota::User(_) | Quota::PhoneChanges => policy.codes().to_vec(),
        Quota::Failures(_) => vec![admin.config.otp.failures()],
        Quota::Refunds(_) => vec![REFUNDS],
        Quota::Export => vec![EXPORTS],
    };
    let is_there = admin.config.debug || !is_testing(quota);
    limits.retain(|limit| limit.units > 0 && is_there);
    limits
}

const fn is_testing(quota: Quota) -> bool {
    matches!(
        quota,
        Quota::User(Mode::Testing) | Quota::Failures(Mode::Testing) | Quota::Refunds(Mode::Testing)
    )
}

impl Row {
    /// Of the instants within the window, oldest first; those in the future count as now.
    fn new(quota: Quota, subject: String, limit: Limit, spent: &[Timestamp], now: Timestamp) -> Self {
        let spent: Vec<_> = spent.iter().map(|at| (*at).min(now)).collect();
        let (left, wait) = match window::judge(&[limit], &spent, now) {
            Some((_, LimitDecision::Allowed { remaining, reset })) => (remaining + 1, reset),
            Some((_, LimitDecision::Refused { retry_after })) => (0, retry_after),
            None => (0, Duration::ZERO),
        };
        let reset = (!spent.is_empty()).then_some(now + wait);
        Self { quota, subject, limit, used: spent.len(), left, reset }
    }
}

fn show(admin: &AdminContext, output: &mut Output, rows: &[Row], held: &Held) -> Result<(), CliError> {
    if output.json {
        let limits: Vec<Value> = rows
            .iter()
            .map(|row| {
                json!({
                    "key": shown(admin, &row.subject),
                    "quota": row.quota.as_str(),
                    "limit": row.limit.units,
                    "window_seconds": row.limit.window.as_secs(),
                    "used": row.used,
                    "left": row.left,
                    "reset": row.reset.map(Timestamp::iso),
                })
            })
            .collect();
        let (blocks, budgets) = held.documents();
        let document =
            json!({ "limits": limits, "total": limits.len(), "blocks": blocks, "budgets": budgets });
        return Ok(output.json(&document)?);
    }
    let rows = rows.iter().map(|row| {
        [
            shown(admin, &row.subject),
            row.quota.as_str().to_owned(),
            row.limit.units.to_string(),
            humantime::format_duration(row.limit.window).to_string(),
            row.used.to_string(),
            row.left.to_string(),
            row.reset.map_or_else(|| "-".to_owned(), when::short),
        ]
    });
    output.table(["key", "quota", "limit", "window", "used", "left", "reset (UTC)"], rows)?;
    held.text(output)
}

fn shown(admin: &AdminContext, subject: &str) -> String {
    match PhoneNumber::parse(subject, 1) {
        Ok(phone) => admin.shown(&phone),
        Err(_) => subject.to_owned(),
    }
}
