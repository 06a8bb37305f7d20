//! What the service manager learns: that the server is ready, alive or stopping (`sd_notify(3)`), over the socket
//! that `NOTIFY_SOCKET` names. Without one nothing is sent.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::storage::{Locks, Store};

/// The service manager, if there is one.
pub(super) struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// The one that the environment names.
    pub(super) fn of_environment() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let number = |name: &str| variable(name)?.to_str()?.parse::<u64>().ok();
        let socket = variable("NOTIFY_SOCKET").and_then(|name| match connect(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!(%error, "NOTIFY_SOCKET cannot be used, so the service manager does not learn that the server is ready");
                None
            }
        });
        // A watchdog may be meant for the process that started this one.
        let is_mine = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|_| is_mine).map(Duration::from_micros);
        Self { socket, watchdog: watchdog.filter(|watchdog| !watchdog.is_zero()) }
    }

    /// The server answers.
    pub(super) fn ready(&self) {
        self.tell("READY=1");
    }

    /// The server reads its configuration again; [`Self::ready`] ends that.
    pub(super) fn reloading(&self) {
        self.tell("RELOADING=1");
    }

    /// The server no longer takes connections.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, state: &str) {
        if let Some((socket, address)) = &self.socket
            && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
        {
            tracing::warn!(%error, state, "a state could not be sent to the service manager");
        }
    }

    /// Reports at twice the rate that is asked for that the server is alive: its tasks run, and its writer answers, be it
    /// that the disk is full. Never ends; without a watchdog it does nothing.
    pub(super) async fn keep_alive(&self, store: Store) {
        let Some(watchdog) = self.watchdog else { return std::future::pending().await };
        let mut rounds = interval(watchdog / 2);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            let answers = timeout(watchdog / 2, store.write(Locks::none(), |_| Ok(()))).await;
            if answers.is_ok() {
                self.tell("WATCHDOG=1");
            }
        }
    }
}

/// A name that begins with `@` lies in the abstract name space.
fn connect(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    Ok((UnixDatagram::unbound()?, address))
}

#[cfg(target_os = "linux")]
fn abstract_name(name: &[u8]) -> io::Result<SocketAddr> {
    <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_name(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}
