//! Servers that will not do, an old `PostgreSQL` and a standby: they are refused before anything is asked of them.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use crate::support::Place;

/// A server that answers the log-in, each question for a setting and whether it is a standby (it is), in version 3.0 of the protocol,
/// and knows no other question.
fn stub(number: &'static str, version: &'static str) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming() {
            // It ends when the client does.
            thread::spawn(move || serve(client.unwrap(), number, version));
        }
    });
    port
}

fn serve(mut client: TcpStream, number: &str, version: &str) -> Option<()> {
    let first = message(&mut client, None)?.1;
    assert_eq!(first[..4], [0, 3, 0, 0], "the version of the protocol");
    let mut answer = answer(b'R', &[0; 4]);
    answer.extend(ready());
    client.write_all(&answer).ok()?;
    let (mut answer, mut is_of_standby) = (Vec::new(), false);
    loop {
        let (kind, body) = message(&mut client, Some(()))?;
        match kind {
            b'P' => {
                let question = b"pg_is_in_recovery";
                is_of_standby = body.windows(question.len()).any(|part| part == question);
                answer.extend(self::answer(b'1', &[]));
            }
            // No parameter and one column, of true and false.
            b'D' if is_of_standby => {
                answer.extend(self::answer(b't', &[0, 0]));
                let column = [&[0, 1][..], b"standby\0", &[0; 6], &[0, 0, 0, 16], &[0; 8]].concat();
                answer.extend(self::answer(b'T', &column));
            }
            b'B' if is_of_standby => {
                answer.extend(self::answer(b'2', &[]));
                answer.extend(self::answer(b'D', &[0, 1, 0, 0, 0, 1, 1]));
                answer.extend(self::answer(b'C', b"SELECT 1\0"));
            }
            // One parameter and one column, both text.
            b'D' => {
                answer.extend(self::answer(b't', &[0, 1, 0, 0, 0, 25]));
                let column = [&[0, 1][..], b"setting\0", &[0; 6], &[0, 0, 0, 25], &[0; 8]].concat();
                answer.extend(self::answer(b'T', &column));
            }
            b'B' => {
                let asks = |name: &str| body.windows(name.len()).any(|part| part == name.as_bytes());
                let value = if asks("server_version_num") {
                    Some(number)
                } else {
                    asks("server_version").then_some(version)
                };
                let length = value.map_or(-1, |value| i32::try_from(value.len()).unwrap());
                let row = [&[0, 1][..], &length.to_be_bytes(), value.unwrap_or_default().as_bytes()].concat();
                answer.extend(self::answer(b'2', &[]));
                answer.extend(self::answer(b'D', &row));
                answer.extend(self::answer(b'C', b"SELECT 1\0"));
            }
            b'S' => {
                answer.extend(ready());
                client.write_all(&std::mem::take(&mut answer)).ok()?;
            }
            b'E' => {}
            b'X' => return None,
            other => panic!("nothing else is asked of an old server: {}", char::from(other)),
        }
    }
}

/// The next message of a client: its kind, where it has one, and its body.
fn message(client: &mut TcpStream, has_kind: Option<()>) -> Option<(u8, Vec<u8>)> {
    let mut kind = [0];
    if has_kind.is_some() {
        client.read_exact(&mut kind).ok()?;
    }
    let mut length = [0; 4];
    client.read_exact(&mut length).ok()?;
    let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap() - 4];
    client.read_exact(&mut body).ok()?;
    Some((kind[0], body))
}

fn answer(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

/// Idle, for the next.
fn ready() -> Vec<u8> {
    answer(b'Z', b"I")
}

fn is_refused((number, version): (&'static str, &'static str), told: &str, help: &str) {
    let port = stub(number, version);
    let place = Place::new();
    let url = format!("postgres://freshk:a-password-of-tests@127.0.0.1:{port}/app?sslmode=disable");
    place.write("freshk.toml", format!("debug = true\n[database]\nurl = \"{url}\"\n"));
    for line in ["db check", "user list", "serve --listen 127.0.0.1:0"] {
        let answer = place.run(line);
        assert!([1, 78].contains(&answer.code), "{line}: {answer:?}");
        assert!(answer.stderr.contains(told), "{line}: {}", answer.stderr);
        assert!(answer.stderr.contains(help), "{line}: {}", answer.stderr);
        assert!(!answer.stderr.contains("a-password-of-tests"), "{line}: {}", answer.stderr);
    }
}

#[test]
fn a_server_that_is_too_old_is_refused_by_its_version() {
    let told = "it is PostgreSQL 12.22 (Debian 12.22-1), and FreshK needs 13 or later";
    is_refused(("120022", "12.22 (Debian 12.22-1)"), told, "upgrade the server");
}

/// It may not know yet what has ended on the primary, and nobody would tell it.
#[test]
fn s17_a_standby_is_refused() {
    is_refused(("170002", "17.2"), "it is a standby, which only repeats another server", "name the primary");
}
