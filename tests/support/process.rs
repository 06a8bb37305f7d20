//! The real binary as a child process: a directory of its own, an environment of its own, a port that the system picks.

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::twilio::{ACCOUNT_SID, AUTH_TOKEN, FakeTwilio, NUMBER};

pub(crate) const SECRET: &str = "a secret for tests, of more than thirty-two bytes";

/// How often a condition is looked at before the test gives up: for thirty seconds or so.
const LOOKS: u32 = 3000;

/// A directory, and the environment of the programs that are started in it.
pub(crate) struct Place {
    dir: TempDir,
    environment: Vec<(String, String)>,
    arguments: Vec<String>,
}

/// What a program that ended by itself has left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    pub(crate) stdout: Heard,
    pub(crate) stderr: Heard,
}

/// What came out of a pipe so far.
#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<Vec<u8>>>);

impl Place {
    /// For `serve --dev`.
    pub(crate) fn dev() -> Self {
        let arguments = ["serve", "--dev"].map(str::to_owned).to_vec();
        // The port for operators is a fixed one, and many servers run at once.
        let environment = vec![("FRESHK_OPS__LISTEN".to_owned(), "off".to_owned())];
        Self { dir: tempfile::tempdir().unwrap(), environment, arguments }
    }

    /// For production, before a Twilio, behind a trusted proxy on this machine.
    pub(crate) fn production(twilio: &FakeTwilio) -> Self {
        let mut place = Self::dev();
        place.arguments.truncate(1);
        place
            .with("SECRET_KEY", SECRET)
            .with("TWILIO_ACCOUNT_SID", ACCOUNT_SID)
            .with("TWILIO_AUTH_TOKEN", AUTH_TOKEN)
            .with("TWILIO_PHONE_NUMBER", NUMBER)
            .with("FRESHK_TWILIO__BASE_URL", &twilio.url())
            .with("FRESHK_SERVER__TRUSTED_PROXIES", "127.0.0.1/32")
            // These tests send codes to many new numbers from one address.
            .with("FRESHK_SMS__GUARD", "off")
    }

    /// With a variable, in place of an earlier one of that name.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The database of the default configuration.
    pub(crate) fn database(&self) -> PathBuf {
        self.path().join("freshk.db")
    }

    /// A second process's look at the database.
    pub(crate) fn sql(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.database()).unwrap();
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        connection
    }

    /// The program, with nothing of this process's environment.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.tool("");
        command.args(&self.arguments);
        command
    }

    /// Runs another command in this place, which must succeed.
    pub(crate) fn run(&self, line: &str) {
        let output = self.tool(line).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Another command in this place; `line` is split at its spaces.
    pub(crate) fn tool(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_freshk"));
        command.env_clear().current_dir(self.path()).args(line.split_whitespace());
        command.envs(self.environment.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
        command
    }

    /// Starts the server on a free port and waits until it serves.
    pub(crate) fn start(&self) -> Server {
        Server::start(self.command())
    }

    /// Runs the program until it ends by itself; `serve` gets a free port unless `listen` is given.
    pub(crate) fn refused(&self) -> Ended {
        let mut command = self.command();
        if !self.arguments.iter().any(|argument| argument == "--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        let output = command.output().unwrap();
        Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// With one more argument of the command line.
    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }
}

impl Server {
    /// Starts a server by a command line that ends with the program's, on a free port, and waits until it serves.
    pub(crate) fn start(mut command: Command) -> Self {
        command.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = Heard::from(child.stdout.take().unwrap());
        let stderr = Heard::from(child.stderr.take().unwrap());
        let mut server = Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), stdout, stderr };
        server.address = server.eventually("the server to serve", |server| {
            let text = server.stderr.text();
            address_in(text.lines().find(|line| line.contains("serving") && !line.contains("operators"))?)
        });
        server
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it serves its operators.
    pub(crate) fn operations(&self) -> SocketAddr {
        let text = self.stderr.text();
        text.lines().find(|line| line.contains("to operators")).and_then(address_in).unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &pid]).status().unwrap();
        assert!(sent.success(), "no signal {name} to {pid}");
    }

    /// Kills it as a power cut would, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it in good order.
    pub(crate) fn stop(mut self) {
        self.signal("TERM");
        assert!(self.ended().success(), "{}", self.stderr.text());
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.eventually("the server to end", |server| server.child.try_wait().unwrap())
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for what `look` finds.
    pub(crate) fn eventually<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        for _ in 0..LOOKS {
            if let Some(found) = look(self) {
                return found;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("waited in vain for {what}\n{}{}", self.stdout.text(), self.stderr.text());
    }
}

/// The address that a line of the log names.
fn address_in(line: &str) -> Option<SocketAddr> {
    let from = line.find("127.0.0.1:")?;
    line[from..].split(['"', ' ']).next()?.parse().ok()
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Heard {
    fn from(mut pipe: impl Read + Send + 'static) -> Self {
        let heard = Self::default();
        let shared = heard.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                shared.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..count]);
            }
        });
        heard
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Ended {
    /// Exit code 1, and a message that holds all of `words`.
    pub(crate) fn assert_says(&self, words: &[&str]) {
        assert!(matches!(self.code, Some(1 | 78)), "{self:?}");
        self.assert_holds(words);
    }

    /// Exit code 2, and a message that holds all of `words`.
    pub(crate) fn assert_usage(&self, words: &[&str]) {
        assert_eq!(self.code, Some(2), "{self:?}");
        self.assert_holds(words);
    }

    fn assert_holds(&self, words: &[&str]) {
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is missing from:\n{}", self.stderr);
        }
        assert!(!self.stderr.contains("panicked") && !self.stderr.contains("RUST_BACKTRACE"), "{self:?}");
    }
}
