//! Status callbacks as Twilio posts and signs them, written apart from the code that verifies them.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// A callback to be posted with any client, as `application/x-www-form-urlencoded`.
#[derive(Clone, Debug)]
pub(crate) struct SignedCallback {
    /// The value of `X-Twilio-Signature`.
    pub(crate) signature: String,
    /// The form.
    pub(crate) body: String,
}

/// Signs a callback to `url`, which is the public one with its query, not the address that the test posts to.
pub(crate) fn signed_callback(auth_token: &str, url: &str, params: &[(&str, &str)]) -> SignedCallback {
    let sorted: BTreeMap<_, _> = params.iter().copied().collect();
    let mut mac = Hmac::<Sha1>::new_from_slice(auth_token.as_bytes()).unwrap();
    mac.update(url.as_bytes());
    for (name, value) in sorted {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    let body: Vec<_> =
        params.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
    SignedCallback { signature: BASE64.encode(&mac.finalize().into_bytes()), body: body.join("&") }
}

fn escape(text: &str) -> String {
    text.bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            },
        )
        .collect()
}

/// Reads a form.
pub(super) fn parse_form(body: &str) -> Vec<(String, String)> {
    body.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (unescape(name), unescape(value)))
        .collect()
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => other,
        });
    }
    String::from_utf8(bytes).unwrap()
}
