//! A place to run the binary in, and a server in it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

pub(crate) const PHONE: &str = "+1234567890";
const BASE: &str = "/api/mobile/auth/production";

/// A directory with a configuration.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("freshk.toml", "debug = true\n[users]\nroles = [\"retailer\", \"staff\"]\n");
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_freshk"));
        command.args(line.split_whitespace()).current_dir(self.0.path()).env_clear().stdin(Stdio::null());
        // Short ids, as a database has that began before the default was far above Django's.
        command.env("FRESHK_USERS__FIRST_ID", "1");
        command
    }

    pub(crate) fn run(&self, line: &str) -> Answer {
        Answer::of(&self.command(line).output().unwrap())
    }

    /// Runs what must succeed, and gives what it said.
    pub(crate) fn good(&self, line: &str) -> String {
        let answer = self.run(line);
        assert_eq!((answer.code, answer.stderr.as_str()), (0, ""), "{line}");
        answer.stdout
    }

    pub(crate) fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.good(&format!("{line} --json"))).unwrap()
    }

    /// A look into the database, as any other program has it.
    pub(crate) fn count(&self, query: &str) -> i64 {
        let conn = rusqlite::Connection::open(self.path("freshk.db")).unwrap();
        conn.query_row(query, [], |row| row.get(0)).unwrap()
    }

    pub(crate) fn serve(&self) -> Server {
        Server::start(self)
    }
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        // Many a test begins with a command that makes its database, and says so.
        let is_told = |line: &&str| !line.contains("made a new database at");
        Self {
            code: output.status.code().expect("it was killed"),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr).split_inclusive('\n').filter(is_told).collect(),
        }
    }
}

/// A server of a place, killed when dropped.
pub(crate) struct Server {
    child: Child,
    url: String,
    said: Arc<Mutex<String>>,
    client: reqwest::Client,
}

impl Server {
    fn start(place: &Place) -> Self {
        let mut child = place
            .command("serve --dev --listen 127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = loop {
            let line = lines.next().expect("the server did not start").unwrap();
            if let Some(at) = line.find("http://") {
                break line[at..].split("/api").next().unwrap().to_owned();
            }
        };
        let said = Arc::new(Mutex::new(String::new()));
        let heard = said.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                heard.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        Self { child, url, said, client: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    /// Where it is, without a path.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.client.post(format!("{}{BASE}{path}", self.url)).json(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    pub(crate) async fn request(&self, phone: &str) -> u16 {
        self.post("/request/", &json!({ "phone_number": phone })).await.0
    }

    pub(crate) async fn status(&self, token: &str) -> (u16, Value) {
        let request = self.client.get(format!("{}{BASE}/status/", self.url)).bearer_auth(token);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// A whole login; gives the access token.
    pub(crate) async fn log_in(&self, phone: &str) -> String {
        // The code of an earlier login must not be taken for this one's.
        self.said.lock().unwrap().clear();
        assert_eq!(self.request(phone).await, 200);
        let mut code = None;
        until(async || {
            code = self.code();
            code.is_some()
        })
        .await;
        let (status, answer) = self.post("/verify/", &json!({ "phone_number": phone, "otp": code })).await;
        assert_eq!(status, 200, "{answer}");
        answer["access"].as_str().unwrap().to_owned()
    }

    /// The last code on the console: six digits that stand alone.
    fn code(&self) -> Option<String> {
        let said = self.said.lock().unwrap();
        let is_code = |word: &&str| word.len() == 6 && word.bytes().all(|b| b.is_ascii_digit());
        said.split(|c: char| !c.is_ascii_alphanumeric()).rfind(is_code).map(str::to_owned)
    }
}

impl Server {
    /// Stops it in good order, so that nobody takes it for a living one.
    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -s TERM \"$0\"", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been stopped.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Asks again until it is so, and gives up long after it should have been.
pub(crate) async fn until(is_so: impl AsyncFnMut() -> bool) {
    within(Duration::from_secs(20), is_so).await;
}

/// Asks again until the server has obeyed. It promises a second; the tests of the writer hold it to a look every 250 ms,
/// without a clock. Here the whole way is gone, on a machine that may run many tests at once: hence five.
pub(crate) async fn obeys(is_so: impl AsyncFnMut() -> bool) {
    within(Duration::from_secs(5), is_so).await;
}

async fn within(deadline: Duration, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(deadline, wait).await.expect("it never came about");
}

/// The file of a database.
pub(crate) fn database(place: &Place) -> PathBuf {
    place.path("freshk.db")
}

/// Whether a file's mode keeps others out.
pub(crate) fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).unwrap().permissions().mode().trailing_zeros() >= 6
}
