//! Which hosts we answer for (S13), by Django's rules for `ALLOWED_HOSTS`.

use std::net::Ipv6Addr;

use poem::http::header::HOST;
use poem::http::{HeaderMap, Uri};

use crate::http::error::ErrorCode;

/// Always allowed while debugging.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// The hosts that are allowed.
#[derive(Debug)]
pub(in crate::http) struct Hosts {
    /// Lower case; a leading dot matches the domain and all below it. `None` allows all.
    patterns: Option<Vec<String>>,
}

impl Hosts {
    /// As the configuration has them: with none, any.
    pub(super) fn new(allowed: &[String], debug: bool) -> Self {
        if allowed.is_empty() || allowed.iter().any(|pattern| pattern == "*") {
            return Self { patterns: None };
        }
        let local: &[&str] = if debug { &LOCAL } else { &[] };
        let Self { patterns } = Self::only(allowed);
        let local = local.iter().map(|&host| host.to_owned());
        Self { patterns: patterns.map(|named| named.into_iter().chain(local).collect()) }
    }

    /// These and no others: with none, none.
    pub(in crate::http) fn only(allowed: &[String]) -> Self {
        let named = allowed.iter().map(|pattern| match pattern.parse::<Ipv6Addr>() {
            Ok(v6) => format!("[{v6}]"),
            Err(_) => name(pattern).unwrap_or_else(|| pattern.to_ascii_lowercase()),
        });
        Self { patterns: Some(named.collect()) }
    }

    /// Admits a request to one of our hosts. A request names exactly one, in its `Host` (RFC 9112 §3.2); a target in
    /// absolute form names it once more. Gives the host, without its port.
    ///
    /// # Errors
    /// `host_not_allowed`
    pub(in crate::http) fn admit(&self, uri: &Uri, headers: &HeaderMap) -> Result<String, ErrorCode> {
        let mut lines = headers.get_all(HOST).iter();
        let (Some(host), None) = (lines.next(), lines.next()) else {
            return Err(ErrorCode::HostNotAllowed);
        };
        let host = host.to_str().ok();
        let target = uri.authority().map(|authority| Some(authority.as_str()));
        let allowed = |host: Option<&str>| host.and_then(name).filter(|name| self.allows(name));
        if target.is_some_and(|target| allowed(target).is_none()) {
            return Err(ErrorCode::HostNotAllowed);
        }
        allowed(host).ok_or(ErrorCode::HostNotAllowed)
    }

    /// Whether a `Host` is one of them.
    pub(in crate::http) fn names(&self, host: &str) -> bool {
        name(host).is_some_and(|name| self.allows(&name))
    }

    fn allows(&self, name: &str) -> bool {
        let Some(patterns) = &self.patterns else { return true };
        patterns.iter().any(|pattern| match pattern.strip_prefix('.') {
            Some(domain) => {
                name == domain || name.strip_suffix(domain).is_some_and(|below| below.ends_with('.'))
            }
            None => name == pattern,
        })
    }
}

/// The name in `name:port`, in lower case and without the dot that may end it; an IPv6 address in brackets, in its
/// canonical form. `None` where there is none.
fn name(host: &str) -> Option<String> {
    let (name, port) = if let Some(rest) = host.strip_prefix('[') {
        let (v6, port) = rest.split_once(']')?;
        (format!("[{}]", v6.parse::<Ipv6Addr>().ok()?), port)
    } else {
        let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let good = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        if name.is_empty() || !name.bytes().all(good) {
            return None;
        }
        (name, port)
    };
    let digits = |port: &str| port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    (port.is_empty() || port.strip_prefix(':').is_some_and(digits)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(allowed: &[&str], debug: bool, uri: &str, hosts: &[&str]) -> bool {
        let allowed: Vec<_> = allowed.iter().map(|&host| host.to_owned()).collect();
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, host.parse().unwrap());
        }
        Hosts::new(&allowed, debug).admit(&uri.parse().unwrap(), &headers).is_ok()
    }

    #[test]
    fn s13_hosts_are_matched_as_django_does() {
        let allowed = ["api.example.com", ".Example.org", "192.0.2.1", "2001:db8::1"];
        for good in [
            "api.example.com",
            "API.EXAMPLE.COM:8000",
            "api.example.com.",
            "example.org",
            "a.b.example.org:443",
            "192.0.2.1:80",
            "[2001:DB8:0::1]:8000",
        ] {
            assert!(admits(&allowed, false, "/", &[good]), "{good}");
        }
        for bad in ["example.com", "notexample.org", "localhost", "127.0.0.1", "[::1]", "192.0.2.2", "", "*"]
        {
            assert!(!admits(&allowed, false, "/", &[bad]), "{bad}");
        }
    }

    #[test]
    fn s13_no_host_two_hosts_and_malformed_hosts_are_refused_whatever_is_allowed() {
        for allowed in [&[] as &[_], &["*"]] {
            assert!(admits(allowed, false, "/", &["anything.example"]));
            let bad = ["a b", "a:port", "a:123456", "a/b", "u@a", "[::1", "[zz]", "::1", ".", ":80"];
            for hosts in [&[] as &[_], &["a", "b"]].into_iter().chain(bad.iter().map(std::slice::from_ref)) {
                assert!(!admits(allowed, false, "/", hosts), "{hosts:?}");
            }
        }
    }

    #[test]
    fn s13_the_target_counts_as_much_as_the_header() {
        let allowed = ["api.example.com"];
        assert!(admits(&allowed, false, "http://api.example.com/x", &["api.example.com"]));
        assert!(!admits(&allowed, false, "http://evil.example/x", &["api.example.com"]));
        assert!(!admits(&allowed, false, "http://api.example.com/x", &["evil.example"]));
    }

    #[test]
    fn s13_in_debug_this_machine_is_always_allowed() {
        for host in ["localhost:8000", "127.0.0.1", "[::1]:8000"] {
            assert!(admits(&["api.example.com"], true, "/", &[host]), "{host}");
        }
        assert!(!admits(&["api.example.com"], true, "/", &["evil.example"]));
    }
}
