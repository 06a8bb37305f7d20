//! What the client calls its device, for the list of sessions.

use data_encoding::HEXLOWER_PERMISSIVE;
use poem::http::header::USER_AGENT;
use poem::http::{HeaderMap, HeaderValue};
use poem_openapi::registry::MetaSchema;

use super::header::header_parameter;

/// The header by which an app names its device, such as `Asha's Pixel 9`: UTF-8, or percent-encoded UTF-8 where the client
/// can send no other (`OkHttp` refuses to send anything but ASCII).
const DEVICE_NAME: &str = "x-device-name";

/// The longest device name that is kept, in characters.
const DEVICE_LENGTH: usize = 64;

/// `X-Device-Name`, or else `User-Agent`, cut to 64 printable characters. Taking it never fails.
#[derive(Debug)]
pub struct DeviceName(Option<String>);

impl DeviceName {
    /// The name; empty where the client gave none.
    pub fn into_text(self) -> String {
        self.0.unwrap_or_default()
    }
}

header_parameter!(
    DeviceName,
    MetaSchema { example: Some("Asha's Pixel 9".into()), ..MetaSchema::new("string") },
    |headers| Self(device(headers))
);

/// The first that says something.
fn device(headers: &HeaderMap) -> Option<String> {
    let bytes = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    let named = bytes(DEVICE_NAME).map(|name| percent_decoded(name).unwrap_or_else(|| name.to_vec()));
    let agent = bytes(USER_AGENT.as_str()).map(<[u8]>::to_vec);
    [named, agent].into_iter().flatten().map(|bytes| printable(&bytes)).find(|name| !name.is_empty())
}

/// What a name of percent-encoded UTF-8 says; `None` for one that is not: a percent sign in it stands for itself.
fn percent_decoded(name: &[u8]) -> Option<Vec<u8>> {
    let (mut decoded, mut rest) = (Vec::with_capacity(name.len()), name);
    while let [first, after @ ..] = rest {
        if *first == b'%' {
            decoded.extend(HEXLOWER_PERMISSIVE.decode(after.get(..2)?).ok()?);
            rest = &after[2..];
        } else {
            decoded.push(*first);
            rest = after;
        }
    }
    std::str::from_utf8(&decoded).is_ok().then_some(decoded)
}

fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let printable: String = text.chars().filter(|c| !c.is_control()).collect();
    let kept: String = printable.trim().chars().take(DEVICE_LENGTH).collect();
    kept.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_the_app_gives_wins_unless_it_is_empty() {
        let mut headers = HeaderMap::new();
        assert_eq!(device(&headers), None);
        headers.insert("user-agent", "okhttp/5".parse().unwrap());
        assert_eq!(device(&headers).as_deref(), Some("okhttp/5"));
        headers.insert("x-device-name", "  ".parse().unwrap());
        assert_eq!(device(&headers).as_deref(), Some("okhttp/5"));
        headers.insert("x-device-name", "Asha's Pixel".parse().unwrap());
        assert_eq!(device(&headers).as_deref(), Some("Asha's Pixel"));
    }

    #[test]
    fn a_device_name_may_be_percent_encoded_and_keeps_64_characters() {
        let named = |name: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert("x-device-name", HeaderValue::from_bytes(name).unwrap());
            device(&headers)
        };
        for (sent, kept) in [
            ("Asha%E2%80%99s%20Pixel", "Asha’s Pixel"),
            ("%D9%87%D8%A7%D8%AA%D9%81", "هاتف"),
            ("%d9%87", "ه"),
            ("आशा का फ़ोन", "आशा का फ़ोन"),
            ("100% mine", "100% mine"),
            ("50%", "50%"),
            ("a+b", "a+b"),
            // Not UTF-8 when it is decoded: taken as it stands.
            ("%ff%20", "%ff%20"),
        ] {
            assert_eq!(named(sent.as_bytes()).as_deref(), Some(kept), "{sent}");
        }
        assert_eq!(named(b"%0d%0aevil%1b").as_deref(), Some("evil"), "S34");
        assert_eq!(named("%E0%A4%86".repeat(65).as_bytes()), Some("आ".repeat(64)));
        let mut headers = HeaderMap::new();
        headers.insert("user-agent", HeaderValue::from_static("app%20one"));
        assert_eq!(device(&headers).as_deref(), Some("app%20one"), "User-Agent is no such name");
    }

    #[test]
    fn s34_a_device_name_holds_no_control_characters_and_ends() {
        assert_eq!(printable(b" FreshK/1.0\x1b[31m\x7f "), "FreshK/1.0[31m");
        assert_eq!(printable(&[b'a'; 500]).len(), DEVICE_LENGTH);
        assert_eq!(printable(b"\xff\xfe"), "\u{fffd}\u{fffd}");
    }
}
