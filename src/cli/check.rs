//! `freshk check`: the deployment checklist, as a program.

use clap::Args;
use serde_json::json;

use super::engine::Place;
use super::output::{Output, counted};
use super::{CliError, Global};
use crate::clock::{Clock as _, SystemClock};
use crate::config::{Config, Faults, Loaded};
use crate::domain::Timestamp;
use line::{Line, Verdict};

mod cache;
mod delivery;
mod drill;
mod files;
mod line;
mod monitoring;
mod page;
mod postgres;
mod provider;
mod proxies;
mod room;
mod settings;
pub(super) mod systemd;
mod test_numbers;

/// What is looked at.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  freshk check
  freshk check --quiet                    from cron: prints what is not ok, and nothing when all is well
  freshk check --offline --json | jq '.lines[] | select(.verdict != \"ok\")'

Works beside a running server and changes nothing; run it as the user that runs the server. Exits with 1 if any \
line fails; a warning is yours to judge. Twilio is asked for the account, and its clock is compared with this machine's, \
unless --offline is given; the server's own /metrics is always read, on this machine.")]
pub struct CheckArgs {
    /// Call no other machine
    #[arg(long)]
    pub offline: bool,
    /// Print only what is not ok
    #[arg(long)]
    pub quiet: bool,
}

/// Lines that belong together.
struct Group {
    name: &'static str,
    lines: Vec<Line>,
}

/// Goes through the list.
///
/// # Errors
/// [`CliError::Refused`] if any line fails.
pub fn run(args: &CheckArgs, global: &Global, output: &mut Output) -> Result<(), CliError> {
    let mut groups = match Config::load(&global.sources()?) {
        Ok(loaded) => groups(&loaded, SystemClock::new().now(), args.offline),
        // Nothing else can be judged by a faulty configuration.
        Err(Faults(faults)) => {
            let lines = faults.into_iter().map(|fault| {
                Line::fail("configuration", format!("{}: {}", fault.key, fault.problem), fault.help)
            });
            vec![Group { name: "Configuration", lines: lines.collect() }]
        }
    };
    if args.quiet {
        for group in &mut groups {
            group.lines.retain(|line| line.verdict != Verdict::Ok);
        }
        groups.retain(|group| !group.lines.is_empty());
    }
    if output.json {
        output.json(&json!({ "lines": groups.iter().flat_map(Group::document).collect::<Vec<_>>() }))?;
    } else if args.quiet {
        output.text(&page::lines(&groups, output.screen()))?;
    } else {
        output.text(&page::text(&groups, output.screen()))?;
    }
    let failed = groups.iter().flat_map(|group| &group.lines).filter(|line| line.verdict == Verdict::Fail);
    match failed.count() {
        0 => Ok(()),
        failed => {
            let help =
                if failed == 1 { "do what is written below it" } else { "do what is written below each" };
            Err(CliError::refused(format!("{} failed", counted(failed, "check")), help))
        }
    }
}

fn groups(loaded: &Loaded, now: Timestamp, offline: bool) -> Vec<Group> {
    let config = &loaded.config;
    let place = Place::of(config);
    let (database, is_readable) = match &place {
        Place::File(file) => files::lines(config, file, &place, now),
        Place::Server(settings) => postgres::lines(loaded, settings, &place, now),
    };
    let page = monitoring::page(config, &place, offline);
    let readable = is_readable.then_some(&place);
    let metrics = page.as_ref().and_then(|page| page.as_deref().ok());
    vec![
        Group { name: "Configuration", lines: settings::lines(loaded, &place) },
        Group {
            name: "Text messages",
            lines: provider::lines(config, now, offline)
                .into_iter()
                .chain(delivery::line(config, now, readable, metrics))
                .collect(),
        },
        Group {
            name: "Network",
            lines: [settings::tls(config, now), proxies::line(config, now, readable, metrics)]
                .into_iter()
                .chain(test_numbers::line(config, now, readable))
                .collect(),
        },
        Group { name: "Database", lines: database.into_iter().chain(cache::line(config, offline)).collect() },
        Group { name: "Monitoring", lines: monitoring::lines(config, &place, now, page.as_ref()) },
    ]
}

impl Group {
    fn document(&self) -> impl Iterator<Item = serde_json::Value> {
        self.lines.iter().map(|line| {
            json!({
                "group": self.name,
                "check": line.what,
                "verdict": line.verdict.as_str(),
                "found": line.found,
                "help": line.help,
            })
        })
    }
}
