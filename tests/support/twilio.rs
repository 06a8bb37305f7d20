//! A Twilio for tests: answers on a real socket as Twilio does on its good and bad days, keeps what it was sent, and holds
//! each request against Twilio's own description.
//!
//! Use it with `#[path = "support/twilio.rs"] mod twilio;` (`#[expect(dead_code, reason = "…")]` where not all is used).

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

#[path = "twilio/callback.rs"]
mod callback;
#[path = "twilio/description.rs"]
pub(crate) mod description;
#[path = "twilio/script.rs"]
mod script;

pub(crate) use callback::{SignedCallback, signed_callback};
pub(crate) use script::Answer;
use script::Ending;

/// An account, its token and its number; of the right form, and nobody's.
pub(crate) const ACCOUNT_SID: &str = "ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
pub(crate) const AUTH_TOKEN: &str = "the-auth-token-of-nobody-at-all";
pub(crate) const NUMBER: &str = "+15005550006";

/// The server; it ends when dropped.
pub(crate) struct FakeTwilio {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// Kept so that connections queue up, where nobody accepts them.
    _unaccepted: Option<(TcpListener, Vec<TcpStream>)>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    released: Condvar,
    stopping: AtomicBool,
}

#[derive(Default)]
struct State {
    script: VecDeque<Answer>,
    always: Answer,
    requests: Vec<Recorded>,
    violations: Vec<String>,
    /// What Twilio says of messages and calls, by their SIDs; of others that they are queued.
    progress: HashMap<String, (&'static str, Option<u32>)>,
    /// The paths that were asked for.
    asked: Vec<String>,
    answers_nothing: bool,
    connections: usize,
    /// The first message whose answer is held, counted from nought.
    held: Option<usize>,
}

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) form: Vec<(String, String)>,
}

impl FakeTwilio {
    /// Starts; it accepts every message until told otherwise.
    pub(crate) fn start() -> Self {
        let listener = listen();
        let fake = Self::new(&listener, None);
        let shared = Arc::clone(&fake.shared);
        thread::spawn(move || accept(&listener, &shared));
        fake
    }

    /// An address where nobody listens: every connection is refused.
    pub(crate) fn refusing() -> Self {
        Self::new(&listen(), None)
    }

    /// An address where somebody listens and never accepts: the kernel connects, and then nothing happens.
    pub(crate) fn never_accepting() -> Self {
        let listener = listen();
        Self::new(&listener.try_clone().unwrap(), Some((listener, Vec::new())))
    }

    /// The same with its queue full: connections do not even come about.
    pub(crate) fn full() -> Self {
        let listener = listen();
        let address = listener.local_addr().unwrap();
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(100)).ok();
        let queue = std::iter::from_fn(connect).collect();
        Self::new(&listener.try_clone().unwrap(), Some((listener, queue)))
    }

    fn new(listener: &TcpListener, unaccepted: Option<(TcpListener, Vec<TcpStream>)>) -> Self {
        Self { address: listener.local_addr().unwrap(), shared: Arc::default(), _unaccepted: unaccepted }
    }

    /// The base URL to configure.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Gives the coming requests these answers, one each; after them, [`Self::always`] holds.
    pub(crate) fn script(&self, answers: Vec<Answer>) {
        self.shared.state().script.extend(answers);
    }

    /// Gives all requests this answer that the script says nothing of.
    pub(crate) fn always(&self, answer: Answer) {
        self.shared.state().always = answer;
    }

    /// Has a message or call come so far, for those who ask.
    pub(crate) fn progress(&self, sid: &str, status: &'static str, error_code: Option<u32>) {
        self.shared.state().progress.insert(sid.to_owned(), (status, error_code));
    }

    /// Answers questions after messages with an error, or no longer.
    pub(crate) fn answer_nothing(&self, nothing: bool) {
        self.shared.state().answers_nothing = nothing;
    }

    /// The paths of all questions after messages and calls so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.shared.state().asked.clone()
    }

    /// Keeps its answers to itself until [`Self::release`]; requests are taken and noted all the same.
    pub(crate) fn hold(&self) {
        self.hold_from(0);
    }

    /// The same from so manyth message on, counted from nought.
    pub(crate) fn hold_from(&self, message: usize) {
        self.shared.state().held = Some(message);
    }

    /// Gives the answers that were held, and holds no more.
    pub(crate) fn release(&self) {
        self.shared.state().held = None;
        self.shared.released.notify_all();
    }

    /// All requests so far; one whose body was not read has no form.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.shared.state().requests.clone()
    }

    /// How many connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.shared.state().connections
    }

    /// Waits until `count` requests have come, and gives up after ten seconds.
    pub(crate) fn wait_for(&self, count: usize) {
        for _ in 0..1000 {
            if self.shared.state().requests.len() >= count {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{} of {count} requests came", self.requests().len());
    }

    /// Fails the test if any request broke Twilio's description.
    pub(crate) fn assert_conforming(&self) {
        let violations = self.shared.state().violations.join("\n");
        assert!(violations.is_empty(), "requests break Twilio's description:\n{violations}");
    }
}

impl Drop for FakeTwilio {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.release();
        // Wakes the accepting thread, where there is one.
        drop(TcpStream::connect_timeout(&self.address, Duration::from_millis(100)));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while the answer to this message is held.
    fn wait_while_held(&self, message: usize) {
        let is_held = |state: &mut State| state.held.is_some_and(|first| message >= first);
        drop(self.released.wait_while(self.state(), is_held).unwrap_or_else(PoisonError::into_inner));
    }
}

impl Recorded {
    /// The value of a form field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        find(&self.form, name)
    }

    /// The value of a header; `name` in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
}

/// The code in a message: its first run of four digits or more.
pub(crate) fn sms_code(request: &Recorded) -> String {
    let body = request.field("Body").unwrap_or_default();
    body.split(|c: char| !c.is_ascii_digit()).find(|run| run.len() >= 4).unwrap_or_default().to_owned()
}

fn listen() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        shared.state().connections += 1;
        let shared = Arc::clone(shared);
        // A client that goes away in the middle is part of many a test.
        thread::spawn(move || drop(converse(stream, &shared)));
    }
}

/// Answers the requests of one connection until either side ends it.
fn converse(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    while let Some(mut request) = read_head(&mut stream)? {
        if request.method == "GET" {
            let mut state = shared.state();
            state.asked.push(request.path.clone());
            state.violations.extend(description::question_violations(&request));
            let sid = request.path.rsplit('/').next().unwrap().trim_end_matches(".json");
            let progress = state.progress.get(sid).copied().unwrap_or(("queued", None));
            let progress = (!state.answers_nothing).then_some(progress);
            let next = state.requests.len();
            drop(state);
            shared.wait_while_held(next);
            script::say_progress(progress, &request, &mut stream)?;
            continue;
        }
        let answer = {
            let mut state = shared.state();
            let State { script, always, .. } = &mut *state;
            script.pop_front().unwrap_or_else(|| always.clone())
        };
        let length: usize = request.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        if answer == Answer::ResetBeforeBody {
            shared.state().requests.push(request);
            return reset(&stream);
        }
        let mut body = vec![0; length];
        if answer == Answer::ResetAfterBody {
            // All but the last byte, which must stay unread for the reset.
            stream.read_exact(&mut body[..length - 1])?;
            stream.peek(&mut body[length - 1..])?;
        } else {
            stream.read_exact(&mut body)?;
        }
        request.form = callback::parse_form(&String::from_utf8_lossy(&body));
        let message = {
            let mut state = shared.state();
            state.violations.extend(description::violations(&request));
            state.requests.push(request.clone());
            state.requests.len() - 1
        };
        shared.wait_while_held(message);
        if answer == Answer::ResetAfterBody {
            return reset(&stream);
        }
        match script::answer(&answer, &request, &mut stream)? {
            Ending::KeepAlive => {}
            Ending::Close => return Ok(()),
        }
    }
    Ok(())
}

/// Reads up to the empty line, byte by byte, so that nothing of the body leaves the kernel's buffer; `None` at the end of
/// the stream.
fn read_head(stream: &mut TcpStream) -> io::Result<Option<Recorded>> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
        // A TLS handshake: answered as web servers do that do not speak it.
        if head[0] == 0x16 {
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
            return Ok(None);
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Ok(Some(Recorded {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        headers,
        form: Vec::new(),
    }))
}

/// Waits for a byte that is not read: closing the socket over it makes the kernel send a reset instead of an end.
fn reset(stream: &TcpStream) -> io::Result<()> {
    stream.peek(&mut [0]).map(drop)
}
