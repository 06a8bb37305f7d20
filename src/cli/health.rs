//! `freshk health`: asks the running server whether it is ready, as the health check of a container does.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::http::{self, ANSWER_CAP};
use super::output::Output;
use super::{CliError, Global};
use crate::config::Needs;
use crate::domain::Listen;
use crate::outgoing::words;

/// Ask the running server whether it is ready
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  freshk health
  freshk health --json
  freshk health --listen 127.0.0.1:9000    a server that was started with that flag

Calls /health/ready where the configuration says that the server listens, on this machine. Exits with 0 where the server is \
ready, and with 1 where it is not or nothing answers. Of the configuration it reads server.listen, and whether the server has \
TLS; the certificate is not judged.")]
pub struct HealthArgs {
    /// Where the server listens [default: server.listen]
    #[arg(long, value_name = "ADDRESS", value_parser = super::not_empty)]
    pub listen: Option<String>,
}

/// Where the server listens is all that is used.
const NEEDS: Needs = Needs::Only(&[&["server.listen"]]);

const CONNECT: Duration = Duration::from_secs(2);

/// Longer than the server takes to find out whether it is ready.
const WHOLE: Duration = Duration::from_secs(8);

/// Why a server is not ready.
struct Unready {
    status: Option<u16>,
    problem: String,
    help: &'static str,
}

/// Asks.
///
/// # Errors
/// [`CliError::Refused`] where the server is not ready, or nothing answers.
pub fn run(args: &HealthArgs, global: &Global, output: &mut Output) -> Result<(), CliError> {
    let mut sources = global.sources()?;
    sources.listen.clone_from(&args.listen);
    let server = super::load(&sources, NEEDS)?.config.server;
    let listen = server.listen;
    let asked = match &listen {
        Listen::Unix(path) => (listen.to_string(), ask_socket(path)),
        Listen::Port(address) => ask_port(*address, server.tls.is_on)?,
    };
    let (url, asked) = asked;
    if output.json {
        let (status, problem) = match &asked {
            Ok(()) => (Some(200), None),
            Err(unready) => (unready.status, Some(&unready.problem)),
        };
        output.json(&json!({ "ready": asked.is_ok(), "url": url, "status": status, "problem": problem }))?;
    } else if asked.is_ok() {
        output.sentences(&format!("ready: {url}\n"))?;
    }
    asked.map_err(|Unready { problem, help, .. }| CliError::refused(problem, help))
}

fn ask_port(listen: SocketAddr, has_tls: bool) -> Result<(String, Result<(), Unready>), CliError> {
    if listen.port() == 0 {
        return Err(CliError::refused(
            "server.listen has the port 0, which lets the system choose one",
            "take the address from the server's log, and give it with --listen",
        ));
    }
    let scheme = if has_tls { "https" } else { "http" };
    let url = format!("{scheme}://{}/health/ready", local(listen));
    let asked = ask(&url);
    Ok((url, asked))
}

/// Asks over a socket in the file system, which needs no more than two lines of HTTP.
fn ask_socket(path: &Path) -> Result<(), Unready> {
    let place = format!("unix:{}", path.display());
    let called = || {
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(WHOLE))?;
        stream.write_all(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(ANSWER_CAP).read_to_string(&mut answer).map(|_| answer)
    };
    let answer = called().map_err(|error: io::Error| Unready {
        status: None,
        problem: format!("nothing answers at {place}: {error}"),
        help: "start the server; where it listens elsewhere, give that with --listen",
    })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    judge(&place, status, &serde_json::from_str(body).unwrap_or_default())
}

/// How this machine reaches a server that listens there: one that listens on every address listens on loopback, too.
fn local(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

fn ask(url: &str) -> Result<(), Unready> {
    let silent = |error: &ureq::Error| Unready {
        status: None,
        problem: format!("nothing answers at {url}: {}", words(error)),
        help: "start the server; where it listens on another address, give that with --listen",
    };
    let mut answer = http::local_agent(CONNECT, WHOLE).get(url).call().map_err(|error| silent(&error))?;
    let text = answer.body_mut().with_config().limit(ANSWER_CAP).read_to_string();
    let text = text.map_err(|error| silent(&error))?;
    judge(url, answer.status().as_u16(), &serde_json::from_str(&text).unwrap_or_default())
}

/// What an answer says; a page of another program is none of ours, whatever its status.
fn judge(url: &str, status: u16, answer: &Value) -> Result<(), Unready> {
    let member = |name: &str| answer.get(name).and_then(Value::as_str);
    let (problem, help) = match (status, member("status"), member("code")) {
        (200, Some("ok"), _) => return Ok(()),
        (503, _, Some("unavailable")) => (
            format!("the server at {url} is not ready: it cannot write to its database now"),
            "see the server's log; `freshk check` looks at the disk and the database",
        ),
        (429, _, Some("rate_limited")) => (
            format!("the server at {url} answers this machine no more calls: it makes too many a second"),
            "where a proxy on this machine passes on the calls of others, name it in server.trusted_proxies",
        ),
        _ => (
            format!("what answers at {url} with {status} is not a freshk server"),
            "compare server.listen with the address in the server's log, or give that with --listen",
        ),
    };
    Err(Unready { status: Some(status), problem, help })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_asked_on_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:8000", "127.0.0.1:8000"),
            ("[::]:8000", "[::1]:8000"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("[::1]:9000", "[::1]:9000"),
        ] {
            assert_eq!(local(listen.parse().unwrap()).to_string(), asked);
        }
    }

    #[test]
    fn only_the_answer_of_a_ready_server_is_good() {
        let judged =
            |status, answer: Value| judge("there", status, &answer).map_err(|unready| unready.problem);
        assert_eq!(judged(200, json!({ "status": "ok" })), Ok(()));
        for (status, answer, words) in [
            (503, json!({ "code": "unavailable" }), "is not ready"),
            (429, json!({ "code": "rate_limited" }), "too many a second"),
            (200, json!({ "status": "up" }), "not a freshk server"),
            (200, Value::Null, "not a freshk server"),
            (503, Value::Null, "not a freshk server"),
            (404, json!({ "code": "not_found" }), "not a freshk server"),
        ] {
            assert!(judged(status, answer).unwrap_err().contains(words), "{status}");
        }
    }
}
