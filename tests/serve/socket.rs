//! `server.listen = "unix:…"`: a socket in the file system, for a proxy on this machine.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::activation::passed;
use crate::process::Place;
use crate::twilio::FakeTwilio;
use crate::{PHONE, REQUEST};

/// A server on a socket; killed when dropped.
struct OnSocket {
    child: Child,
    path: PathBuf,
}

impl OnSocket {
    fn start(mut command: Command, path: &Path) -> Self {
        let child = command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let server = Self { child, path: path.to_owned() };
        for _ in 0..3000 {
            if server.call("GET /health/ready", "", "").is_ok_and(|told| told.starts_with("HTTP/1.1 200")) {
                return server;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("nothing answers at {}", path.display());
    }

    fn call(&self, head: &str, more: &str, body: &str) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(&self.path)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let length = body.len();
        write!(
            stream,
            "{head} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n{more}\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("sh").args(["-c", "kill -s TERM \"$0\"", &pid]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for OnSocket {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn on(place: &Place, path: &Path) -> Command {
    let mut command = place.command();
    command.arg("--listen").arg(format!("unix:{}", path.display()));
    command
}

#[test]
fn a_proxy_behind_a_socket_is_trusted_and_the_socket_goes_with_its_server() {
    let twilio = FakeTwilio::start();
    let place = Place::production(&twilio).with("FRESHK_SERVER__TRUSTED_PROXIES", "");
    let path = place.path().join("freshk.sock");
    // What a server that was killed has left.
    drop(UnixListener::bind(&path).unwrap());
    let server = OnSocket::start(on(&place, &path), &path);
    let found = path.metadata().unwrap();
    assert!(found.file_type().is_socket() && found.permissions().mode() & 0o777 == 0o660);
    for client in 1..=6 {
        let body = format!(r#"{{"phone_number":"{}{client}"}}"#, &PHONE[..PHONE.len() - 1]);
        let told = server.call(
            &format!("POST {REQUEST}"),
            &format!("X-Forwarded-For: 198.51.100.{client}\r\n"),
            &body,
        );
        assert!(told.unwrap().starts_with("HTTP/1.1 200"), "six clients do not share one quota");
    }
    let health = format!("health --listen unix:{}", path.display());
    place.run(&health);
    let other = Place::dev().argument("--listen").argument(&format!("unix:{}", path.display()));
    other.refused().assert_says(&["another program answers at unix:", "ss -lxp"]);
    server.stop();
    assert!(path.symlink_metadata().is_err(), "it is removed");
    let silent = place.tool(&health).output().unwrap();
    assert!(String::from_utf8_lossy(&silent.stderr).contains("nothing answers at unix:"), "{silent:?}");
}

#[test]
fn what_is_no_socket_or_cannot_be_one_is_left_alone_and_said() {
    let place = Place::dev();
    let file = place.path().join("file");
    fs::write(&file, "theirs").unwrap();
    let refused = |path: &str| Place::dev().argument("--listen").argument(path).refused();
    refused(&format!("unix:{}", file.display())).assert_says(&["is there, and is no socket"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "theirs");
    refused("unix:none/freshk.sock")
        .assert_says(&["no socket can be made at none/freshk.sock", "RuntimeDirectory"]);
    refused("unix:").assert_says(&["server.listen", "neither an address with a port nor unix: with a path"]);
    let lan = Place::dev().argument("--lan").with("FRESHK_SERVER__LISTEN", "unix:freshk.sock");
    let output = lan.command().output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not on the network"), "{output:?}");
}

#[test]
fn a_socket_that_the_service_manager_opens_is_served_and_left_there() {
    let place = Place::dev();
    let path = place.path().join("passed.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let server = OnSocket::start(passed(&place, listener.try_clone().unwrap(), 1), &path);
    assert!(server.call("GET /health/live", "", "").unwrap().starts_with("HTTP/1.1 200"));
    server.stop();
    assert!(path.symlink_metadata().is_ok(), "it is the service manager's");
    drop(listener);
}
