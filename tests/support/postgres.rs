//! A `PostgreSQL` of the test run: a server of its own in a temporary folder, where the system has its programs; a schema for
//! each test. It ends with the process that started it.
//!
//! Use it with `#[path = "support/postgres.rs"] mod postgres;`.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

/// The superuser of the tests, and its password.
const USER: &str = "freshk";
const PASSWORD: &str = "a-password-of-tests";

/// The running server.
pub(crate) struct Server {
    programs: PathBuf,
    socket: PathBuf,
}

/// A schema of its own.
#[derive(Clone)]
pub(crate) struct Schema {
    server: &'static Server,
    name: String,
}

/// The server; `None` where there are no programs of `PostgreSQL`, which is told aloud, once.
pub(crate) fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        let programs = programs();
        if programs.is_none() {
            let told = "\nPostgreSQL is not installed here: THE TESTS ON IT DID NOT RUN (apt-get install postgresql)\n";
            drop(io::stderr().write_all(told.as_bytes()));
            assert!(std::env::var_os("TEST_POSTGRES").is_none(), "{told}");
        }
        Some(Server::start(programs?, false))
    });
    server.as_ref()
}

/// Another one, which starts again by itself after [`Server::crash`].
pub(crate) fn fragile() -> Option<&'static Server> {
    let programs = server()?.programs.clone();
    Some(Box::leak(Box::new(Server::start(programs, true))))
}

/// Debian's folder, or where `initdb` is found.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debians = versions.map(|version| version.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<_> = debians.collect();
    found.sort();
    found.reverse();
    found.extend(std::env::split_paths(&path));
    let has_all =
        |folder: &PathBuf| ["initdb", "postgres", "psql"].iter().all(|name| folder.join(name).exists());
    found.into_iter().find(has_all)
}

impl Server {
    fn start(programs: PathBuf, is_fragile: bool) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder =
            std::env::temp_dir().join(format!("freshk-test-postgres-{}-{number}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o711)).unwrap();
        // PostgreSQL refuses to run as root.
        let somebody = if folder.metadata().unwrap().uid() == 0 { Some(nobody()) } else { None };
        if let Some((user, group)) = somebody {
            chown(&folder, Some(user), Some(group)).unwrap();
        }
        let word = folder.join("word");
        fs::write(&word, PASSWORD).unwrap();
        fs::set_permissions(&word, Permissions::from_mode(0o644)).unwrap();
        let script = format!(
            "trap 'kill -QUIT $server; wait; rm -rf {folder}; exit' TERM INT HUP
             {programs}/initdb --no-sync --auth=scram-sha-256 --username={USER} --pwfile={folder}/word \
                 --encoding=UTF8 --locale=C --pgdata={folder}/data > {folder}/log 2>&1 || exit 1
             while :; do
                 {programs}/postgres -D {folder}/data -c fsync=off -c full_page_writes=off -c max_connections=400 \
                     -c listen_addresses= -c unix_socket_directories={folder} >> {folder}/log 2>&1 &
                 server=$!
                 wait
                 {again}
             done",
            again = if is_fragile { "sleep 0.1" } else { "exit" },
            folder = folder.display(),
            programs = programs.display(),
        );
        let mut shell = Command::new("setpriv");
        shell.args(["--pdeathsig", "TERM"]);
        if let Some((user, group)) = somebody {
            shell.args([&format!("--reuid={user}"), &format!("--regid={group}"), "--clear-groups"]);
        }
        shell.args(["sh", "-c", &script]).current_dir("/").stdin(Stdio::null());
        // The signal comes when the thread that started it ends, so that thread never does.
        thread::spawn(move || {
            let status = shell.status();
            panic!("the PostgreSQL of the tests ended: {status:?}");
        });
        let server = Self { programs, socket: folder.clone() };
        for _ in 0..1200 {
            if server.psql("SELECT 1").is_ok_and(|output| output.status.success()) {
                return server;
            }
            thread::sleep(Duration::from_millis(100));
        }
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        panic!("the PostgreSQL of the tests did not start:\n{log}");
    }

    /// A schema that nobody has used.
    pub(crate) fn schema(&'static self) -> Schema {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Schema { server: self, name: format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed)) }
    }

    /// Ends it as a crash of its machine would, and waits until it is there again.
    pub(crate) fn crash(&self) {
        let pid = fs::read_to_string(self.socket.join("data/postmaster.pid")).unwrap();
        let pid = pid.lines().next().unwrap();
        assert!(Command::new("sh").args(["-c", "kill -s QUIT \"$0\"", pid]).status().unwrap().success());
        let is_new = || {
            let now = fs::read_to_string(self.socket.join("data/postmaster.pid"));
            now.is_ok_and(|now| now.lines().next() != Some(pid))
        };
        for _ in 0..3000 {
            if is_new() && self.psql("SELECT 1").is_ok_and(|output| output.status.success()) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("PostgreSQL did not come back");
    }

    /// The socket on which it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.socket.join(".s.PGSQL.5432")
    }

    /// A schema that somebody has made.
    pub(crate) fn named(&'static self, name: &str) -> Schema {
        Schema { server: self, name: name.to_owned() }
    }

    /// The URL of its database.
    pub(crate) fn url(&self) -> String {
        self.url_of(USER, PASSWORD, "postgres")
    }

    /// The URL of another database or user.
    pub(crate) fn url_of(&self, user: &str, password: &str, database: &str) -> String {
        let socket = self.socket.display().to_string().replace('/', "%2F");
        format!("postgres://{user}:{password}@{socket}/{database}")
    }

    fn psql(&self, sql: &str) -> io::Result<Output> {
        self.client("psql").args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql]).output()
    }

    /// A program of `PostgreSQL` that talks to the server.
    fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.args(["-U", USER, "-d", "postgres", "-h"]).arg(&self.socket).env("PGPASSWORD", PASSWORD);
        command
    }
}

impl Schema {
    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs a statement; gives how many rows it changed.
    pub(crate) fn execute(&self, sql: &str) -> usize {
        let counted = self.sql(&format!("WITH changed AS ({sql} RETURNING 1) SELECT count(*) FROM changed"));
        counted.unwrap().concat().parse().unwrap()
    }

    /// One column, as text; an absent value is empty, and truth is 1 or 0.
    pub(crate) fn words(&self, query: &str) -> Vec<String> {
        let words = self.sql(query).unwrap();
        let as_sqlite = |word: String| match word.as_str() {
            "t" => "1".to_owned(),
            "f" => "0".to_owned(),
            _ => word,
        };
        words.into_iter().map(as_sqlite).collect()
    }

    /// A session in it, which takes statements on its standard input and gives what they give.
    pub(crate) fn session(&self) -> Child {
        let mut client = self.server.client("psql");
        client.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"]);
        client.env("PGOPTIONS", format!("-c search_path={}", self.name));
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    }

    /// All that it holds, as `pg_dump` writes it.
    pub(crate) fn dump(&self) -> Vec<u8> {
        let output = self.server.client("pg_dump").arg(format!("--schema={}", self.name)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Runs statements in it; what they give, a line each, or what the server says against them.
    pub(crate) fn sql(&self, sql: &str) -> Result<Vec<String>, String> {
        // Columns of truth are numbers in `SQLite`.
        let truth = ["is_active", "phone_verified", "generation_used", "foreign_tokens", "testing_only"];
        let mut sql = sql.to_owned();
        for column in truth {
            sql = sql.replace(&format!("{column} = 0"), &format!("{column} = false"));
            sql = sql.replace(&format!("{column} = 1"), &format!("{column} = true"));
        }
        let output = self.server.psql(&format!("SET search_path = {}; {sql}", self.name)).unwrap();
        if !output.status.success() {
            return Err(String::from_utf8(output.stderr).unwrap());
        }
        Ok(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
    }
}

/// The URL of a server's database on a port of this machine, where somebody passes connections on.
pub(crate) fn url_on(port: u16) -> String {
    format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres?sslmode=disable")
}

fn nobody() -> (u32, u32) {
    let id = |flag: &str| {
        let output = Command::new("id").args([flag, "nobody"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    };
    (id("-u"), id("-g"))
}
