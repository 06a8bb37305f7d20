//! The server's eye on itself: takes a reading of its metrics each minute, tells of alarms, and writes the operator's page.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::spawn_blocking;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{child, when};
use crate::clock::{Clock, Stopwatch};
use crate::config::command_line::CommandLine;
use crate::domain::Timestamp;
use crate::domain::node::Node;
use crate::http::health::Readiness;
use crate::http::ops;
use crate::metrics::Format;
use crate::storage::Store;
use crate::storage::audit::{AuditLine, AuditOf};
use crate::sync::lock;
use crate::watch::Watch;
use crate::watch::alarms::{Change, Turn};
use crate::watch::history::EVERY;
use crate::watch::notify::{self, Notifier};
use crate::watch::page::{Facts, render};

/// How many lines of the audit trail the page shows.
const LINES: usize = 15;

/// How often telling an alarm is tried, a minute apart.
const TRIES: u32 = 60;

/// How long a command has to tell an alarm.
const COMMAND: Duration = Duration::from_secs(30);

/// After so long nothing more is told in a round.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is looked at, and who is told.
pub struct Watching {
    /// What was seen.
    pub watch: Watch,
    /// The metrics.
    pub metrics: ops::Page,
    /// Whether the server can write.
    pub readiness: Readiness,
    /// The database.
    pub store: Store,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Who is told by HTTP.
    pub notifier: Notifier,
    /// What is run to tell an alarm.
    pub command: Option<CommandLine>,
    /// When the server started.
    pub started: Timestamp,
    /// Which database is served.
    pub database: String,
    /// Whether alarms are logged; on a machine for development they would tell of what nobody has set up.
    pub is_logged: bool,
}

/// An alarm that nobody has been told of yet.
struct Untold {
    change: Change,
    by: Means,
    tries: u32,
}

/// How alarms are told; the value is the key that asks for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Means {
    Url,
    Command,
}

impl Means {
    const fn key(self) -> &'static str {
        match self {
            Self::Url => "ops.alert_url",
            Self::Command => "ops.alert_command",
        }
    }
}

impl Watching {
    /// Takes readings until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let untold = Arc::new(std::sync::Mutex::new(Vec::new()));
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            // Whether the server can write is asked by a write, and only the heartbeat tells it.
            let is_ready = self.notifier.beats() && (self.readiness)().await;
            let (watching, untold, ends) = (self.clone(), untold.clone(), stop.clone());
            // Reading the sizes of files and telling others waits for a disk and a network.
            let round = spawn_blocking(move || watching.round(&mut lock(&untold), is_ready, &ends));
            if stop.run_until_cancelled(round).await.is_none() {
                return;
            }
        }
    }

    fn round(&self, untold: &mut Vec<Untold>, is_ready: bool, stop: &CancellationToken) {
        let metrics = (self.metrics)(ops::Reader::Server, Format::Text);
        for change in self.watch.look(&metrics, self.clock.now()) {
            if self.is_logged {
                log(&change);
            }
            let means = [(Means::Url, self.notifier.posts()), (Means::Command, self.command.is_some())];
            for (by, _) in means.into_iter().filter(|(_, is_set)| *is_set) {
                untold.push(Untold { change, by, tries: 0 });
            }
        }
        if is_ready
            && !self.watch.is_paging()
            && let Err(why) = self.notifier.beat()
        {
            tracing::warn!(why, "ops.heartbeat_url did not hear that all is well");
        }
        self.tell(untold, stop);
    }

    /// Tells what nobody was told of yet, in order: what an alarm is must not be told before what it was. What takes long waits
    /// for the next round, with its readings.
    fn tell(&self, untold: &mut Vec<Untold>, stop: &CancellationToken) {
        let (watch, mut stuck) = (Stopwatch::start(), Vec::new());
        untold.retain_mut(|one| {
            let whose = (one.change.rule.name, one.by);
            if stuck.contains(&whose) || watch.elapsed() > PATIENCE {
                return true;
            }
            let is_settled = self.is_settled(one, stop);
            if !is_settled {
                stuck.push(whose);
            }
            !is_settled
        });
    }

    /// Tells an alarm; true when it is told, or given up.
    fn is_settled(&self, untold: &mut Untold, stop: &CancellationToken) -> bool {
        let told = match untold.by {
            Means::Url => self.notifier.tell(&untold.change),
            Means::Command => self.run_command(&untold.change, stop),
        };
        let Err(why) = told else { return true };
        untold.tries += 1;
        let (alarm, key) = (untold.change.rule.name, untold.by.key());
        let is_given_up = untold.tries >= TRIES;
        if is_given_up {
            tracing::error!(alarm, key, why, "an alarm could not be told for an hour");
        } else {
            tracing::warn!(alarm, key, why, "an alarm could not be told; that is tried again in a minute");
        }
        is_given_up
    }

    fn run_command(&self, change: &Change, stop: &CancellationToken) -> Result<(), String> {
        let Some(command) = &self.command else { return Ok(()) };
        let words = command.with_all(&[
            ("{alert}", change.rule.name),
            ("{state}", change.turn.as_str()),
            ("{severity}", change.rule.severity.as_str()),
            ("{summary}", change.rule.summary),
            ("{text}", &notify::text(change)),
        ]);
        child::run(&words, COMMAND, stop).map_err(|error| error.to_string())
    }

    /// What writes the operator's page.
    pub fn overview(self: &Arc<Self>) -> ops::Overview {
        let watching = self.clone();
        Arc::new(move || watching.clone().page().boxed())
    }

    async fn page(self: Arc<Self>) -> String {
        let is_ready = (self.readiness)().await;
        let read = self.store.read(|view| {
            let lines = view.audit_before(&AuditOf::Everybody, i64::MAX, LINES)?;
            Ok((lines, view.nodes()?))
        });
        let (audit, nodes) = read.await.ok().unzip();
        let now = self.clock.now();
        let facts = Facts {
            now,
            started: self.started,
            database: self.database.clone(),
            is_ready,
            nodes: nodes.unwrap_or_default().iter().map(server).collect(),
            audit: audit.map(|lines| lines.iter().map(line).collect()),
        };
        let written = spawn_blocking(move || {
            let metrics = (self.metrics)(ops::Reader::Server, Format::Text);
            render(&facts, &self.watch.state(&metrics, now))
        });
        written.await.unwrap_or_default()
    }
}

fn log(change: &Change) {
    let (alarm, severity, help) = (change.rule.name, change.rule.severity.as_str(), change.rule.description);
    match change.turn {
        Turn::Opened => tracing::warn!(alarm, severity, help, "{}", change.rule.summary),
        Turn::Closed => tracing::info!(alarm, "an alarm is over: {}", change.rule.summary),
    }
}

fn server(node: &Node) -> [String; 3] {
    [node.host.clone(), node.version.clone(), when::short(node.started_at)]
}

fn line(line: &AuditLine) -> [String; 5] {
    let user = line.user.map(|user| format!("user {user}"));
    let about = [user, line.phone.clone()].into_iter().flatten().collect::<Vec<_>>().join(", ");
    [
        when::short(line.at),
        line.event.as_str().to_owned(),
        about,
        line.ip.clone().unwrap_or_default(),
        line.detail.clone().unwrap_or_default(),
    ]
}
