//! What a service manager is told, and how the journal gets its priorities.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::process::{Place, Server};

/// The next state that is told, other than those in `but`.
fn told(manager: &UnixDatagram, but: &[&str]) -> String {
    let mut bytes = [0; 256];
    loop {
        let length = manager.recv(&mut bytes).unwrap();
        let state = String::from_utf8(bytes[..length].to_vec()).unwrap();
        if !but.contains(&state.as_str()) {
            return state;
        }
    }
}

#[test]
fn the_service_manager_learns_that_the_server_is_ready_alive_and_stopping() {
    let place = Place::dev();
    let name = place.path().join("notify");
    let manager = UnixDatagram::bind(&name).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let place = place.with("NOTIFY_SOCKET", name.to_str().unwrap()).with("WATCHDOG_USEC", "1000000");
    let server = Server::start(place.command());
    assert_eq!(told(&manager, &["WATCHDOG=1"]), "READY=1");
    assert_eq!(told(&manager, &[]), "WATCHDOG=1");
    server.stop();
    assert_eq!(told(&manager, &["WATCHDOG=1"]), "STOPPING=1");
}

#[test]
fn the_service_manager_learns_when_a_reload_begins_and_ends() {
    let place = Place::dev();
    let name = place.path().join("notify");
    let manager = UnixDatagram::bind(&name).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let place = place.with("NOTIFY_SOCKET", name.to_str().unwrap());
    let server = Server::start(place.command());
    assert_eq!(told(&manager, &[]), "READY=1");
    // One whose configuration is broken by now is still ready.
    for toml in ["", "nonsense"] {
        std::fs::write(place.path().join("freshk.toml"), toml).unwrap();
        server.signal("HUP");
        assert_eq!([told(&manager, &[]), told(&manager, &[])], ["RELOADING=1", "READY=1"]);
    }
    server.stop();
    assert_eq!(told(&manager, &[]), "STOPPING=1");
}

#[test]
fn a_watchdog_of_another_process_and_a_missing_socket_change_nothing() {
    let place = Place::dev().with("NOTIFY_SOCKET", "/nonexistent/notify").with("WATCHDOG_USEC", "1000000");
    let place = place.with("WATCHDOG_PID", "1");
    place.start().stop();
}

#[test]
fn records_have_priorities_where_standard_error_is_the_journal() {
    let (reader, writer) = std::io::pipe().unwrap();
    let writer = File::from(OwnedFd::from(writer));
    let found = writer.metadata().unwrap();
    let place = Place::dev().with("JOURNAL_STREAM", &format!("{}:{}", found.dev(), found.ino()));
    let mut command = place.command();
    command.args(["--listen", "127.0.0.1:0"]).stderr(writer);
    let mut child = command.spawn().unwrap();
    drop(command);
    let mut lines = BufReader::new(reader).lines().map_while(Result::ok);
    let serving = lines.find(|line| line.contains("serving")).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(serving.starts_with("<6>"), "{serving}");
    let elsewhere = Place::dev().with("JOURNAL_STREAM", "1:1");
    let server = elsewhere.start();
    assert!(!server.stderr.text().contains("<6>"), "{}", server.stderr.text());
    server.stop();
}
