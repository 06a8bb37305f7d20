//! The formats in which proxies name the hops before them. Reading never fails: what is not an address is `None`.

use std::net::{IpAddr, Ipv6Addr};

/// The elements of `X-Forwarded-For`, its lines joined by commas. Empty elements are no hops (RFC 9110 §5.6.1).
pub(super) fn x_forwarded_for(list: &str) -> Vec<Option<IpAddr>> {
    list.split(',').map(str::trim).filter(|hop| !hop.is_empty()).map(address).collect()
}

/// The elements of `Forwarded` (RFC 7239 §4), its lines joined by commas.
pub(super) fn forwarded(list: &str) -> Vec<Option<IpAddr>> {
    split(list, ',').into_iter().map(str::trim).filter(|hop| !hop.is_empty()).map(element).collect()
}

/// One `for=…;by=…;proto=…`: the address of its one `for`. All of it must be well-formed: in what only looks like a
/// hop, the proxy's own words may stand inside the client's quotes.
fn element(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in split(element, ';') {
        let (name, value) = pair.split_once('=')?;
        let (name, value) = (name.trim(), unquote(value.trim())?);
        if name.is_empty()
            || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        {
            return None;
        }
        if name.eq_ignore_ascii_case("for") {
            if found.is_some() {
                return None;
            }
            found = Some(address(&value)?);
        }
    }
    found
}

/// Splits outside quoted strings. A quote that is never closed swallows all that follows it, which then is no address:
/// a client that opens one makes its own request count as the proxy's, and gains nothing.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, character) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if quoted && character == '\\' {
            escaped = true;
        } else if character == '"' {
            quoted = !quoted;
        } else if character == separator && !quoted {
            parts.push(&text[start..at]);
            start = at + 1;
        }
    }
    parts.push(&text[start..]);
    parts
}

/// A token as it is, a quoted string without its quotes and escapes; `None` for anything in between.
fn unquote(value: &str) -> Option<String> {
    let Some(rest) = value.strip_prefix('"') else {
        return (!value.contains('"')).then(|| value.to_owned());
    };
    let (mut text, mut characters) = (String::new(), rest.chars());
    loop {
        match characters.next()? {
            '"' => return characters.next().is_none().then_some(text),
            '\\' => text.push(characters.next()?),
            character => text.push(character),
        }
    }
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`; a port may be obfuscated
/// (`:_p`, RFC 7239 §6.3). `unknown` and `_hidden` are no addresses.
pub(super) fn address(node: &str) -> Option<IpAddr> {
    let node = node.trim();
    if let Some(rest) = node.strip_prefix('[') {
        let (v6, port) = rest.split_once(']')?;
        let v6: Ipv6Addr = v6.parse().ok()?;
        return (port.is_empty() || is_port(port.strip_prefix(':')?)).then_some(v6.into());
    }
    if let Ok(address) = node.parse() {
        return Some(address);
    }
    let (host, port) = node.split_once(':')?;
    is_port(port).then(|| host.parse().ok().map(IpAddr::V4)).flatten()
}

fn is_port(port: &str) -> bool {
    match port.strip_prefix('_') {
        Some(name) => {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        }
        None => (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit()),
    }
}
