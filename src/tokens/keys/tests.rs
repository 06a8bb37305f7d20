//! Tokens under keys of their own, and every way to forge one.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::*;
use crate::domain::keys::KeyRing;
use crate::domain::{NameClaim, Secret};
use crate::tokens::sample::{self, now};
use crate::tokens::{Names, TokenError, TokenKind, TokenPair, Tokens, Verified};

const ASYMMETRIC: [Algorithm; 3] = [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256];

fn tokens_of(algorithm: Algorithm, text: &str) -> Tokens {
    let ring = KeyRing::new(&Secret::new("r".repeat(32)), &[]);
    Tokens::with_keys(KeySet::parse(algorithm, text).unwrap(), &ring, Duration::from_mins(15))
}

fn access(tokens: &Tokens) -> String {
    pair(tokens).access
}

fn pair(tokens: &Tokens) -> TokenPair {
    sample::pair(tokens).unwrap()
}

fn good(tokens: &Tokens, token: &str) -> bool {
    match tokens.verify(token, TokenKind::Access, now()) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error, TokenError::Invalid);
            false
        }
    }
}

fn part(token: &str, n: usize) -> Value {
    let part = token.split('.').nth(n).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
}

/// The token under another header, its signature as it was.
fn with_header(token: &str, header: &Value) -> String {
    let (_, rest) = token.split_once('.').unwrap();
    format!("{}.{rest}", BASE64URL_NOPAD.encode(header.to_string().as_bytes()))
}

#[test]
fn what_a_key_signs_is_accepted_and_names_the_key() {
    for algorithm in ASYMMETRIC {
        let tokens = tokens_of(algorithm, &generate(algorithm).unwrap());
        let token = access(&tokens);
        assert!(good(&tokens, &token), "{algorithm:?}");
        let jwks: Value = serde_json::from_str(tokens.jwks().unwrap()).unwrap();
        let key = &jwks["keys"][0];
        let header = json!({ "typ": "JWT", "alg": algorithm.as_str(), "kid": key["kid"] });
        assert_eq!(part(&token, 0), header);
        assert_eq!((&key["alg"], &key["use"]), (&json!(algorithm.as_str()), &json!("sig")));
        for private in ["d", "p", "q", "k"] {
            assert!(key.get(private).is_none(), "{algorithm:?} publishes {private}");
        }
    }
}

/// Whoever holds the public keys reads access tokens; refresh tokens are nobody's but ours, in the one form.
#[test]
fn s14_refresh_tokens_are_hs256_whatever_signs_access_tokens() {
    for algorithm in ASYMMETRIC {
        let tokens = tokens_of(algorithm, &generate(algorithm).unwrap());
        let refresh = pair(&tokens).refresh;
        assert_eq!(part(&refresh, 0), json!({ "typ": "JWT", "alg": "HS256" }), "{algorithm:?}");
        let under_access_key = |token: &str| match tokens.verify(token, TokenKind::Refresh, now()) {
            Ok(Verified::Own(claims)) => claims.under_access_key,
            other => panic!("{algorithm:?}: {other:?}"),
        };
        assert!(!under_access_key(&refresh));
        let before = tokens.access.sign(&part(&refresh, 1)).unwrap();
        assert!(under_access_key(&before), "{algorithm:?}: as they were issued before");
    }
}

#[test]
fn after_a_rotation_the_new_key_signs_and_the_old_ones_verify() {
    for algorithm in ASYMMETRIC {
        let first = generate(algorithm).unwrap();
        let second = rotate(algorithm, &first).unwrap();
        let third = rotate(algorithm, &second).unwrap();
        assert_eq!(third.matches("PRIVATE KEY-----").count(), 2, "one begins and ends");
        assert_eq!(third.matches("BEGIN PUBLIC KEY").count(), 2);
        let old = access(&tokens_of(algorithm, &first));
        let newest = tokens_of(algorithm, &third);
        assert!(good(&newest, &old) && good(&newest, &access(&tokens_of(algorithm, &second))));
        assert_ne!(part(&access(&newest), 0)["kid"], part(&old, 0)["kid"]);
        assert!(
            !good(&tokens_of(algorithm, &first), &access(&newest)),
            "the old instance does not know the new key"
        );
        let jwks: Value = serde_json::from_str(newest.jwks().unwrap()).unwrap();
        assert_eq!(jwks["keys"].as_array().unwrap().len(), 3);
    }
}

#[test]
fn an_old_private_key_may_stay_and_only_verifies() {
    let (old, new) = (generate(Algorithm::EdDsa).unwrap(), generate(Algorithm::EdDsa).unwrap());
    let both = tokens_of(Algorithm::EdDsa, &format!("{new}{old}"));
    assert!(good(&both, &access(&tokens_of(Algorithm::EdDsa, &old))));
    assert_eq!(part(&access(&both), 0), part(&access(&tokens_of(Algorithm::EdDsa, &new)), 0));
}

#[test]
fn s14_the_public_key_is_no_hmac_secret() {
    for algorithm in ASYMMETRIC {
        let text = generate(algorithm).unwrap();
        let tokens = tokens_of(algorithm, &text);
        let token = access(&tokens);
        let public = rotate(algorithm, &text).unwrap();
        let public = &public[public.find("-----BEGIN PUBLIC").unwrap()..];
        let der = pem::parse(public).unwrap().into_contents();
        for secret in
            [public.as_bytes(), public.trim_end().as_bytes(), &der, tokens.jwks().unwrap().as_bytes()]
        {
            for kid in [part(&token, 0)["kid"].clone(), Value::Null] {
                let header = json!({ "typ": "JWT", "alg": "HS256", "kid": kid });
                let unsigned = with_header(&token, &header);
                let body = unsigned.rsplit_once('.').unwrap().0;
                let tag = Hmac::<Sha256>::new_from_slice(secret).unwrap().chain_update(body).finalize();
                let forged = format!("{body}.{}", BASE64URL_NOPAD.encode(&tag.into_bytes()));
                assert!(!good(&tokens, &forged), "{algorithm:?}");
            }
        }
    }
}

#[test]
fn s14_other_headers_foreign_keys_and_other_algorithms_fail() {
    for algorithm in ASYMMETRIC {
        let tokens = tokens_of(algorithm, &generate(algorithm).unwrap());
        let token = access(&tokens);
        let header = part(&token, 0);
        let changed = |name: &str, value: Value| {
            let mut header = header.clone();
            header[name] = value;
            with_header(&token, &header)
        };
        let mut nameless = header.clone();
        nameless.as_object_mut().unwrap().remove("kid");
        for forged in [
            with_header(&token, &nameless),
            changed("kid", json!("another")),
            changed("kid", json!("../../dev/null")),
            changed("alg", json!("none")),
            changed("alg", json!("HS256")),
            changed("alg", json!("RS512")),
            changed("jwk", json!({"kty": "oct", "k": "AAAA"})),
            changed("jku", json!("https://thief.example/keys")),
        ] {
            assert!(!good(&tokens, &forged), "{algorithm:?}: {:?}", part(&forged, 0));
        }
        // A stranger's key under our name.
        let stranger = access(&tokens_of(algorithm, &generate(algorithm).unwrap()));
        assert!(!good(&tokens, &stranger));
        assert!(!good(&tokens, &with_header(&stranger, &header)));
        // One of another kind, and a secret.
        let other = if algorithm == Algorithm::EdDsa { Algorithm::Es256 } else { Algorithm::EdDsa };
        assert!(!good(&tokens, &access(&tokens_of(other, &generate(other).unwrap()))));
        let secret = Tokens::new(&Secret::new("s".repeat(32)), &[], Duration::from_mins(15));
        assert!(!good(&tokens, &access(&secret)));
        assert!(!good(&secret, &token));
    }
}

#[test]
fn keys_of_the_wrong_kind_and_broken_files_are_refused_with_the_mend() {
    for algorithm in ASYMMETRIC {
        let text = generate(algorithm).unwrap();
        let refused = |text: &str| KeySet::parse(algorithm, text).unwrap_err();
        for bad in ["", "rubbish", "-----BEGIN PRIVATE KEY-----\nAAAA", &text[..text.len() / 2]] {
            assert_eq!(refused(bad), KeyError::NotPem(algorithm.as_str()), "{bad:?}");
        }
        let broken = encode(&Pem::new(PRIVATE, vec![0x30, 0x00]));
        assert_eq!(refused(&broken), KeyError::WrongKind { block: 1, algorithm: algorithm.as_str() });
        for other in ASYMMETRIC.into_iter().filter(|other| *other != algorithm) {
            let key = generate(other).unwrap();
            assert_eq!(refused(&key), KeyError::WrongKind { block: 1, algorithm: algorithm.as_str() });
            let mixed = format!("{text}{key}");
            assert_eq!(refused(&mixed), KeyError::WrongKind { block: 2, algorithm: algorithm.as_str() });
            assert!(rotate(algorithm, &mixed).is_err());
        }
        let public = rotate(algorithm, &text).unwrap();
        let public = &public[public.find("-----BEGIN PUBLIC").unwrap()..];
        assert_eq!(refused(public), KeyError::NoPrivateKey);
    }
    assert_eq!(generate(Algorithm::Hs256), Err(KeyError::NoKeyFile));
}

/// Made with `openssl ecparam -genkey -name secp384r1 | openssl pkcs8 -topk8 -nocrypt`.
const P384: &str = "-----BEGIN PRIVATE KEY-----\n\
MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDAOaCQ2VUYJ7doORujM\n\
f/rh8zbbUv72fWAQxcggs+2tPK0CaQGJSTQoDkEyFYuUGGuhZANiAATJMi4FEaGg\n\
StMV4bnxU29Ide4juLIRc90ldANsU9pslHn8etDnq3PjM1IpxByVITsmqAhNwd/R\n\
yEmFhjnNi4ZfPrTLcgd55h9xf25TpG66+FZPPOXxcNJWLsROGn9b4qM=\n\
-----END PRIVATE KEY-----";

#[test]
fn another_curve_is_another_kind() {
    let refused = KeySet::parse(Algorithm::Es256, P384).unwrap_err();
    assert_eq!(refused, KeyError::WrongKind { block: 1, algorithm: "ES256" });
}

/// Made with `openssl genpkey -algorithm ed25519`.
const FROM_OPENSSL: &str = "-----BEGIN PRIVATE KEY-----\n\
MC4CAQAwBQYDK2VwBCIEIEOaZJht9SDL1dn92XTwFAPpnB7YE2GTf0RtIT4q7lGh\n\
-----END PRIVATE KEY-----";

#[test]
fn a_key_made_elsewhere_is_good() {
    let tokens = tokens_of(Algorithm::EdDsa, &format!("{FROM_OPENSSL}\n"));
    assert!(good(&tokens, &access(&tokens)));
}

#[test]
fn issuer_and_audience_are_written_and_others_refused() {
    let text = generate(Algorithm::EdDsa).unwrap();
    let named = |issuer: &str, audience: &str| {
        let names = Names { issuer: Some(issuer.to_owned()), audience: Some(audience.to_owned()) };
        tokens_of(Algorithm::EdDsa, &text).naming(names)
    };
    let (ours, plain) = (named("us", "shop"), tokens_of(Algorithm::EdDsa, &text));
    let claims = part(&access(&ours), 1);
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!("us"), &json!("shop")));
    assert!(part(&access(&plain), 1).get("iss").is_none());
    assert!(good(&ours, &access(&ours)));
    assert!(good(&ours, &access(&plain)), "setting the names logs nobody out");
    for claim in NameClaim::ALL {
        ours.require(claim, true);
        assert!(!good(&ours, &access(&plain)), "{claim:?} is required by now");
        assert!(good(&ours, &access(&ours)));
        ours.require(claim, false);
    }
    for other in [named("them", "shop"), named("us", "bank"), plain] {
        assert!(!good(&other, &access(&ours)));
    }
}

#[test]
fn s34_debug_shows_no_key() {
    let keys = KeySet::parse(Algorithm::EdDsa, &generate(Algorithm::EdDsa).unwrap()).unwrap();
    assert_eq!(format!("{keys:?}"), "KeySet(EdDSA, 1 keys)");
}

/// Made with `openssl genrsa 1024 | openssl rsa -pubout`, with 2048, and with `openssl ecparam -genkey -name secp384r1 | openssl ec -pubout`.
const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----\n\
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCx6YDrle2wfaBxIhCLKSXzKMia\n\
zDiveYhFICyJJUSCjZbMfv/MoYRJLEcPR+VlyfnMgY/sZ/kCICa/v9zwwNJeDUuU\n\
9edifeu9S16CpMU9LaTHF9IFzWzRcE3BgwMNgtXars5GNrCTabG7/MAENWrNtQKb\n\
c6Jg8ipiyQjAQHMv1QIDAQAB\n\
-----END PUBLIC KEY-----";
const RSA_2048: &str = "-----BEGIN PUBLIC KEY-----\n\
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAs+zCqfZCLvmICwOluTow\n\
e7Trqx6+t99MR/KoHcxC/bvmTjla59YcOekYxay1KJHn3rP1nWOhx0t+fewQaMSm\n\
YEvqCTUn3X1qt+Yn+nnZyDUrrGLvUNPypGy5gtEWLMParXhsr/IcNo7n8skimb3S\n\
tSusT5TPNp9n9OPKE2Ij7r487uBT5OrkQxrFJrfJEE/Dr1OoZPZpS3uLCI0NZvGN\n\
c88ct4Fgn54HPMXpemjybJ+9+WOhIDe6anK91LIEtJ1mG9BXVIqLqh04P7Dupoxn\n\
X42SbrEMwmdyJOFlnqC/BCiRItxJtpjtGW2UkMH3YsBDA3cwWrf0O8nroYS87+Zf\n\
IQIDAQAB\n\
-----END PUBLIC KEY-----";
const P384_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----\n\
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE3RVjiOqiupbFzoHecaYJhLWEIwYCFVRp\n\
k7O3VXt+pYxpguh4DxMTT0vdKnWjYUewb4jIr3HUnNnuYGKw8wf82WIptQg7NlZs\n\
aS9gOYMLrfWmw2DlQJ3DxODwBmPRAJHX\n\
-----END PUBLIC KEY-----";

#[test]
fn a_public_key_must_be_of_the_kind_too_and_rsa_has_2048_bits() {
    let wrong = |algorithm: Algorithm| KeyError::WrongKind { block: 2, algorithm: algorithm.as_str() };
    for (algorithm, public, is_good) in [
        (Algorithm::Es256, P384_PUBLIC, false),
        (Algorithm::Rs256, RSA_1024, false),
        (Algorithm::Rs256, RSA_2048, true),
        (Algorithm::EdDsa, RSA_2048, false),
        (Algorithm::Es256, RSA_2048, false),
        (Algorithm::Rs256, P384_PUBLIC, false),
    ] {
        let both = format!("{}{public}", generate(algorithm).unwrap());
        let expected = if is_good { Ok(2) } else { Err(wrong(algorithm)) };
        assert_eq!(KeySet::parse(algorithm, &both).map(|keys| keys.public.len()), expected);
        assert_eq!(
            rotate(algorithm, &both).map(|keys| keys.matches("BEGIN").count()),
            expected.map(|all| all + 1)
        );
    }
}

#[test]
fn every_fault_of_a_key_file_says_what_helps() {
    let algorithm = Algorithm::EdDsa.as_str();
    for (fault, help) in [
        (KeyError::NotPem(algorithm), "freshk key generate --algorithm EdDSA"),
        (KeyError::NoPrivateKey, "openssl pkcs8 -topk8"),
        (KeyError::WrongKind { block: 2, algorithm }, "freshk key generate --algorithm EdDSA"),
        (KeyError::NoKeyFile, "EdDSA, ES256 or RS256"),
        (KeyError::Generator, "try again"),
    ] {
        assert!(fault.help().contains(help), "{fault}: {}", fault.help());
    }
}
