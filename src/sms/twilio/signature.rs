//! Whether a status callback comes from Twilio: `X-Twilio-Signature`.
//!
//! Source: Twilio, "Validating Requests are coming from Twilio"; held against the vectors of its own libraries.

use std::collections::BTreeSet;

use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::domain::Secret;

/// The query parameter that covers a JSON body.
const BODY_HASH: &str = "bodySHA256";

/// Whether `signature` covers `url` and the form `params`, in constant time.
///
/// `url` is the one that Twilio was given, with its query, made from the configured public address and never from the
/// request's `Host`. It counts with and without its port: Twilio signs now the one, now the other. The key is the primary
/// Auth Token, also where an API key sends.
pub fn verify(auth_token: &Secret, url: &str, params: &[(String, String)], signature: &str) -> bool {
    // Sorted by name, then value, each pair once; values as they came, untrimmed.
    let pairs: BTreeSet<_> = params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let covered: String = pairs.into_iter().flat_map(|(name, value)| [name, value]).collect();
    let Ok(tag) = BASE64.decode(signature.as_bytes()) else { return false };
    let [given, other] = [url.to_owned(), with_or_without_port(url)].map(|url| {
        Hmac::<Sha1>::new_from_slice(auth_token.expose().as_bytes())
            .is_ok_and(|mac| mac.chain_update(url).chain_update(&covered).verify_slice(&tag).is_ok())
    });
    given | other
}

/// Whether `signature` covers `url`, and the `bodySHA256` in its query the JSON `body`.
pub fn verify_body(auth_token: &Secret, url: &str, body: &[u8], signature: &str) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let told = query.split('&').find_map(|pair| pair.strip_prefix(BODY_HASH)?.strip_prefix('='));
    let hash = HEXLOWER.encode(&Sha256::digest(body));
    told.is_some_and(|told| bool::from(told.as_bytes().ct_eq(hash.as_bytes())))
        && verify(auth_token, url, &[], signature)
}

/// The same URL without its port, or with the default one if it has none.
fn with_or_without_port(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let port = if scheme == "http" { 80 } else { 443 };
    match authority.rsplit_once(':') {
        // The last colon of a bare IPv6 address stands within its brackets.
        Some((host, port)) if !port.contains(']') => format!("{scheme}://{host}{path}"),
        _ => format!("{scheme}://{authority}:{port}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";
    const SIGNATURE: &str = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";

    fn token() -> Secret {
        Secret::new("12345")
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn params() -> Vec<(String, String)> {
        pairs(&[
            ("To", "+18005551212"),
            ("CallSid", "CA1234567890ABCDE"),
            ("Caller", "+14158675309"),
            ("Digits", "1234"),
            ("From", "+14158675309"),
        ])
    }

    #[test]
    fn s26_the_published_form_vector() {
        assert!(verify(&token(), URL, &params(), SIGNATURE));
    }

    #[test]
    fn s26_the_published_body_vector() {
        let body = br#"{"property": "value", "boolean": true}"#;
        let hash = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
        let url = format!("{URL}&bodySHA256={hash}");
        let signature = "a9nBmqA0ju/hNViExpshrM61xv4=";
        assert!(verify_body(&token(), &url, body, signature));
        assert!(!verify_body(&token(), &url, b"{}", signature));
        assert!(!verify_body(&token(), URL, body, signature));
        assert!(!verify_body(&Secret::new("12346"), &url, body, signature));
    }

    #[test]
    fn s26_the_published_vectors_of_ports() {
        let http = URL.replace("https", "http");
        assert!(verify(&token(), &URL.replace(".com", ".com:1234"), &params(), SIGNATURE));
        assert!(verify(
            &token(),
            &http.replace(".com", ".com:1234"),
            &params(),
            "Zmvh+3yNM1Phv2jhDCwEM3q5ebU="
        ));
        assert!(verify(&token(), URL, &params(), "kvajT1Ptam85bY51eRf/AJRuM3w="));
        assert!(verify(&token(), &http, &params(), "0ZXoZLH/DfblKGATFgpif+LLRf4="));
    }

    #[test]
    fn s26_the_published_vector_of_repeated_names() {
        let params =
            pairs(&[("Sid", "CA123"), ("SidAccount", "AC123"), ("Digits", "5678"), ("Digits", "1234")]);
        let twice = [params.clone(), params.clone()].concat();
        for params in [params, twice] {
            assert!(verify(&token(), URL, &params, "IK+Dwps556ElfBT0I3Rgjkr1wJU="));
        }
    }

    #[test]
    fn s26_values_are_not_trimmed() {
        // Computed with Twilio's own Python library.
        let params = pairs(&[("MessageSid", "SM1"), ("Body", " a é"), ("A", "")]);
        assert!(verify(&token(), URL, &params, "c5H3BvXeTsihg1KWGZJF4X4MEAo="));
        let trimmed = pairs(&[("MessageSid", "SM1"), ("Body", "a é"), ("A", "")]);
        assert!(!verify(&token(), URL, &trimmed, "c5H3BvXeTsihg1KWGZJF4X4MEAo="));
    }

    #[test]
    fn s26_anything_else_is_refused() {
        assert!(!verify(&Secret::new("12346"), URL, &params(), SIGNATURE));
        assert!(!verify(&token(), "https://mycompany.com/myapp.php?foo=1&bar=3", &params(), SIGNATURE));
        assert!(!verify(&token(), URL, &params()[1..], SIGNATURE));
        for bad in ["", "=", "RSOY", "RSOYDt4T1cUTdK1PDd93/VVr8B8", " RSOYDt4T1cUTdK1PDd93/VVr8B8=", "ÄÖÜ"]
        {
            assert!(!verify(&token(), URL, &params(), bad), "{bad:?}");
        }
    }

    #[test]
    fn ports_come_and_go() {
        for (url, other) in [
            ("https://a.example/x", "https://a.example:443/x"),
            ("http://a.example?x=1:2", "http://a.example:80?x=1:2"),
            ("https://a.example:8443/x:y", "https://a.example/x:y"),
            ("https://[::1]/x", "https://[::1]:443/x"),
            ("https://[::1]:8443/x", "https://[::1]/x"),
        ] {
            assert_eq!(with_or_without_port(url), other);
        }
    }

    proptest! {
        #[test]
        fn s26_no_input_panics_or_passes(url in any::<String>(), params: Vec<(String, String)>, signature in any::<String>()) {
            prop_assert!(!verify(&token(), &url, &params, &signature));
        }
    }
}
