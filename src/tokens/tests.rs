//! S14, S15: what is signed, and what is refused.

use super::sample::{now, session, user};
use super::*;
use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Sha256, Sha384};

mod foreign;

const SECRET: &str = "a secret of at least thirty-two bytes";

fn tokens() -> Tokens {
    Tokens::new(&Secret::new(SECRET), &[], Duration::from_mins(15))
}

fn pair() -> TokenPair {
    sample::pair(&tokens()).unwrap()
}

fn claims() -> Value {
    json!({
        "token_type": "access", "exp": now().as_secs() + 60, "iat": now().as_secs(), "jti": "a".repeat(32),
        "user_id": "7", "sid": session().id.as_str(), "gen": 0, "role": "retailer",
    })
}

fn signed_raw(header: &str, claims: &str, secret: &str) -> String {
    let body = format!(
        "{}.{}",
        BASE64URL_NOPAD.encode(header.as_bytes()),
        BASE64URL_NOPAD.encode(claims.as_bytes())
    );
    let tag = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .unwrap()
        .chain_update(&body)
        .finalize()
        .into_bytes();
    format!("{body}.{}", BASE64URL_NOPAD.encode(&tag))
}

fn signed(claims: &Value) -> String {
    signed_raw(r#"{"typ":"JWT","alg":"HS256"}"#, &claims.to_string(), SECRET)
}

fn verify(token: &str) -> Result<Claims, TokenError> {
    tokens().verify(token, TokenKind::Access, now()).map(|verified| match verified {
        Verified::Own(claims) => claims,
        Verified::Foreign(claims) => panic!("not one of ours: {claims:?}"),
    })
}

#[test]
fn the_header_is_simplejwts_to_the_byte() {
    assert!(pair().access.starts_with("eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9."));
    let payload = BASE64URL_NOPAD.decode(pair().access.split('.').nth(1).unwrap().as_bytes()).unwrap();
    let payload: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(payload["user_id"], "7");
    assert_eq!(payload["token_type"], "access");
    assert_eq!(payload["exp"], now().as_secs() + 900);
}

/// simplejwt refuses a token whose `iat` its own clock has not reached. The session was refreshed before the clock was set
/// back.
#[test]
fn s39_iat_is_rounded_down_and_not_ahead_of_the_clock_though_the_session_is() {
    let late = Timestamp::from_millis(now().as_millis() + 999);
    let session = Session { issued_at: late + Duration::from_hours(1), ..session() };
    let pair = tokens().pair(&session, &user(), "a".repeat(32), late).unwrap();
    let payload = BASE64URL_NOPAD.decode(pair.access.split('.').nth(1).unwrap().as_bytes()).unwrap();
    let payload: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(payload["iat"], now().as_secs());
}

#[test]
fn what_we_sign_we_accept_and_kinds_never_interchange() {
    let pair = pair();
    assert_eq!(verify(&pair.access).unwrap().user, UserId(7));
    assert!(tokens().verify(&pair.refresh, TokenKind::Refresh, now()).is_ok());
    assert_eq!(verify(&pair.refresh), Err(TokenError::Invalid));
    assert_eq!(tokens().verify(&pair.access, TokenKind::Refresh, now()), Err(TokenError::Invalid));
}

/// A Django project that has the secret and routes simplejwt's refresh view cannot renew a session that ended here.
#[test]
fn a_refresh_token_has_a_key_that_is_derived_from_the_secret() {
    let refresh = pair().refresh;
    let (body, tag) = refresh.rsplit_once('.').unwrap();
    assert!(body.starts_with("eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9."));
    let signature = |key: &[u8]| {
        let mac = Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(body);
        BASE64URL_NOPAD.encode(&mac.finalize().into_bytes())
    };
    assert_ne!(signature(SECRET.as_bytes()), tag);
    let ring = KeyRing::new(&Secret::new(SECRET), &[]);
    assert_eq!(signature(ring.current().refresh_token_key()), tag);

    let under_access_key = |token: &str| match tokens().verify(token, TokenKind::Refresh, now()) {
        Ok(Verified::Own(claims)) => claims.under_access_key,
        other => panic!("{other:?}"),
    };
    assert!(!under_access_key(&refresh));
    let mut claims = claims();
    claims["token_type"] = json!("refresh");
    assert!(under_access_key(&signed(&claims)), "as they were issued before");
}

/// The derived key makes refresh tokens alone: an access token under it opens nothing.
#[test]
fn s14_an_access_token_under_the_key_of_refresh_tokens_is_refused() {
    let tokens = tokens();
    let access = tokens.refresh.sign(&claims()).unwrap();
    assert_eq!(verify(&access), Err(TokenError::Invalid));
    assert_eq!(tokens.verify(&access, TokenKind::Refresh, now()), Err(TokenError::Invalid));
}

#[test]
fn one_second_past_exp_is_expired() {
    let token = pair().access;
    let at = |seconds| tokens().verify(&token, TokenKind::Access, now() + Duration::from_secs(seconds));
    assert!(at(899).is_ok());
    assert_eq!(at(900), Err(TokenError::Expired));
    assert_eq!(at(901), Err(TokenError::Expired));
}

#[test]
fn s14_an_integer_user_id_is_good_and_nbf_is_honoured() {
    let mut claims = claims();
    assert!(verify(&signed(&claims)).is_ok());
    claims["user_id"] = json!(7);
    assert_eq!(verify(&signed(&claims)).unwrap().user, UserId(7));
    claims["nbf"] = json!(now().as_secs() + 1);
    assert_eq!(verify(&signed(&claims)), Err(TokenError::Invalid));
}

#[test]
fn s14_other_algorithms_and_header_members_fail() {
    let claims = claims().to_string();
    for header in [
        r#"{"typ":"JWT","alg":"none"}"#,
        r#"{"typ":"JWT","alg":"HS384"}"#,
        r#"{"typ":"JWT","alg":"RS256"}"#,
        r#"{"typ":"JWT","alg":"hs256"}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"typ":"JWE","alg":"HS256"}"#,
        r#"{"typ":"JWT","alg":"HS256","jku":"https://thief.example/keys"}"#,
        r#"{"typ":"JWT","alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}"#,
        r#"{"typ":"JWT","alg":"HS256","x5u":"https://thief.example/cert"}"#,
        r#"{"typ":"JWT","alg":"HS256","crit":["exp"]}"#,
        r#"{"typ":"JWT","alg":"HS256","alg":"HS256"}"#,
    ] {
        assert_eq!(verify(&signed_raw(header, &claims, SECRET)), Err(TokenError::Invalid), "{header}");
    }
    let unsigned = signed_raw(r#"{"typ":"JWT","alg":"none"}"#, &claims, SECRET);
    let unsigned = format!("{}.", unsigned.rsplit_once('.').unwrap().0);
    assert_eq!(verify(&unsigned), Err(TokenError::Invalid));
}

#[test]
fn s14_a_true_hs384_signature_fails() {
    let body = format!(
        "{}.{}",
        BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"HS384"}"#),
        BASE64URL_NOPAD.encode(claims().to_string().as_bytes())
    );
    let tag = Hmac::<Sha384>::new_from_slice(SECRET.as_bytes())
        .unwrap()
        .chain_update(&body)
        .finalize()
        .into_bytes();
    assert_eq!(verify(&format!("{body}.{}", BASE64URL_NOPAD.encode(&tag))), Err(TokenError::Invalid));
}

#[test]
fn s14_duplicate_claims_bad_base64_and_rubbish_fail() {
    let header = r#"{"typ":"JWT","alg":"HS256"}"#;
    let doubled = claims().to_string().replacen('{', r#"{"user_id":"8","#, 1);
    assert_eq!(verify(&signed_raw(header, &doubled, SECRET)), Err(TokenError::Invalid));
    let good = signed(&claims());
    for bad in [
        String::new(),
        "..".into(),
        "a.b.c".into(),
        format!("{good}="),
        format!(" {good}"),
        good[..good.len() - 1].to_owned(),
        good.replace('.', ""),
        format!("{good}.{good}"),
        "x".repeat(100_000),
    ] {
        assert_eq!(verify(&bad), Err(TokenError::Invalid));
    }
}

#[test]
fn s15_fallbacks_verify_and_strangers_do_not() {
    let token = signed(&claims());
    let new = Secret::new("another secret of thirty-two bytes and more");
    let rolled = Tokens::new(&new, &[Secret::new(SECRET)], Duration::from_mins(15));
    assert!(rolled.verify(&token, TokenKind::Access, now()).is_ok());
    let stranger = Tokens::new(&new, &[], Duration::from_mins(15));
    assert_eq!(stranger.verify(&token, TokenKind::Access, now()), Err(TokenError::Invalid));
    let anew = rolled.pair(&session(), &user(), "a".repeat(32), now()).unwrap();
    assert!(stranger.verify(&anew.access, TokenKind::Access, now()).is_ok());
    let before = pair().refresh;
    assert!(
        rolled.verify(&before, TokenKind::Refresh, now()).is_ok(),
        "its key is derived from the fallback"
    );
    assert_eq!(stranger.verify(&before, TokenKind::Refresh, now()), Err(TokenError::Invalid));
}

#[test]
fn s34_debug_shows_neither_key_nor_token() {
    assert_eq!(format!("{:?}", pair()), "TokenPair(…)");
    assert!(!format!("{:?}", tokens()).contains(SECRET));
}
