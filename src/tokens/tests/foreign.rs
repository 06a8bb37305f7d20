//! Tokens of the system before: what simplejwt signs, and nothing that only looks like it.

use super::*;
use crate::domain::Algorithm;
use crate::tokens::keys::generate;

const OLD: &str = "the secret before, of at least thirty-two bytes";

fn accepting() -> Tokens {
    tokens().accepting_foreign(&Secret::new(SECRET), &[Secret::new(OLD)])
}

/// As simplejwt 5.5 writes them, with a claim of the project's own.
fn foreign(kind: &str) -> Value {
    json!({
        "token_type": kind, "exp": now().as_secs() + 60, "iat": now().as_secs() - 60, "jti": "b".repeat(32),
        "user_id": "7", "role": ["a", "list"],
    })
}

fn read(token: &str) -> Result<Verified, TokenError> {
    accepting().verify(token, TokenKind::Access, now())
}

#[test]
fn a_foreign_token_is_good_only_where_it_is_wanted() {
    let token = signed(&foreign("access"));
    let claims = ForeignClaims {
        kind: TokenKind::Access,
        jti: "b".repeat(32),
        user: UserId(7),
        expires_at: Timestamp::from_millis((now().as_secs() + 60) * 1000),
    };
    assert_eq!(read(&token), Ok(Verified::Foreign(claims)));
    assert_eq!(tokens().verify(&token, TokenKind::Access, now()), Err(TokenError::Invalid));
    let integer = json!({ "user_id": 7, "role": null });
    let mut claims = foreign("access");
    claims.as_object_mut().unwrap().extend(integer.as_object().unwrap().clone());
    assert!(matches!(read(&signed(&claims)), Ok(Verified::Foreign(claims)) if claims.user == UserId(7)));
}

#[test]
fn s15_the_secret_and_its_fallbacks_check_it_and_strangers_do_not() {
    let header = r#"{"typ":"JWT","alg":"HS256"}"#;
    let claims = foreign("access").to_string();
    assert!(read(&signed_raw(header, &claims, OLD)).is_ok());
    let stranger = signed_raw(header, &claims, "a stranger's secret of thirty-two bytes");
    assert_eq!(read(&stranger), Err(TokenError::Invalid));
}

#[test]
fn ours_are_ours_still_and_with_a_session_none_is_foreign() {
    assert!(matches!(read(&pair().access), Ok(Verified::Own(_))));
    for sid in [json!("garbled"), json!(null), json!(7), json!("")] {
        let mut claims = claims();
        claims["sid"] = sid.clone();
        assert_eq!(read(&signed(&claims)), Err(TokenError::Invalid), "{sid}");
    }
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove("gen");
    assert_eq!(read(&signed(&claims)), Err(TokenError::Invalid), "a session without its generation");
}

#[test]
fn s14_it_must_have_the_whole_form() {
    for name in ["token_type", "exp", "iat", "jti", "user_id"] {
        let mut claims = foreign("access");
        claims.as_object_mut().unwrap().remove(name);
        assert_eq!(read(&signed(&claims)), Err(TokenError::Invalid), "without {name}");
    }
    let later = now().as_secs() + 1;
    for (name, value) in [
        ("token_type", json!("sliding")),
        ("token_type", json!("refresh")),
        ("jti", json!("b".repeat(31))),
        ("jti", json!("b".repeat(33))),
        ("jti", json!("B".repeat(32))),
        ("jti", json!("g".repeat(32))),
        ("user_id", json!("seven")),
        ("iat", json!("yesterday")),
        ("nbf", json!(later)),
        ("iss", json!("another")),
        ("aud", json!("another")),
    ] {
        let mut claims = foreign("access");
        claims[name] = value.clone();
        assert_eq!(read(&signed(&claims)), Err(TokenError::Invalid), "{name}: {value}");
    }
    let doubled = foreign("access").to_string().replacen('{', r#"{"user_id":"8","#, 1);
    assert_eq!(
        read(&signed_raw(r#"{"typ":"JWT","alg":"HS256"}"#, &doubled, SECRET)),
        Err(TokenError::Invalid)
    );
}

#[test]
fn s14_the_names_are_held_as_those_of_ours() {
    let names = Names { issuer: Some("https://api.example".into()), audience: Some("shop".into()) };
    let tokens = accepting().naming(names);
    let verify = |claims: &Value| tokens.verify(&signed(claims), TokenKind::Access, now());
    let mut claims = foreign("access");
    assert!(verify(&claims).is_ok(), "one without names is good");
    (claims["iss"], claims["aud"]) = (json!("https://api.example"), json!("shop"));
    assert!(verify(&claims).is_ok());
    claims["aud"] = json!("bank");
    assert_eq!(verify(&claims), Err(TokenError::Invalid));
}

#[test]
fn one_that_was_good_is_expired_and_one_that_never_was_is_not() {
    let at = |claims: &Value, seconds| {
        accepting().verify(&signed(claims), TokenKind::Access, now() + Duration::from_secs(seconds))
    };
    assert!(at(&foreign("access"), 59).is_ok());
    assert_eq!(at(&foreign("access"), 60), Err(TokenError::Expired));
    assert_eq!(at(&foreign("refresh"), 60), Err(TokenError::Invalid));
    let mut endless = foreign("access");
    endless["exp"] = json!(i64::MAX);
    assert!(at(&endless, 60).is_ok(), "an instant beyond our calendar overflows nothing");
}

#[test]
fn s14_other_algorithms_and_header_members_fail() {
    let claims = foreign("access").to_string();
    for header in [
        r#"{"typ":"JWT","alg":"none"}"#,
        r#"{"typ":"JWT","alg":"HS384"}"#,
        r#"{"typ":"JWT","alg":"EdDSA"}"#,
        r#"{"typ":"JWE","alg":"HS256"}"#,
        r#"{"typ":"JWT","alg":"HS256","jku":"https://thief.example/keys"}"#,
        r#"{"typ":"JWT","alg":"HS256","crit":["exp"]}"#,
    ] {
        assert_eq!(read(&signed_raw(header, &claims, SECRET)), Err(TokenError::Invalid), "{header}");
    }
    let unsigned = signed_raw(r#"{"typ":"JWT","alg":"none"}"#, &claims, SECRET);
    let unsigned = format!("{}.", unsigned.rsplit_once('.').unwrap().0);
    assert_eq!(read(&unsigned), Err(TokenError::Invalid));
    assert_eq!(read(&"x".repeat(100_000)), Err(TokenError::Invalid));
}

/// Beside a key of its own, the secret checks foreign tokens alone, and the public key none of them.
#[test]
fn s14_no_algorithm_is_taken_for_another() {
    let text = generate(Algorithm::EdDsa).unwrap();
    let keys = || KeySet::parse(Algorithm::EdDsa, &text).unwrap();
    let tokens = Tokens::with_keys(keys(), &KeyRing::new(&Secret::new(SECRET), &[]), Duration::from_mins(15))
        .accepting_foreign(&Secret::new(SECRET), &[Secret::new(OLD)]);
    let verify = |token: &str| tokens.verify(token, TokenKind::Access, now());
    assert!(matches!(verify(&signed(&foreign("access"))), Ok(Verified::Foreign(_))));
    assert_eq!(verify(&signed(&claims())), Err(TokenError::Invalid), "one of ours, under the secret");
    let own = tokens.pair(&session(), &user(), "a".repeat(32), now()).unwrap().access;
    assert!(matches!(verify(&own), Ok(Verified::Own(_))));

    let public = pem::parse_many(keys::rotate(Algorithm::EdDsa, &text).unwrap()).unwrap().pop().unwrap();
    let jwk: Value = serde_json::from_str(tokens.jwks().unwrap()).unwrap();
    let x = BASE64URL_NOPAD.decode(jwk["keys"][0]["x"].as_str().unwrap().as_bytes()).unwrap();
    let spki = pem::encode(&public);
    for confused in [x.as_slice(), spki.as_bytes(), public.contents()] {
        let body = format!(
            "{}.{}",
            BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"HS256"}"#),
            BASE64URL_NOPAD.encode(foreign("access").to_string().as_bytes())
        );
        let mac = Hmac::<Sha256>::new_from_slice(confused).unwrap().chain_update(&body);
        let token = format!("{body}.{}", BASE64URL_NOPAD.encode(&mac.finalize().into_bytes()));
        assert_eq!(verify(&token), Err(TokenError::Invalid));
    }
    // One of simplejwt's payloads, truly signed by the key: only the secret makes foreign tokens good.
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA);
    header.kid = jwk["keys"][0]["kid"].as_str().map(str::to_owned);
    let signed = jsonwebtoken::encode(&header, &foreign("access"), &keys().signing).unwrap();
    assert_eq!(verify(&signed), Err(TokenError::Invalid));
}
