//! What the server does from time to time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::systemd::ServiceManager;
use crate::auth::Auth;
use crate::cli::backups;
use crate::cli::database::{BackupError, ServeLock};
use crate::cli::engine::Place;
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::{Help as _, Timestamp};
use crate::metrics::Metrics;
use crate::sms::route::Route;
use crate::storage::Store;

/// How often the write-ahead log is moved into the database where it does not grow long before.
const CHECKPOINT: Duration = Duration::from_secs(1);

/// How often rows that are over are purged, and what else comes due.
const MAINTENANCE: Duration = Duration::from_secs(30);

/// How often the server looks for codes that the next sender is to send, and for messages to ask after.
const SENDING_ROUND: Duration = Duration::from_secs(1);

/// How often the server looks who serves the same database.
const SHARING_ROUND: Duration = Duration::from_secs(1);

/// How often the server looks whether a backup is due.
const BACKUP_ROUND: Duration = Duration::from_secs(30);

/// How often the server looks whether its lock's file is there.
const LOCK_ROUND: Duration = Duration::from_secs(1);

/// Maintains the database until `stop`; a round that has begun is finished.
pub(super) async fn maintain(auth: Arc<Auth>, store: Store, stop: CancellationToken) {
    let moving = async {
        let mut ticks = every(CHECKPOINT);
        while stop.run_until_cancelled(log_is_due(&store, &mut ticks)).await.is_some() {
            if let Err(error) = store.checkpoint().await {
                tracing::warn!(%error, "the write-ahead log could not be moved; the next round tries again");
            }
        }
    };
    let maintaining = async {
        let mut ticks = every(MAINTENANCE);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Err(error) = auth.maintain().await {
                tracing::warn!(%error, "a round of maintenance failed; the next one tries again");
            }
        }
    };
    tokio::join!(moving, maintaining);
}

/// Waits for the next tick, or until the write-ahead log is long.
async fn log_is_due(store: &Store, ticks: &mut Interval) {
    tokio::select! {
        _ = ticks.tick() => {}
        () = store.long_log() => ticks.reset(),
    }
}

/// Asks what became of messages that nobody reports on, and sends codes by the next sender of which nothing good is known in time,
/// until `stop`.
pub(super) async fn send_again(auth: Arc<Auth>, stop: CancellationToken) {
    let mut ticks = every(SENDING_ROUND);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        drop(auth.ask());
        drop(auth.send_again());
    }
}

/// Shares the pace of the senders among the servers that live, until `stop`; where nobody can tell, it stays as it was.
pub(super) async fn share_pace(senders: Route, store: Store, stop: CancellationToken) {
    let mut ticks = every(SHARING_ROUND);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Ok(nodes) = store.read(|view| view.nodes()).await {
            senders.share(u32::try_from(nodes.len()).unwrap_or(u32::MAX));
        }
    }
}

/// Makes the backups that are due; a task of its own, since a large copy must not delay maintenance.
/// What a stop leaves of it is ended within a few seconds.
pub(super) async fn back_up(
    config: Config,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    stop: CancellationToken,
) {
    // Those of a server are its own operator's.
    let Place::File(file) = Place::of(&config) else { return };
    let mut rounds = every(BACKUP_ROUND);
    let mut last = None;
    loop {
        if stop.run_until_cancelled(rounds.tick()).await.is_none() {
            return;
        }
        let (path, settings, now) = (file.path().to_owned(), config.backup.clone(), clock.now());
        // Where backups vanish, by a command or a person, one is not made with every round.
        if last.is_some_and(|last: Timestamp| last.until(now) < settings.every) {
            continue;
        }
        let making = spawn_blocking(move || backups::make_if_due(&path, &settings, now));
        let Some(made) = stop.run_until_cancelled(making).await else { return };
        match made {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(made))) => {
                last = Some(now);
                tracing::info!("the database was backed up");
                take_away(&config, made, &metrics, &stop).await;
            }
            Ok(Err(error)) => {
                metrics.backup_failed();
                tracing::error!(%error, help = error.help(), "the backup in backup.dir failed");
                if let BackupError::Old { made, .. } = error {
                    last = Some(now);
                    take_away(&config, made, &metrics, &stop).await;
                }
            }
            Err(error) => {
                metrics.backup_failed();
                tracing::error!(%error, "the task of a backup failed");
            }
        }
    }
}

/// Runs `backup.command`, if there is one.
async fn take_away(config: &Config, backup: PathBuf, metrics: &Metrics, stop: &CancellationToken) {
    let Some(command) = config.backup.command.clone() else { return };
    match backups::command::run(command, backup, stop.clone()).await {
        Ok(()) => tracing::info!("backup.command has taken the backup"),
        Err(error) => {
            metrics.backup_command_failed();
            tracing::error!(%error, help = error.help(), "backup.command failed, so the backup may be on this machine alone");
        }
    }
}

/// Tells the service manager that the server is alive, until `stop`, and then that it stops.
pub(super) async fn report(manager: Arc<ServiceManager>, store: Store, stop: CancellationToken) {
    if stop.run_until_cancelled(manager.keep_alive(store)).await.is_none() {
        manager.stopping();
    }
}

/// Keeps the right to serve: makes the lock's file anew where somebody deletes it.
pub(super) async fn keep_lock(lock: Arc<ServeLock>) {
    let mut rounds = every(LOCK_ROUND);
    loop {
        rounds.tick().await;
        let kept = Arc::clone(&lock);
        drop(spawn_blocking(move || kept.keep()).await);
    }
}

pub(super) fn every(period: Duration) -> Interval {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use futures_util::future::{BoxFuture, ready};

    use super::*;
    use crate::domain::SessionId;
    use crate::storage::{Engine, Principal, ReadJob, StoreError, StoreResult, WriteJob};

    /// An engine whose log is long.
    struct Long;

    impl Engine for Long {
        fn submit(&self, _: Box<dyn WriteJob>) -> StoreResult<()> {
            Err(StoreError::Unavailable)
        }

        fn query(&self, _: ReadJob) -> BoxFuture<'_, StoreResult<()>> {
            ready(Err(StoreError::Unavailable)).boxed()
        }

        fn principal<'a>(&'a self, _: &'a SessionId) -> BoxFuture<'a, StoreResult<Option<Principal>>> {
            ready(Err(StoreError::Unavailable)).boxed()
        }

        fn known(&self, _: &SessionId) -> Option<Principal> {
            None
        }

        fn foreign_writes(&self) -> u64 {
            0
        }

        fn checkpoint(&self) -> BoxFuture<'_, StoreResult<()>> {
            ready(Ok(())).boxed()
        }

        fn long_log(&self) -> BoxFuture<'_, ()> {
            ready(()).boxed()
        }

        fn close(&self) -> BoxFuture<'_, ()> {
            ready(()).boxed()
        }
    }

    #[tokio::test]
    async fn a_long_log_is_moved_before_its_time() {
        let mut ticks = every(Duration::from_hours(1));
        ticks.tick().await;
        assert!(log_is_due(&Store::new(Arc::new(Long)), &mut ticks).now_or_never().is_some());
    }
}
