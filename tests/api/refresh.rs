//! S16, S17: rotation that forgives a lost answer, and catches a stolen token.

use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use freshk::random::{Random, SeededRandom};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, App, PHONE, STATUS, until};

const REFRESH: &str = "/api/mobile/auth/token/refresh/";
const CHECK: &str = "/api/mobile/auth/token/verify/";
const LOGOUT: &str = "/api/mobile/auth/logout/";
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);

async fn app() -> App {
    App::with(&[("FRESHK_LIMITS__FLOOD_PER_SECOND", "0")]).await
}

pub(crate) async fn refresh(app: &App, token: &str) -> Answer {
    app.post(REFRESH, &json!({ "refresh": token })).await
}

/// Refreshes, which must succeed: the pair.
async fn pair(app: &App, token: &str) -> Value {
    let answer = refresh(app, token).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("cache-control"), "no-store");
    answer.json()
}

pub(crate) fn token<'a>(pair: &'a Value, name: &str) -> &'a str {
    pair[name].as_str().unwrap()
}

pub(crate) fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
}

fn named(token: &str) -> (Value, Value, Value) {
    let claims = claims(token);
    (claims["jti"].clone(), claims["exp"].clone(), claims["gen"].clone())
}

/// Uses an access token at a Bearer endpoint, and waits until that is noted.
async fn use_access(app: &App, pair: &Value) {
    assert_eq!(app.status(token(pair, "access")).await.status, 200);
    until(|| async { app.count("SELECT generation_used FROM sessions") == 1 }).await;
}

fn audited(app: &App, detail: &str) -> i64 {
    app.count(&format!(
        "SELECT count(*) FROM audit WHERE event = 'authn_token_reuse' AND detail = '{detail}'"
    ))
}

async fn assert_ended(app: &App, refused: &Answer, access: &str) {
    assert_eq!(refused.verdict(), (401, "token_reused".to_owned()), "{}", refused.text);
    assert!(refused.header("www-authenticate").starts_with("Bearer"));
    assert_eq!(app.status(access).await.verdict(), (401, "token_invalid".to_owned()), "at once");
    assert_eq!(app.count("SELECT count(*) FROM sessions WHERE end_reason = 'reuse'"), 1);
    let told =
        "SELECT count(*) FROM audit WHERE event = 'authn_token_reuse' AND detail LIKE 'outside the rules%'";
    assert_eq!(app.count(told), 1);
}

#[tokio::test]
async fn s16_the_current_token_rotates() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    app.clock.advance(SECOND);
    let next = pair(&app, token(&login, "refresh")).await;
    assert_eq!(next.as_object().unwrap().len(), 2);
    let (old, new) = (claims(token(&login, "refresh")), claims(token(&next, "refresh")));
    assert_eq!((&old["gen"], &new["gen"]), (&json!(0), &json!(1)));
    assert_eq!(old["sid"], new["sid"]);
    assert_ne!(old["jti"], new["jti"]);
    assert_eq!(new["exp"].as_i64().unwrap() - new["iat"].as_i64().unwrap(), 30 * 86_400);
    assert_eq!(claims(token(&next, "access"))["gen"], 1);
    assert_eq!(app.status(token(&next, "access")).await.status, 200);
}

#[tokio::test]
async fn s16_the_same_again_as_often_as_asked_and_the_grace_ends_after_sixty_seconds() {
    for (wait, status) in [(59, 200), (60, 401), (61, 401)] {
        let app = app().await;
        let login = app.log_in(PHONE).await;
        let next = pair(&app, token(&login, "refresh")).await;
        use_access(&app, &next).await;
        app.clock.advance(SECOND * wait);
        let again = refresh(&app, token(&login, "refresh")).await;
        assert_eq!(again.status, status, "{wait}");
        if status == 401 {
            assert_ended(&app, &again, token(&next, "access")).await;
            continue;
        }
        for _ in 0..3 {
            let again = pair(&app, token(&login, "refresh")).await;
            assert_eq!(named(token(&again, "refresh")), named(token(&next, "refresh")));
        }
        assert_eq!(app.count("SELECT count(*) FROM audit WHERE event = 'authn_token_reuse'"), 0);
    }
}

#[tokio::test]
async fn s16_until_the_current_one_was_used_the_one_before_is_good_and_audited() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    let next = pair(&app, token(&login, "refresh")).await;
    app.clock.advance(HOUR);
    for round in 1..=3 {
        let again = pair(&app, token(&login, "refresh")).await;
        assert_eq!(named(token(&again, "refresh")), named(token(&next, "refresh")));
        assert_eq!(audited(&app, "repeated after the grace"), 1, "the first of an hour");
        assert_eq!(app.count("SELECT replays_untold FROM sessions"), round - 1, "the rest are counted");
    }
    app.clock.advance(HOUR);
    pair(&app, token(&login, "refresh")).await;
    assert_eq!(audited(&app, "repeated after the grace; 2 repetitions before it"), 1);
    // Used at last: the one before is outside the rules from now on.
    let again = pair(&app, token(&login, "refresh")).await;
    use_access(&app, &again).await;
    let refused = refresh(&app, token(&login, "refresh")).await;
    assert_ended(&app, &refused, token(&again, "access")).await;
}

#[tokio::test]
async fn s16_a_refresh_counts_as_use_and_token_verify_does_not() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    let next = pair(&app, token(&login, "refresh")).await;
    app.clock.advance(SECOND * 61);
    for name in ["access", "refresh"] {
        let checked = app.post(CHECK, &json!({ "token": token(&next, name) })).await;
        assert_eq!((checked.status, checked.json()), (200, json!({})), "{name}");
    }
    pair(&app, token(&login, "refresh")).await;
    let third = pair(&app, token(&next, "refresh")).await;
    app.clock.advance(SECOND * 61);
    let refused = refresh(&app, token(&login, "refresh")).await;
    assert_ended(&app, &refused, token(&third, "access")).await;
    let current = refresh(&app, token(&third, "refresh")).await;
    assert_eq!(current.verdict(), (401, "token_invalid".to_owned()), "the session is over for everybody");
}

#[tokio::test]
async fn s16_parallel_refreshes_of_one_token_all_get_usable_answers() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    let pairs = join_all((0..50).map(|_| pair(&app, token(&login, "refresh")))).await;
    let first = named(token(&pairs[0], "refresh"));
    for pair in &pairs {
        assert_eq!(named(token(pair, "refresh")), first);
        assert_eq!(app.status(token(pair, "access")).await.status, 200);
    }
    assert_eq!(app.count("SELECT generation FROM sessions"), 1);
    app.clock.advance(HOUR);
    pair(&app, token(&pairs[49], "refresh")).await;
}

#[tokio::test]
async fn s16_after_a_rollover_the_same_token_is_signed_with_the_new_key() {
    const OLD: &str = "the old secret of more than thirty-two bytes";
    let mut app = App::with(&[("SECRET_KEY", OLD)]).await;
    let login = app.log_in(PHONE).await;
    let before = pair(&app, token(&login, "refresh")).await;
    app.set("SECRET_KEY", "the new secret of more than thirty-two bytes");
    app.set("SECRET_KEY_FALLBACKS", OLD);
    app.restart().await;
    assert_eq!(app.status(token(&login, "access")).await.status, 200, "nobody is logged out");
    let after = pair(&app, token(&login, "refresh")).await;
    assert_eq!(named(token(&after, "refresh")), named(token(&before, "refresh")));
    assert_ne!(token(&after, "refresh"), token(&before, "refresh"));
    app.set("SECRET_KEY_FALLBACKS", "");
    app.restart().await;
    let old = refresh(&app, token(&before, "refresh")).await;
    assert_eq!(old.verdict(), (401, "token_invalid".to_owned()), "the old key is gone");
    pair(&app, token(&after, "refresh")).await;
}

#[tokio::test]
async fn s16_of_a_thousand_dropped_answers_none_logs_out() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    let mut held = token(&login, "refresh").to_owned();
    let random = SeededRandom::new(7);
    for dropped in 0..1000 {
        pair(&app, &held).await;
        app.clock.advance(SECOND * [0, 1, 59, 61, 3600][random.below(5) as usize]);
        if dropped % 10 == 9 {
            // At last one arrives, is stored, and then used.
            let arrived = pair(&app, &held).await;
            token(&arrived, "refresh").clone_into(&mut held);
            assert_eq!(app.status(token(&arrived, "access")).await.status, 200);
        }
    }
    assert_eq!(app.count("SELECT count(*) FROM sessions WHERE ended_at IS NULL"), 1);
    assert_eq!(app.count("SELECT generation FROM sessions"), 100);
}

/// An honest client, and one thing more: whatever a thief presents outside the rules ends the session at once.
#[tokio::test]
async fn s16_random_interleavings_keep_an_honest_client_and_end_with_a_thief() {
    for seed in 0..12 {
        let (app, random) = (app().await, SeededRandom::new(seed));
        let login = app.log_in(PHONE).await;
        let mut tokens = vec![token(&login, "refresh").to_owned()];
        let (mut access, mut held) = (token(&login, "access").to_owned(), 0);
        for _ in 0..40 {
            match random.below(4) {
                0 | 1 => {
                    let burst = 1 + random.below(3) as usize;
                    for pair in join_all((0..burst).map(|_| pair(&app, &tokens[held]))).await {
                        let generation =
                            usize::try_from(claims(token(&pair, "refresh"))["gen"].as_u64().unwrap());
                        let generation = generation.unwrap();
                        if generation == tokens.len() {
                            tokens.push(token(&pair, "refresh").to_owned());
                        }
                        if random.below(2) == 0 {
                            held = held.max(generation);
                            token(&pair, "access").clone_into(&mut access);
                        }
                    }
                }
                2 => {
                    let status = app.status(&access).await;
                    assert!(status.status == 200 || status.code() == "token_expired", "{}", status.text);
                }
                _ => app.clock.advance(SECOND * [1, 30, 61, 7200][random.below(4) as usize]),
            }
        }
        pair(&app, &tokens[held]).await;
        let arrived = pair(&app, &tokens[held]).await;
        pair(&app, token(&arrived, "refresh")).await;
        app.clock.advance(SECOND * 61);
        let refused = refresh(&app, &tokens[0]).await;
        assert_eq!(refused.verdict(), (401, "token_reused".to_owned()), "seed {seed}");
        let current = refresh(&app, token(&arrived, "refresh")).await;
        assert_eq!(current.verdict(), (401, "token_invalid".to_owned()), "seed {seed}");
    }
}

#[tokio::test]
async fn s16_a_replay_from_another_network_is_audited_even_within_the_grace() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    let body = json!({ "refresh": token(&login, "refresh") });
    for (ip, audits) in [("198.51.100.1", 0), ("198.51.100.1", 0), ("203.0.113.9", 1), ("198.51.100.1", 1)] {
        assert_eq!(app.post_from(ip, REFRESH, &body).await.status, 200);
        assert_eq!(audited(&app, "repeated from another network"), audits, "{ip}");
    }
}

async fn refresh_from(app: &App, ip: &str, token: &str) -> Answer {
    app.post_from(ip, REFRESH, &json!({ "refresh": token })).await
}

async fn reuses(app: &App, kind: &str) -> String {
    let page = app.operations("/metrics").await.1;
    let name = format!("freshk_token_reuse_total{{kind=\"{kind}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&name)).unwrap().to_owned()
}

/// The owner uses access tokens at Django alone, so that no generation is seen in use here.
#[tokio::test]
async fn s42_a_thief_one_generation_behind_in_another_network_is_found_in_the_second_round() {
    for (owners, thiefs) in [("198.51.100.7", "203.0.113.9"), ("2001:db8:1::7", "2001:db8:2::9")] {
        let app = app().await;
        let login = app.log_in(PHONE).await;
        let mut owner = token(&login, "refresh").to_owned();
        let mut thief = owner.clone();
        let mut rounds = 0;
        let (refused, access) = loop {
            rounds += 1;
            app.clock.advance(SECOND * 840);
            let rotated = refresh_from(&app, owners, &owner).await.json();
            token(&rotated, "refresh").clone_into(&mut owner);
            app.clock.advance(SECOND * 61);
            let stolen = refresh_from(&app, thiefs, &thief).await;
            if stolen.status != 200 {
                break (stolen, token(&rotated, "access").to_owned());
            }
            assert!(rounds < 8, "it lived through eight rounds");
            token(&stolen.json(), "refresh").clone_into(&mut thief);
        };
        assert_eq!(rounds, 2, "{owners}");
        assert_eq!(refused.verdict(), (401, "token_reused".to_owned()), "{}", refused.text);
        assert_eq!(app.status(&access).await.code(), "token_invalid", "at once");
        let told = app.words("SELECT detail FROM audit WHERE event = 'authn_token_reuse' ORDER BY id");
        let twice = "repeated from another network, two generations in a row";
        assert_eq!(told, ["repeated from another network", twice]);
        assert_eq!(
            (reuses(&app, "late_elsewhere").await, reuses(&app, "ended").await),
            ("1".into(), "1".into())
        );
    }
}

/// In the same /24 or /48 it may be the same phone, whose carrier gave it another address.
#[tokio::test]
async fn s42_another_address_of_one_network_is_no_other_network() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    let (mut held, mut before) = (token(&login, "refresh").to_owned(), String::new());
    for round in 1..=4 {
        app.clock.advance(SECOND * 61);
        if !before.is_empty() {
            assert_eq!(refresh_from(&app, "198.51.100.200", &before).await.status, 200, "{round}");
        }
        before.clone_from(&held);
        let next = refresh_from(&app, "198.51.100.7", &held).await.json();
        token(&next, "refresh").clone_into(&mut held);
    }
    assert_eq!((reuses(&app, "late").await, reuses(&app, "late_elsewhere").await), ("3".into(), "0".into()));
}

#[tokio::test]
async fn s16_each_reuse_is_counted_by_its_kind() {
    let app = app().await;
    for kind in ["late", "late_elsewhere", "prompt_elsewhere", "ended"] {
        assert_eq!(reuses(&app, kind).await, "0", "{kind} has a zero before its first");
    }
    let login = app.log_in(PHONE).await;
    let next = pair(&app, token(&login, "refresh")).await;
    pair(&app, token(&login, "refresh")).await;
    assert_eq!(refresh_from(&app, "203.0.113.9", token(&login, "refresh")).await.status, 200);
    app.clock.advance(SECOND * 61);
    pair(&app, token(&login, "refresh")).await;
    assert_eq!(refresh_from(&app, "203.0.113.9", token(&login, "refresh")).await.status, 200);
    use_access(&app, &next).await;
    assert_eq!(refresh(&app, token(&login, "refresh")).await.code(), "token_reused");
    for kind in ["late", "late_elsewhere", "prompt_elsewhere", "ended"] {
        assert_eq!(reuses(&app, kind).await, "1", "{kind}");
    }
}

#[tokio::test]
async fn s35_a_thousand_replays_of_an_old_token_leave_one_line() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    let next = pair(&app, token(&login, "refresh")).await;
    app.clock.advance(HOUR);
    let before = app.count("SELECT count(*) FROM audit");
    for _ in 0..100 {
        join_all((0..10).map(|_| pair(&app, token(&login, "refresh")))).await;
    }
    assert_eq!(app.count("SELECT count(*) FROM audit"), before + 1);
    let out = app.post(LOGOUT, &json!({ "refresh": token(&next, "refresh") })).await;
    assert_eq!(out.status, 200);
    let told = "SELECT detail FROM audit WHERE event = 'authn_token_revoked'";
    assert_eq!(app.words(told), ["logout; 999 repetitions before it"]);
}

/// An app refreshes a hundred times a day; the row of the session says when it was last used.
#[tokio::test]
async fn s35_a_session_that_is_refreshed_leaves_a_line_a_day() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    let mut held = token(&login, "refresh").to_owned();
    let issued = "SELECT count(*) FROM audit WHERE event = 'authn_token_created'";
    assert_eq!(app.count(issued), 1, "the login");
    for refreshes in 1..=3 * 96 {
        app.clock.advance(SECOND * 900);
        token(&pair(&app, &held).await, "refresh").clone_into(&mut held);
        let midnights = i64::from(refreshes / 96);
        assert_eq!(app.count(issued), 1 + midnights, "after {refreshes} refreshes");
    }
}

#[tokio::test]
async fn exp_is_the_earlier_of_token_and_session() {
    let app = App::with(&[("FRESHK_TOKENS__SESSION_TTL", "40d")]).await;
    let login = app.log_in(PHONE).await;
    let begun = claims(token(&login, "refresh"))["iat"].as_i64().unwrap();
    let exp = |pair: &Value| claims(token(pair, "refresh"))["exp"].as_i64().unwrap() - begun;
    assert_eq!(exp(&login), 30 * 86_400);
    app.clock.advance(HOUR * 24 * 20);
    let next = pair(&app, token(&login, "refresh")).await;
    assert_eq!(exp(&next), 40 * 86_400);
    app.clock.advance(SECOND * (20 * 86_400 - 1));
    let last = pair(&app, token(&next, "refresh")).await;
    assert_eq!(exp(&last), 40 * 86_400);
    assert_eq!(claims(token(&last, "access"))["exp"], claims(token(&last, "refresh"))["exp"]);
    app.clock.advance(SECOND);
    let over = refresh(&app, token(&last, "refresh")).await;
    assert_eq!(over.verdict(), (401, "token_expired".to_owned()));
    assert_eq!(app.status(token(&last, "access")).await.code(), "token_expired");
}

#[tokio::test]
async fn s14_what_is_no_refresh_token_is_told_from_none_and_changes_nothing() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    let good = token(&login, "refresh");
    let forged =
        format!("{}.{}.AAAA", "eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIn0", good.split('.').nth(1).unwrap());
    let bad = [
        String::new(),
        "rubbish".to_owned(),
        "a.b.c".to_owned(),
        good[..good.len() - 1].to_owned(),
        good[..=good.rfind('.').unwrap()].to_owned(),
        good.replace('.', ""),
        format!(" {good}"),
        forged,
        "x".repeat(10_000),
        token(&login, "access").to_owned(),
    ];
    for token in &bad {
        for (path, name) in [(REFRESH, "refresh"), (LOGOUT, "refresh")] {
            let refused = app.post(path, &json!({ name: token })).await;
            assert_eq!(refused.verdict(), (401, "token_invalid".to_owned()), "{path} {token:.40}");
            assert!(refused.header("www-authenticate").contains("error=\"invalid_token\""));
        }
    }
    for token in &bad[..9] {
        let checked = app.post(CHECK, &json!({ "token": token })).await;
        assert_eq!(checked.verdict(), (401, "token_invalid".to_owned()), "{token:.40}");
    }
    for (path, name) in [(REFRESH, "refresh"), (LOGOUT, "refresh"), (CHECK, "token")] {
        let huge = app.post(path, &json!({ name: "x".repeat(100_000) })).await;
        assert_eq!(huge.verdict(), (413, "payload_too_large".to_owned()));
        for body in [json!({}), json!({ name: 7 }), json!({ name: null }), json!([])] {
            assert_eq!(app.post(path, &body).await.verdict(), (400, "bad_request".to_owned()), "{body}");
        }
    }
    assert_eq!(app.status(good).await.verdict(), (401, "token_invalid".to_owned()), "no access token");
    let huge = Answer::of(app.build(Method::GET, STATUS).bearer_auth("x".repeat(100_000))).await;
    assert!(huge.status == 401 || huge.status == 431, "{}", huge.status);
    assert_eq!(app.count("SELECT generation FROM sessions"), 0);
    pair(&app, good).await;
}

#[tokio::test]
async fn s17_after_deactivation_refresh_is_403_and_a_replay_still_ends_the_session() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    let next = pair(&app, token(&login, "refresh")).await;
    use_access(&app, &next).await;
    app.execute("UPDATE users SET is_active = 0");
    let disabled = refresh(&app, token(&next, "refresh")).await;
    assert_eq!(disabled.verdict(), (403, "account_disabled".to_owned()));
    assert_eq!(app.count("SELECT generation FROM sessions"), 1);
    for name in ["access", "refresh"] {
        let checked = app.post(CHECK, &json!({ "token": token(&next, name) })).await;
        assert_eq!(
            checked.verdict(),
            (401, "token_invalid".to_owned()),
            "nobody is let in with its {name} token"
        );
    }
    app.clock.advance(SECOND * 61);
    assert_eq!(refresh(&app, token(&login, "refresh")).await.code(), "token_reused");
}

#[tokio::test]
async fn after_the_secret_changed_every_token_is_invalid() {
    let mut app = app().await;
    let login = app.log_in(PHONE).await;
    app.set("SECRET_KEY", "a secret that nobody knew of before, forty bytes");
    app.restart().await;
    assert_eq!(refresh(&app, token(&login, "refresh")).await.code(), "token_invalid");
    assert_eq!(app.status(token(&login, "access")).await.code(), "token_invalid");
    assert_eq!(app.count("SELECT count(*) FROM sessions WHERE ended_at IS NULL"), 1, "the row stands");
}

#[tokio::test]
async fn s16_a_dump_of_the_database_holds_no_token() {
    let app = app().await;
    let login = app.log_in(PHONE).await;
    let next = pair(&app, token(&login, "refresh")).await;
    let dump = app.stored();
    for pair in [&login, &next] {
        for name in ["access", "refresh"] {
            let signature = token(pair, name).rsplit('.').next().unwrap();
            assert!(!dump.windows(signature.len()).any(|part| part == signature.as_bytes()));
        }
    }
}

#[tokio::test]
async fn asymmetric_tokens_go_round_and_the_key_set_is_public() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.pem");
    let file = path.display().to_string();
    let first = freshk::tokens::keys::generate(freshk::domain::Algorithm::EdDsa).unwrap();
    std::fs::write(&path, &first).unwrap();
    let mut app =
        App::with(&[("FRESHK_TOKENS__ALGORITHM", "EdDSA"), ("FRESHK_TOKENS__KEY_FILE", &file)]).await;
    let login = app.log_in(PHONE).await;
    let rotated = freshk::tokens::keys::rotate(freshk::domain::Algorithm::EdDsa, &first).unwrap();
    std::fs::write(&path, rotated).unwrap();
    app.restart().await;
    assert_eq!(app.status(token(&login, "access")).await.status, 200, "a rotation logs nobody out");
    pair(&app, token(&login, "refresh")).await;
    let keys = Answer::of(app.build(Method::GET, "/.well-known/jwks.json")).await;
    assert_eq!(keys.header("cache-control"), "public, max-age=300");
    assert_eq!(keys.json()["keys"].as_array().unwrap().len(), 2);
    let symmetric = App::start().await;
    let none = Answer::of(symmetric.build(Method::GET, "/.well-known/jwks.json")).await;
    assert_eq!(none.verdict(), (404, "not_found".to_owned()));
}
