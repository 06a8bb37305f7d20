//! A server that says that it is an old `PostgreSQL`: it is refused before anything is asked of it.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;

use crate::support::Place;

/// A server that answers the log-in and each question for a setting, in version 3.0 of the protocol, and knows no other question.
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
    let mut answer = Vec::new();
    loop {
        let (kind, body) = message(&mut client, Some(()))?;
        match kind {
            b'P' => answer.extend(self::answer(b'1', &[])),
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

#[test]
fn a_server_that_is_too_old_is_refused_by_its_version() {
    let port = stub("120022", "12.22 (Debian 12.22-1)");
    let place = Place::new();
    let url = format!("postgres://freshk:a-password-of-tests@127.0.0.1:{port}/app?sslmode=disable");
    place.write("freshk.toml", format!("debug = true\n[database]\nurl = \"{url}\"\n"));
    for line in ["db check", "user list", "serve --listen 127.0.0.1:0"] {
        let answer = place.run(line);
        assert!([1, 78].contains(&answer.code), "{line}: {answer:?}");
        let told = "it is PostgreSQL 12.22 (Debian 12.22-1), and FreshK needs 13 or later";
        assert!(answer.stderr.contains(told), "{line}: {}", answer.stderr);
        assert!(answer.stderr.contains("upgrade the server"), "{line}: {}", answer.stderr);
        assert!(!answer.stderr.contains("a-password-of-tests"), "{line}: {}", answer.stderr);
    }
}
