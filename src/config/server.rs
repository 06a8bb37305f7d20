//! `[server]` and `[docs]`: the listener for phones.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::fault::quoted;
use super::key::{Key, Kind, Section};
use super::reader::Reader;
use super::tls::Tls;
use super::{origin, tls, value};
use crate::domain::http_url::is_host;
use crate::domain::{HttpUrl, Listen};

/// `[server]`
#[derive(Clone, Debug)]
pub struct Server {
    /// Where to listen; port 0 takes a free one.
    pub listen: Listen,
    /// The URL under which the world reaches the server, if the operator said so.
    pub public_url: Option<HttpUrl>,
    /// The names that `Host` may have, in lower case; a leading dot means subdomains too, `*` any. Empty: any.
    pub allowed_hosts: Vec<String>,
    /// The proxies whose forwarding header is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The one header that is believed, in lower case; `forwarded` is read as RFC 7239 has it, others as a list.
    pub forwarded_header: String,
    /// The origins whose web pages may call, exactly as browsers send them.
    pub cors_origins: Vec<String>,
    /// The most bytes of a request's body.
    pub body_limit: usize,
    /// What a head and what a body has to arrive.
    pub request_timeout: Duration,
    /// How long a connection may rest between two requests.
    pub keepalive_timeout: Duration,
    /// Connections at once.
    pub max_connections: usize,
    /// Connections at once of one address that is no trusted proxy, and unfinished bodies of one client behind a proxy.
    pub max_connections_per_address: usize,
    /// How long a shutdown waits for what is under way.
    pub shutdown_timeout: Duration,
    /// `[server.tls]`
    pub tls: Tls,
}

/// Whom a socket in the file system has for a peer: the proxy on this machine.
const UNIX_PEER: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

impl Server {
    /// The proxies whose forwarding header is believed; on a socket in the file system it is whoever may open that.
    pub fn trusted(&self) -> Vec<IpNet> {
        let peer = self.listen.port().is_none().then(|| IpNet::from(UNIX_PEER));
        self.trusted_proxies.iter().copied().chain(peer).collect()
    }
}

/// `[docs]`
#[derive(Clone, Copy, Debug)]
pub struct Docs {
    /// Whether `/docs` and the `OpenAPI` document are served.
    pub enabled: bool,
}

pub(super) static LISTEN: Key = Key::new(
    "server.listen",
    Kind::Text(
        "an address and a port, such as 127.0.0.1:8000 or [::]:8000, or unix: and the path of a socket",
    ),
    "127.0.0.1:8000",
    "The address and port to listen on; or unix: and a path, such as unix:/run/freshk/freshk.sock, for a proxy on this machine, \
     which is trusted then.",
);
static PUBLIC_URL: Key = Key::new(
    "server.public_url",
    Kind::Text("an absolute URL, such as https://api.example.com"),
    "",
    "The URL under which the world reaches this server. Twilio's delivery reports go there, and are signed over it.",
);
static ALLOWED_HOSTS: Key = Key::new(
    "server.allowed_hosts",
    Kind::List("host names without scheme and port; .example.com means its subdomains too, * any"),
    "",
    "The names that the Host header may have; others get 400. A leading dot means subdomains too. Empty: any.",
)
.guide("ALLOWED_HOSTS");
static TRUSTED_PROXIES: Key = Key::new(
    "server.trusted_proxies",
    Kind::List("addresses or networks, such as 127.0.0.1 or 10.0.0.0/8"),
    "",
    "The proxies whose word on the client's address is believed. Behind a proxy that is not named here, all clients \
     share one quota.",
);
static FORWARDED_HEADER: Key = Key::new(
    "server.forwarded_header",
    Kind::Text("the name of one header, such as x-forwarded-for, forwarded or x-real-ip"),
    "x-forwarded-for",
    "The one header in which trusted proxies name the client.",
);
static CORS_ORIGINS: Key = Key::new(
    "server.cors_origins",
    Kind::List("exact origins without a path, such as https://app.example.com or http://localhost:5173"),
    "",
    "The origins whose web pages may call the API from a browser. Empty: none; apps and servers need none.",
);
static BODY_LIMIT: Key = Key::new(
    "server.body_limit",
    Kind::Size { min: "1KiB", max: "16MiB" },
    "16KiB",
    "The largest body of a request; more gets 413.",
);
static REQUEST_TIMEOUT: Key = Key::new(
    "server.request_timeout",
    Kind::Duration { min: "1s", max: "10m" },
    "30s",
    "A client that has not sent its whole head or body by then is dropped, however slowly it drips.",
);
static KEEPALIVE_TIMEOUT: Key = Key::new(
    "server.keepalive_timeout",
    Kind::Duration { min: "1s", max: "1h" },
    "130s",
    "How long a connection may be idle between two requests. Longer than the proxy's own: a proxy that sends a request \
     while the server closes its connection answers 502.",
);
static MAX_CONNECTIONS: Key = Key::new(
    "server.max_connections",
    Kind::Number { min: 1, max: 1_000_000 },
    "10000",
    "Connections at once; more wait. Fewer, with a warning at the start, where the system's limit of open files does not \
     allow so many.",
);
static MAX_CONNECTIONS_PER_ADDRESS: Key = Key::new(
    "server.max_connections_per_address",
    Kind::Number { min: 1, max: 1_000_000 },
    "256",
    "Connections at once of one address (an IPv6 /64); more are closed. Never more than half of max_connections. Trusted \
     proxies are exempt: there it bounds the unfinished bodies of one client.",
);
static SHUTDOWN_TIMEOUT: Key = Key::new(
    "server.shutdown_timeout",
    Kind::Duration { min: "0s", max: "10m" },
    "15s",
    "How long a shutdown waits for what is under way.",
);
static DOCS_ENABLED: Key = Key::new(
    "docs.enabled",
    Kind::Switch,
    "true",
    "Serves Swagger UI at /docs, and the OpenAPI documents at /openapi.json, /openapi.yaml and /openapi-callbacks.json.",
);

pub(super) const SECTION: Section = Section {
    name: "server",
    doc: "How the phones reach us.",
    keys: &[
        &LISTEN,
        &PUBLIC_URL,
        &ALLOWED_HOSTS,
        &TRUSTED_PROXIES,
        &FORWARDED_HEADER,
        &CORS_ORIGINS,
        &BODY_LIMIT,
        &REQUEST_TIMEOUT,
        &KEEPALIVE_TIMEOUT,
        &MAX_CONNECTIONS,
        &MAX_CONNECTIONS_PER_ADDRESS,
        &SHUTDOWN_TIMEOUT,
    ],
};
pub(super) const DOCS_SECTION: Section =
    Section { name: "docs", doc: "The documentation that the server shows.", keys: &[&DOCS_ENABLED] };

pub(super) fn read(reader: &mut Reader<'_>) -> Server {
    let public_url = reader.one(&PUBLIC_URL, value::http_url);
    Server {
        tls: tls::read(reader, public_url.as_ref()),
        listen: reader
            .one(&LISTEN, listen)
            .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8000)).into()),
        public_url,
        allowed_hosts: reader.list(&ALLOWED_HOSTS, allowed_host),
        trusted_proxies: reader.list(&TRUSTED_PROXIES, value::network),
        forwarded_header: reader.one(&FORWARDED_HEADER, header_name).unwrap_or_default(),
        cors_origins: reader.list(&CORS_ORIGINS, origin::parse),
        body_limit: reader.size(&BODY_LIMIT),
        request_timeout: reader.duration(&REQUEST_TIMEOUT),
        keepalive_timeout: reader.duration(&KEEPALIVE_TIMEOUT),
        max_connections: reader.number(&MAX_CONNECTIONS),
        max_connections_per_address: reader.number(&MAX_CONNECTIONS_PER_ADDRESS),
        shutdown_timeout: reader.duration(&SHUTDOWN_TIMEOUT),
    }
}

pub(super) fn read_docs(reader: &mut Reader<'_>) -> Docs {
    Docs { enabled: reader.switch(&DOCS_ENABLED) }
}

fn listen(text: &str) -> Result<Listen, String> {
    Listen::parse(text).map_err(|error| format!("{} is {error}", quoted(text)))
}

fn allowed_host(text: &str) -> Result<String, String> {
    let name = text.strip_prefix('.').unwrap_or(text);
    let good = text == "*" || is_host(name);
    if good { Ok(text.to_ascii_lowercase()) } else { Err(format!("{} is not a host name", quoted(text))) }
}

/// RFC 9110 §5.1: the name of a field is a token.
fn header_name(text: &str) -> Result<String, String> {
    let good = !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    if good { Ok(text.to_ascii_lowercase()) } else { Err(format!("{} is not a header's name", quoted(text))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s13_hosts_are_names_as_django_takes_them() {
        for good in ["Example.com", ".example.com", "*", "127.0.0.1", "[::1]", "localhost"] {
            assert!(allowed_host(good).is_ok(), "{good}");
        }
        for bad in ["https://example.com", "example.com:8000", "a/b", "..example.com", "*.example.com"] {
            assert!(allowed_host(bad).is_err(), "{bad}");
        }
    }
}
