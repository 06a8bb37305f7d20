//! Looking names up. ureq does so for every call, in a thread that it starts for it; nearly every call goes over a connection
//! that is open already.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::clock::Stopwatch;
use crate::sync::lock;

/// How long the addresses of a name are used before it is looked up again: about as long as connections rest, so that a provider
/// that moves is followed.
const FRESH: Duration = Duration::from_secs(10);

/// A client calls the hosts of the configuration and those that an authority for certificates names.
const NAMES: usize = 64;

/// Looks names up as ureq does, each once in a while; copies know the same.
#[derive(Clone, Debug)]
pub(super) struct Names(Arc<LookUps>);

#[derive(Debug)]
struct LookUps {
    known: Known,
    since: Stopwatch,
    lookup: DefaultResolver,
}

/// The addresses of names, with the time at which they were looked up.
#[derive(Debug, Default)]
struct Known(Mutex<HashMap<String, (Duration, Vec<SocketAddr>)>>);

impl Names {
    /// None are known.
    pub(super) fn new() -> Self {
        let lookup = DefaultResolver::default();
        Self(Arc::new(LookUps { known: Known::default(), since: Stopwatch::start(), lookup }))
    }
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let LookUps { known, since, lookup } = &*self.0;
        let place = uri.scheme().zip(uri.authority());
        let name = place.and_then(|(scheme, authority)| DefaultResolver::host_and_port(scheme, authority));
        let Some(name) = name else { return lookup.resolve(uri, config, timeout) };
        let literal = literal(&name).map(|address| vec![address]);
        if let Some(found) = literal.or_else(|| known.of(&name, since.elapsed())) {
            let mut addresses = self.empty();
            for address in found {
                addresses.push(address);
            }
            return Ok(addresses);
        }
        let found = lookup.resolve(uri, config, timeout);
        known.note(name, since.elapsed(), found.as_ref().map_or(&[], |found| found));
        found
    }
}

impl Known {
    /// The addresses of a name, where it need not be looked up. Where they have been known for long enough, one caller is sent to
    /// look it up, and those who come meanwhile go on with what is known.
    fn of(&self, name: &str, now: Duration) -> Option<Vec<SocketAddr>> {
        let mut known = lock(&self.0);
        let (since, addresses) = known.get_mut(name)?;
        if now < *since + FRESH {
            return Some(addresses.clone());
        }
        *since = now;
        None
    }

    /// Notes what a look-up has found; nothing where it failed, so that the next call looks again.
    fn note(&self, name: String, now: Duration, found: &[SocketAddr]) {
        let mut known = lock(&self.0);
        if found.is_empty() {
            known.remove(&name);
        } else if known.len() < NAMES || known.contains_key(&name) {
            known.insert(name, (now, found.to_vec()));
        }
    }
}

/// An address that is written as such needs no look-up; `name` ends with its port.
fn literal(name: &str) -> Option<SocketAddr> {
    let (host, port) = name.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some(SocketAddr::new(host.parse::<IpAddr>().ok()?, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: [SocketAddr; 1] = [SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 443)];
    const SECOND: [SocketAddr; 1] = [SocketAddr::new(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), 443)];

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_name_is_looked_up_again_by_one_caller_while_the_others_go_on() {
        let known = Known::default();
        assert_eq!(known.of("example.com:443", at(0)), None);
        known.note("example.com:443".to_owned(), at(0), &FIRST);
        assert_eq!(known.of("example.com:443", at(9)), Some(FIRST.to_vec()));
        assert_eq!(known.of("example.com:443", at(10)), None, "this one looks it up");
        assert_eq!(
            known.of("example.com:443", at(10)),
            Some(FIRST.to_vec()),
            "this one does not wait for it"
        );
        known.note("example.com:443".to_owned(), at(11), &SECOND);
        assert_eq!(known.of("example.com:443", at(20)), Some(SECOND.to_vec()));
    }

    #[test]
    fn a_name_that_was_not_found_is_looked_up_by_the_next() {
        let known = Known::default();
        known.note("example.com:443".to_owned(), at(0), &FIRST);
        known.note("example.com:443".to_owned(), at(10), &[]);
        assert_eq!(known.of("example.com:443", at(10)), None);
    }

    #[test]
    fn names_beyond_any_configuration_are_not_kept() {
        let known = Known::default();
        for n in 0..1000 {
            known.note(format!("{n}.example.com:443"), at(0), &FIRST);
        }
        assert_eq!(lock(&known.0).len(), NAMES);
        known.note("0.example.com:443".to_owned(), at(1), &SECOND);
        assert_eq!(
            known.of("0.example.com:443", at(2)),
            Some(SECOND.to_vec()),
            "those that are kept are renewed"
        );
    }

    #[test]
    fn an_address_needs_no_look_up() {
        assert_eq!(literal("127.0.0.1:443"), Some(FIRST[0]));
        assert_eq!(literal("[::1]:443"), Some(SECOND[0]));
        for name in ["example.com:443", "localhost:80", "127.0.0.1", "127.0.0.1:99999"] {
            assert_eq!(literal(name), None, "{name}");
        }
    }

    #[test]
    fn the_client_calls_a_name_and_an_address() {
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        let (names, config) = (Names::new(), ureq::Agent::config_builder().build());
        let timeout =
            || NextTimeout { after: at(5).into(), reason: ureq::Timeout::Resolve, ..NextTimeout::default() };
        let of = |text: &str| names.resolve(&uri(text), &config, timeout()).unwrap().to_vec();
        assert_eq!(of("https://127.0.0.1/"), FIRST);
        assert!(lock(&names.0.known.0).is_empty());
        let looked_up = of("http://localhost:8000/");
        assert!(looked_up.iter().all(|address| address.ip().is_loopback() && address.port() == 8000));
        assert_eq!(of("http://localhost:8000/"), looked_up);
        assert_eq!(lock(&names.0.known.0).len(), 1);
    }
}
