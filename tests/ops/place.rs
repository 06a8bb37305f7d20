//! A directory to run in, and a server there.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// A directory to run in, in debug.
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

/// A server, killed with its test.
pub(crate) struct Server {
    child: Child,
    listen: SocketAddr,
    pub(crate) ops: SocketAddr,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn command(&self, args: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_freshk"));
        command.args(args).current_dir(self.dir.path()).env_clear().env("DEBUG", "1");
        command.envs(environment.iter().copied()).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args, &[]).output().unwrap()
    }

    /// Runs what must succeed; gives standard output.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs what must succeed and answers in JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[args, &["--json"]].concat())).unwrap()
    }

    /// Runs what must fail; gives the exit code and what was said.
    pub(crate) fn fails(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        assert!(!output.status.success(), "{args:?}");
        (output.status.code().unwrap(), stderr(&output))
    }

    /// Starts a server and waits until it is ready.
    pub(crate) fn serve(&self, environment: &[(&str, &str)]) -> Server {
        let (listen, ops) = (free_address(), free_address());
        let mut command = self.command(&["serve", "--listen", &listen.to_string()], environment);
        let log = std::fs::File::create(self.path("server.log")).unwrap();
        let child = command.env("FRESHK_OPS__LISTEN", ops.to_string()).stdout(Stdio::null()).stderr(log);
        let server = Server { child: child.spawn().unwrap(), listen, ops };
        until(|| server.get("/health/ready").starts_with("HTTP/1.1 200"));
        server
    }

    /// A database with one user, named so that it can be told from others.
    pub(crate) fn database(&self, username: &str) {
        assert!(self.serve(&[]).stop());
        self.sql()
            .execute(
                "INSERT INTO users (username, phone, role, phone_verified, joined_at)
                 VALUES (?1, '+15550000001', 'retailer', 1, 0)",
                [username],
            )
            .unwrap();
    }

    pub(crate) fn sql(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path("freshk.db")).unwrap()
    }

    /// Writes more users until there are `count`.
    pub(crate) fn fill(&self, count: u32) {
        let sql = "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                   INSERT INTO users (username, phone, role, joined_at)
                   SELECT 'user_' || i, '+' || (15550000000 + i), 'retailer', 0 FROM n";
        self.sql().execute(sql, [count]).unwrap();
    }

    /// The names of what lies in the place.
    pub(crate) fn files(&self) -> Vec<String> {
        self.files_in("")
    }

    /// The names of what lies in a directory there.
    pub(crate) fn files_in(&self, directory: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(directory)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Server {
    /// A GET on the operations listener; empty while nobody answers.
    pub(crate) fn get(&self, path: &str) -> String {
        converse(self.ops, &format!("GET {path} HTTP/1.1\r\nhost: localhost")).unwrap_or_default()
    }

    /// A request without a body on the listener for phones, given by its head.
    pub(crate) fn ask(&self, head: &str) -> String {
        converse(self.listen, head).unwrap()
    }

    /// Stops in good order.
    pub(crate) fn stop(mut self) -> bool {
        let pid = self.child.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -s TERM \"$0\"", &pid]).status().unwrap().success());
        self.child.wait().unwrap().success()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn converse(address: SocketAddr, head: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "{head}\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Asks again until it is so, and gives up after half a minute.
pub(crate) fn until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..1500 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("it never came about");
}
