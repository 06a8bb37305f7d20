//! The origins of web pages, as `server.cors_origins` names them.

use super::fault::quoted;
use crate::domain::http_url::is_host;

/// An origin exactly as browsers send it: scheme, host and, unless it is the scheme's usual one, port. The schemes of apps
/// that show pages (`capacitor://localhost`) are good too.
///
/// # Errors
/// What is wrong, and where it can be told, what to write instead.
pub(super) fn parse(text: &str) -> Result<String, String> {
    let told = quoted(text);
    if text.contains('*') {
        return Err(format!("{told} would let pages of others call; each origin is named in full"));
    }
    if text.eq_ignore_ascii_case("null") {
        return Err("null is what sandboxed pages and local files of anybody send".to_owned());
    }
    let no_origin = || format!("{told} is not an origin");
    let (scheme, authority) = text.split_once("://").ok_or_else(no_origin)?;
    let good = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !good || authority.is_empty() {
        return Err(no_origin());
    }
    let bare = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = match bare.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (bare, None),
    };
    if !is_host(host) {
        return Err(no_origin());
    }
    let port = match port.map(str::parse::<u16>) {
        None => None,
        Some(Ok(port)) if port > 0 => Some(port),
        Some(_) => return Err(format!("{told} has no port that can be")),
    };
    let scheme = scheme.to_ascii_lowercase();
    let port = port.filter(|port| !matches!((scheme.as_str(), port), ("http", 80) | ("https", 443)));
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    let sent = format!("{scheme}://{}{port}", host.to_ascii_lowercase());
    if sent == text { Ok(sent) } else { Err(format!("browsers send {} for {told}", quoted(&sent))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_taken_as_browsers_send_them() {
        for good in [
            "https://app.example.com",
            "https://app.example.com:8443",
            "http://localhost:5173",
            "http://127.0.0.1:8080",
            "http://[::1]:3000",
            "https://xn--bcher-kva.example",
            "capacitor://localhost",
            "ionic://localhost",
        ] {
            assert_eq!(parse(good).as_deref(), Ok(good));
        }
    }

    #[test]
    fn what_no_browser_sends_is_told_with_what_it_sends() {
        for (bad, sent) in [
            ("https://app.example.com/", "https://app.example.com"),
            ("https://app.example.com/login?x#y", "https://app.example.com"),
            ("https://App.Example.com", "https://app.example.com"),
            ("HTTPS://app.example.com", "https://app.example.com"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("http://app.example.com:80", "http://app.example.com"),
            ("http://localhost:05173", "http://localhost:5173"),
        ] {
            let problem = parse(bad).unwrap_err();
            assert!(problem.contains(&format!("browsers send {}", quoted(sent))), "{bad}: {problem}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused_and_so_is_everybody() {
        for bad in [
            "*",
            "https://*.example.com",
            "null",
            "app.example.com",
            "//app.example.com",
            "https://",
            "https:///x",
            "https://user@app.example.com",
            "https://a b",
            "https://bücher.example",
            "https://app.example.com:port",
            "https://app.example.com:0",
            "https://app.example.com:99999",
            "1s://x",
            "",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
