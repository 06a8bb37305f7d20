//! Absolute `http` and `https` URLs, as far as a configuration needs them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// An absolute URL of scheme, host, port and path, without a slash at its end; no user, query or fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpUrl {
    text: String,
    host: String,
}

/// What is wrong with a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpUrlError {
    /// Neither `http` nor `https`.
    #[error("does not begin with http:// or https://")]
    Scheme,
    /// A user, and perhaps a password: such a URL must not be shown.
    #[error("has a user in it")]
    User,
    /// A query, a fragment, or characters that no path has.
    #[error("has more than a path after its host")]
    MoreThanPath,
    /// No port number.
    #[error("has no good port")]
    Port,
    /// No host, or none that can be one.
    #[error("has no good host")]
    Host,
}

impl HttpUrl {
    /// Reads one, strictly: whatever two parsers could read differently is refused.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, HttpUrlError> {
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))
            .ok_or(HttpUrlError::Scheme)?;
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') {
            return Err(HttpUrlError::User);
        }
        if !path.bytes().all(|b| b.is_ascii_graphic() && !br#"?#"<>\^`{|}"#.contains(&b)) {
            return Err(HttpUrlError::MoreThanPath);
        }
        let (host, port) = split_port(authority).ok_or(HttpUrlError::Host)?;
        if port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return Err(HttpUrlError::Port);
        }
        if !is_host(host) {
            return Err(HttpUrlError::Host);
        }
        Ok(Self { host: host.to_ascii_lowercase(), text: text.trim_end_matches('/').to_owned() })
    }

    /// The URL as it was written, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host, in lower case, an IPv6 address in its brackets; never with a port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, if the URL names one.
    pub fn port(&self) -> Option<u16> {
        let (_, rest) = self.text.split_once("://")?;
        let authority = rest.split('/').next()?;
        split_port(authority)?.1?.parse().ok()
    }

    /// Whether what goes there is encrypted.
    pub fn is_https(&self) -> bool {
        self.text.starts_with("https://")
    }

    /// Whether it leads to this machine.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.trim_start_matches('[').trim_end_matches(']');
        self.host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

/// Splits `host:port` and `[address]:port`.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let host_ends = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at(host_ends);
    if port.is_empty() { Some((host, None)) } else { Some((host, Some(port.strip_prefix(':')?))) }
}

/// Whether `text` is a host name, an IPv4 address, or an IPv6 address in brackets.
pub fn is_host(text: &str) -> bool {
    match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => text.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_ones() {
        let url = HttpUrl::parse("https://Auth.Example.com:8443/base/").unwrap();
        assert_eq!((url.as_str(), url.host()), ("https://Auth.Example.com:8443/base", "auth.example.com"));
        assert!(url.is_https() && !url.is_loopback());
        assert_eq!(url.port(), Some(8443));
        assert_eq!(HttpUrl::parse("https://[::1]/x:9").unwrap().port(), None);
        for loopback in ["http://localhost:9", "http://127.0.0.1", "http://[::1]:4010/x"] {
            assert!(HttpUrl::parse(loopback).unwrap().is_loopback(), "{loopback}");
        }
    }

    #[test]
    fn what_parsers_could_read_differently_is_refused() {
        for bad in [
            "",
            "api.twilio.com",
            "ftp://example.com",
            "https://",
            "https:///path",
            "http://127.0.0.1@evil.example",
            "http://localhost:80@evil.example",
            "http://localhost\\@evil.example",
            "https://example.com?x=1",
            "https://example.com/#x",
            "https://example.com:99999",
            "https://exa mple.com",
            "https://example.com/a b",
            "http://[::1",
        ] {
            assert!(HttpUrl::parse(bad).is_err(), "{bad}");
        }
        for elsewhere in ["http://localhost.evil.example", "http://192.0.2.1", "http://[2001:db8::1]:80"] {
            assert!(!HttpUrl::parse(elsewhere).unwrap().is_loopback(), "{elsewhere}");
        }
        assert_eq!(HttpUrl::parse("https://me@example.com"), Err(HttpUrlError::User));
        assert_eq!(HttpUrl::parse("https://[::g]"), Err(HttpUrlError::Host));
        assert!(HttpUrl::parse("https://a-b.c_d.example").is_ok());
    }
}
