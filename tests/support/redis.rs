//! A Redis of its own for a test, where the system has its program; it ends with the test, or with the process.
//!
//! Use it with `#[path = "support/redis.rs"] mod redis;`.

use std::io::{self, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// A running server on a port of this machine.
pub(crate) struct Redis {
    port: u16,
    pid: u32,
}

impl Redis {
    /// Starts one; `None` where there is no program, which is told aloud.
    pub(crate) fn start() -> Option<Self> {
        let is_here = Command::new("redis-server").arg("--version").stdout(Stdio::null()).status();
        if is_here.is_err() {
            let told =
                "\nRedis is not installed here: THE TESTS ON IT DID NOT RUN (apt-get install redis-server)\n";
            drop(io::stderr().write_all(told.as_bytes()));
            assert!(std::env::var_os("TEST_REDIS").is_none(), "{told}");
            return None;
        }
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        Some(Self::on(port))
    }

    /// Starts one on this port.
    fn on(port: u16) -> Self {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "redis-server", "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--appendonly", "no", "--port", &port.to_string()]);
        command.current_dir(std::env::temp_dir()).stdin(Stdio::null()).stdout(Stdio::null());
        let (started, pid) = mpsc::channel();
        // The signal comes when the thread that started it ends, so that thread waits for the program.
        thread::spawn(move || {
            let mut child = command.spawn().unwrap();
            started.send(child.id()).unwrap();
            drop(child.wait());
        });
        let redis = Self { port, pid: pid.recv().unwrap() };
        for _ in 0..3000 {
            if redis.ask(&["PING"]) == ["PONG"] {
                return redis;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the Redis of the test did not start");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The lines that a command gives.
    pub(crate) fn ask(&self, command: &[&str]) -> Vec<String> {
        let mut client = Command::new("redis-cli");
        let output = client.args(["-p", &self.port.to_string()]).args(command).output().unwrap();
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    /// Sends it a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid.to_string();
        drop(Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &pid]).status());
    }

    /// Kills it, and starts an empty one in its place when that is asked for.
    pub(crate) fn kill(self) -> impl FnOnce() -> Self {
        let port = self.port;
        drop(self);
        move || Self::on(port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.signal("KILL");
    }
}
