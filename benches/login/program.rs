//! The program under test and the yardsticks.

use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::client::{Connection, Target};
use crate::fill::{self, Amounts};
use crate::postgres::{Postgres, SCHEMA};
use crate::usage::Usage;

pub(crate) struct Options {
    /// What the file holds before the first call.
    pub(crate) amounts: Amounts,
    /// Where such a file is only made, and nothing is measured.
    pub(crate) fill: Option<PathBuf>,
    /// Such a file, of which a copy takes the place of a new one.
    pub(crate) file: Option<PathBuf>,
    pub(crate) logins: usize,
    pub(crate) connections: usize,
    /// What is measured: this build's program, or another one beside it.
    pub(crate) program: PathBuf,
    /// The database on `PostgreSQL` that it keeps its data in; none for a file.
    pub(crate) database: Option<Postgres>,
    /// The cache beside it.
    pub(crate) cache: Option<String>,
    /// How many calls at once are made for one phone, beside the logins of others; 0 for none.
    pub(crate) hot: usize,
    /// How many others log in each second meanwhile.
    pub(crate) pace: u32,
    /// Whether the statements of each kind of call are shown.
    pub(crate) shows_statements: bool,
    pub(crate) serve_bare: bool,
}

impl Options {
    pub(crate) fn from_args() -> Self {
        let args: Vec<String> = std::env::args().collect();
        let number = |name: &str, default| {
            let at = args.iter().position(|arg| arg == name);
            at.and_then(|at| args.get(at + 1)).map_or(default, |value| value.parse().expect("a number"))
        };
        let text = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
        let sessions = number("--sessions", 0);
        let amounts =
            Amounts { users: number("--users", 0).max(sessions), sessions, audit: number("--audit", 0) };
        Self {
            amounts,
            fill: text("--fill").map(PathBuf::from),
            file: text("--file").map(PathBuf::from),
            logins: number("--logins", 20_000),
            connections: number("--connections", 64),
            program: text("--program").map_or_else(|| env!("CARGO_BIN_EXE_freshk").into(), PathBuf::from),
            database: text("--database").map(|url| Postgres::begin(url)),
            cache: text("--cache").cloned(),
            hot: number("--hot", 0),
            pace: u32::try_from(number("--pace", 100)).expect("a number"),
            shows_statements: args.iter().any(|arg| arg == "--statements"),
            serve_bare: args.iter().any(|arg| arg == "--serve-bare"),
        }
    }
}

/// `FreshK` on a temporary database, with limits on and a loopback proxy to trust.
pub(crate) struct Program {
    child: Child,
    port: u16,
    connections: usize,
    database: PathBuf,
    server: Option<Postgres>,
    pub(crate) ready_after: Duration,
    /// What the file held before the first call.
    pub(crate) amounts: Amounts,
    /// An access token of each session in it.
    pub(crate) filled: Vec<String>,
}

const SECRET: &str = "a secret for the benchmark, long enough for HS256";

impl Program {
    pub(crate) async fn start(dir: &Path, sink: u16, options: &Options) -> Self {
        let (port, database) = (free_port(), dir.join("bench.db"));
        let is_filled = options.amounts != Amounts::default() || options.file.is_some();
        let (mut amounts, mut filled) = (Amounts::default(), Vec::new());
        if is_filled {
            assert!(options.database.is_none(), "only a file is filled before");
            if let Some(file) = &options.file {
                std::fs::copy(file, &database).expect("a file of --fill, and room for a copy");
                // Or the program's commits would wait until the system has written the copy.
                File::open(&database).and_then(|copy| copy.sync_all()).expect("a sync");
            } else {
                // Whoever starts first makes the tables.
                drop(Self::spawn(options, port, sink, &database).await);
                fill::fill(&database, options.amounts);
            }
            amounts = fill::amounts(&database);
            filled = fill::tokens(&database, amounts.sessions, SECRET);
        }
        let mut program = Self::spawn(options, port, sink, &database).await;
        program.connections = options.connections;
        program.amounts = amounts;
        program.filled = filled;
        program
    }

    /// Makes a file at a path, for commands to be measured on.
    pub(crate) async fn make(path: &Path, sink: u16, options: &Options) {
        assert!(!path.exists(), "{} is there already", path.display());
        let path = std::path::absolute(path).expect("a path");
        drop(Self::spawn(options, free_port(), sink, &path).await);
        fill::fill(&path, options.amounts);
    }

    async fn spawn(options: &Options, port: u16, sink: u16, database: &Path) -> Self {
        let watch = crate::watch();
        let server = options.database.clone();
        let file = format!("sqlite://{}", database.display());
        let child = Command::new(&options.program)
            .args(["serve", "--listen", &format!("127.0.0.1:{port}")])
            .current_dir(database.parent().expect("a directory"))
            .env("DATABASE_URL", server.as_ref().map_or(file.as_str(), Postgres::url))
            .env("FRESHK_DATABASE__SCHEMA", SCHEMA)
            .envs(options.cache.iter().map(|url| ("FRESHK_CACHE__URL", url)))
            .env("SECRET_KEY", SECRET)
            .env("TWILIO_ACCOUNT_SID", format!("AC{}", "0".repeat(32)))
            .env("TWILIO_AUTH_TOKEN", "a token for the benchmark")
            .env("TWILIO_PHONE_NUMBER", "+15005550006")
            .env("FRESHK_TWILIO__BASE_URL", format!("http://127.0.0.1:{sink}"))
            .env("FRESHK_SERVER__TRUSTED_PROXIES", "127.0.0.1/32")
            .env("FRESHK_OPS__LISTEN", "off")
            // Its numbers are all new, and most are not verified.
            .env("FRESHK_SMS__GUARD", "off")
            .stdout(Stdio::null())
            .stderr(File::create(database.with_extension("log")).expect("a log file"))
            .spawn()
            .expect("the program starts");
        let mut program = Self {
            child,
            port,
            connections: 1,
            database: database.to_owned(),
            server,
            ready_after: Duration::ZERO,
            amounts: Amounts::default(),
            filled: Vec::new(),
        };
        while !program.is_ready().await {
            assert!(
                watch.elapsed() < Duration::from_secs(20),
                "see {}",
                database.with_extension("log").display()
            );
            assert!(program.child.try_wait().expect("a child").is_none(), "the program ended");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        program.ready_after = watch.elapsed();
        program
    }

    async fn is_ready(&self) -> bool {
        if tokio::net::TcpStream::connect(self.address()).await.is_err() {
            return false;
        }
        let call = b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n";
        Connection::open(&self.address()).await.exchange(call).await.0 == 200
    }

    /// Waits until the program has done what it does after a start beside its calls, such as a first look at all that is to be deleted.
    pub(crate) async fn settled(&self) {
        let mut before = None;
        for _ in 0..100 {
            let used = Some(Usage::of(self.child.id()).processor);
            if before == used {
                return;
            }
            before = used;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn target(&self) -> Target {
        let server = self.server.clone();
        Target { address: self.address(), pid: self.child.id(), connections: self.connections, server }
    }

    /// `VmHWM` of the process.
    pub(crate) fn peak_resident_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("procfs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib / 1024.0
    }

    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    pub(crate) fn wal_mib(&self) -> f64 {
        let wal = format!("{}-wal", self.database.display());
        std::fs::metadata(wal).map_or(0.0, |wal| wal.len() as f64 / 1_048_576.0)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().expect("the program is ours to end");
        self.child.wait().expect("it ends");
    }
}

/// A handler that does nothing, served by poem itself in a process of its own.
pub(crate) struct Bare {
    child: Child,
    port: u16,
}

impl Bare {
    pub(crate) fn start() -> Self {
        let port = free_port();
        let child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--serve-bare", &port.to_string()])
            .spawn()
            .expect("it starts again");
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::yield_now();
        }
        Self { child, port }
    }

    pub(crate) fn target(&self, connections: usize) -> Target {
        let address = format!("127.0.0.1:{}", self.port);
        Target { address, pid: self.child.id(), connections, server: None }
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.child.kill().expect("the yardstick is ours to end");
        self.child.wait().expect("it ends");
    }
}

/// Runs in the child of [`Bare`].
pub(crate) fn serve_bare() {
    #[poem::handler]
    fn nothing() -> &'static str {
        "ok"
    }
    let port = std::env::args().next_back().expect("a port");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let listener = poem::listener::TcpListener::bind(format!("127.0.0.1:{port}"));
    let app = poem::Route::new().at("/", poem::get(nothing));
    runtime.block_on(poem::Server::new(listener).run(app)).expect("it serves");
}

/// How often a second the disk makes four kibibytes durable.
pub(crate) fn fdatasync_rate(dir: &Path) -> f64 {
    let mut file = File::create(dir.join("fdatasync")).expect("a file");
    let (watch, mut count) = (crate::watch(), 0u32);
    while watch.elapsed() < Duration::from_secs(2) {
        file.write_all(&[0; 4096]).expect("a write");
        file.sync_data().expect("a sync");
        count += 1;
    }
    f64::from(count) / watch.elapsed().as_secs_f64()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    listener.local_addr().expect("a bound address").port()
}
