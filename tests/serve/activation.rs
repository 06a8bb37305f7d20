//! A port that the service manager opens: it stays open while the server restarts.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::process::{Place, Server};

/// How many call at the same time.
const CALLERS: usize = 16;

/// What calls have come to.
#[derive(Default)]
struct Calls {
    good: AtomicU64,
    bad: AtomicU64,
    is_over: AtomicBool,
}

/// The program as a service manager starts it: the socket is descriptor 3.
pub(crate) fn passed(place: &Place, socket: impl Into<OwnedFd>, count: u32) -> Command {
    let program = place.command();
    let mut command = Command::new("sh");
    let script = "exec 3<&0 0</dev/null; export LISTEN_PID=$$; exec \"$0\" \"$@\"";
    command.args(["-c", script]).arg(program.get_program()).args(program.get_args());
    command.env_clear().current_dir(place.path()).stdin(Stdio::from(socket.into()));
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("LISTEN_FDS", count.to_string());
    command
}

/// Calls on a new connection each time, as a proxy does, until it is over.
async fn call(address: SocketAddr, calls: Arc<Calls>) {
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
    let client = client.timeout(Duration::from_secs(30)).build().unwrap();
    while !calls.is_over.load(Ordering::Relaxed) {
        let answer = client.get(format!("http://{address}/health/ready")).send().await;
        let is_good = answer.is_ok_and(|answer| answer.status() == 200);
        let count = if is_good { &calls.good } else { &calls.bad };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_under_load_refuses_no_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let place = Place::dev().with("FRESHK_LIMITS__FLOOD_PER_SECOND", "0");
    let start = || Server::start(passed(&place, listener.try_clone().unwrap(), 1));
    let mut server = start();
    assert_eq!(server.address(), address, "server.listen is not used");

    let calls = Arc::new(Calls::default());
    let callers: Vec<_> = (0..CALLERS).map(|_| tokio::spawn(call(address, calls.clone()))).collect();
    for _ in 0..3 {
        let before = calls.good.load(Ordering::Relaxed);
        server.eventually("calls to be answered", |_| {
            (calls.good.load(Ordering::Relaxed) > before + 100).then_some(())
        });
        server.stop();
        server = start();
    }
    let before = calls.good.load(Ordering::Relaxed);
    server.eventually("calls after the last restart", |_| {
        (calls.good.load(Ordering::Relaxed) > before + 100).then_some(())
    });
    calls.is_over.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(calls.bad.load(Ordering::Relaxed), 0, "of {:?} calls", calls.good);
}

#[test]
fn what_is_passed_on_and_is_not_one_port_is_refused_and_of_another_process_ignored() {
    let place = Place::dev();
    let port = || TcpListener::bind("127.0.0.1:0").unwrap();
    let ended = |mut command: Command| {
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, told) = ended(passed(&place, port(), 2));
    assert!(
        code == Some(78) && told.contains("passed on 2 sockets") && told.contains("ListenStream="),
        "{told}"
    );
    let (code, told) = ended(passed(&place, UdpSocket::bind("127.0.0.1:0").unwrap(), 1));
    assert!(code == Some(78) && told.contains("not a valid tcp socket"), "{told}");

    let listener = port();
    let mut command = place.command();
    command.env("LISTEN_PID", "1").env("LISTEN_FDS", "1");
    let server = Server::start(command);
    assert_ne!(server.address(), listener.local_addr().unwrap());
    server.stop();
}
