//! The exchange of a foreign refresh token: once, forgiving a lost answer, and catching a stolen one.

use std::time::Duration;

use freshk::random::{Random as _, SeededRandom};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::foreign::{
    DAY, LOGOUT, ON, REFRESH, SECOND, SESSIONS, app, app_with, check, foreign, import, pair, refresh,
    sessions, token, use_access,
};
use crate::support::{Answer, PHONE};
use crate::tokens::claims;

#[tokio::test]
async fn a_refresh_token_is_exchanged_for_a_session_here() {
    let app = app().await;
    let theirs = foreign(&app, "refresh", 57, 1);
    let call = app.build(Method::POST, REFRESH).header("x-device-name", "Asha's Pixel");
    let call = call.header("x-forwarded-for", "198.51.100.7").json(&json!({ "refresh": theirs }));
    let answer = Answer::of(call).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, "no-store"), "{}", answer.text);
    let pair = answer.json();
    assert_eq!(pair.as_object().unwrap().len(), 2);
    let ours = claims(&app, token(&pair, "refresh"));
    assert_eq!((&ours["user_id"], &ours["gen"]), (&json!("57"), &json!(0)));
    assert_eq!(
        ours["exp"].as_i64().unwrap() - ours["iat"].as_i64().unwrap(),
        30 * DAY,
        "a refresh token of ours"
    );
    let list = app.bearer(Method::GET, SESSIONS, token(&pair, "access")).await.json()["sessions"].clone();
    let shown = (&list[0]["device"], &list[0]["ip"], &list[0]["current"]);
    assert_eq!(shown, (&json!("Asha's Pixel"), &json!("198.51.100.7"), &json!(true)));
    let told = "SELECT event FROM audit WHERE detail = 'exchanged a foreign refresh token' \
                AND user_id = 57 AND session_id = (SELECT id FROM sessions) AND ip = '198.51.100.7' ORDER BY id";
    assert_eq!(app.words(told), ["session_created", "authn_token_created"]);
    let id = format!("SELECT count(*) FROM audit WHERE request_id = '{}'", answer.header("x-request-id"));
    assert_eq!(app.count(&id), 2);
    // The session goes its way from here on.
    let next = self::pair(&app, token(&pair, "refresh")).await;
    assert_eq!(claims(&app, token(&next, "refresh"))["gen"], 1);
}

#[tokio::test]
async fn an_exchange_keeps_to_the_most_sessions_that_a_user_may_have() {
    let app = app_with(&[ON, ("FRESHK_TOKENS__MAX_SESSIONS", "2")]).await;
    import(&app, Some(57), PHONE).await;
    let mut pairs = Vec::new();
    for n in 0..3 {
        pairs.push(pair(&app, &foreign(&app, "refresh", 57, n)).await);
        app.clock.advance(SECOND);
    }
    let live: Vec<_> =
        join_all(pairs.iter().map(|pair| async { app.status(token(pair, "access")).await.status })).await;
    assert_eq!(live, [401, 200, 200]);
    assert_eq!(app.count("SELECT count(*) FROM sessions WHERE end_reason = 'displaced'"), 1);
    let again = refresh(&app, &foreign(&app, "refresh", 57, 0)).await;
    assert_eq!(again.code(), "token_invalid", "a displaced one comes back with no second session");
    assert_eq!(sessions(&app), 3);
}

#[tokio::test]
async fn s16_the_same_again_within_the_grace_and_reuse_after_it() {
    for (wait, status) in [(59, 200), (60, 401), (61, 401)] {
        let app = app().await;
        let theirs = foreign(&app, "refresh", 57, 1);
        let first = pair(&app, &theirs).await;
        use_access(&app, &first).await;
        app.clock.advance(SECOND * wait);
        let again = refresh(&app, &theirs).await;
        assert_eq!(again.status, status, "{wait}: {}", again.text);
        assert_eq!(sessions(&app), 1);
        if status == 200 {
            assert_eq!(again.json()["refresh"], first["refresh"], "the same pair again");
            assert_eq!(app.count("SELECT count(*) FROM audit WHERE event = 'authn_token_reuse'"), 0);
            continue;
        }
        assert_eq!(again.verdict(), (401, "token_reused".to_owned()));
        assert!(again.header("www-authenticate").starts_with("Bearer"));
        assert_eq!(app.status(token(&first, "access")).await.code(), "token_invalid", "at once");
        assert_eq!(refresh(&app, token(&first, "refresh")).await.code(), "token_invalid");
        let told = "SELECT event || ': ' || detail FROM audit WHERE session_id = (SELECT id FROM sessions) \
                    AND detail NOT LIKE 'exchanged%' ORDER BY id";
        assert_eq!(app.words(told), ["authn_token_reuse: outside the rules", "authn_token_revoked: reuse"]);
        assert_eq!(refresh(&app, &theirs).await.code(), "token_invalid", "no second session");
        assert_eq!(sessions(&app), 1);
    }
}

#[tokio::test]
async fn s16_until_the_first_generation_was_used_the_answer_may_have_been_lost() {
    let app = app().await;
    let theirs = foreign(&app, "refresh", 57, 1);
    let first = pair(&app, &theirs).await;
    let audited = |detail: &str| {
        app.count(&format!(
            "SELECT count(*) FROM audit WHERE event = 'authn_token_reuse' AND detail = '{detail}'"
        ))
    };
    for round in 1..=3 {
        app.clock.advance(Duration::from_hours(24));
        let again = pair(&app, &theirs).await;
        assert_eq!(again["refresh"], first["refresh"]);
        assert_eq!(audited("repeated after the grace"), round);
    }
    let body = json!({ "refresh": theirs });
    assert_eq!(app.post_from("203.0.113.9", REFRESH, &body).await.status, 200);
    assert_eq!(audited("repeated from another network"), 1);
    // Rotated at last: the first generation was used, and what came before it is outside the rules.
    let next = pair(&app, token(&first, "refresh")).await;
    assert_eq!(check(&app, &theirs).await, 401);
    assert_eq!(refresh(&app, &theirs).await.code(), "token_reused");
    assert_eq!(refresh(&app, token(&next, "refresh")).await.code(), "token_invalid");
}

#[tokio::test]
async fn s16_within_the_grace_even_a_rotated_session_gives_its_current_pair() {
    let app = app().await;
    let theirs = foreign(&app, "refresh", 57, 1);
    let first = pair(&app, &theirs).await;
    let next = pair(&app, token(&first, "refresh")).await;
    assert_eq!(pair(&app, &theirs).await["refresh"], next["refresh"]);
    app.clock.advance(SECOND * 60);
    assert_eq!(refresh(&app, &theirs).await.code(), "token_reused");
}

#[tokio::test]
async fn s3_parallel_exchanges_of_one_token_open_one_session() {
    let app = app().await;
    let theirs = foreign(&app, "refresh", 57, 1);
    let pairs = join_all((0..30).map(|_| pair(&app, &theirs))).await;
    for pair in &pairs {
        assert_eq!(pair["refresh"], pairs[0]["refresh"]);
        assert_eq!(app.status(token(pair, "access")).await.status, 200);
    }
    assert_eq!((sessions(&app), app.count("SELECT count(*) FROM exchanges")), (1, 1));
}

#[tokio::test]
async fn s16_dropped_answers_of_an_exchange_log_nobody_out() {
    for seed in 0..12 {
        let (app, random) = (app().await, SeededRandom::new(seed));
        let mut held = foreign(&app, "refresh", 57, 1);
        let mut access = None;
        for _ in 0..40 {
            match random.below(4) {
                0 | 1 => {
                    let burst = 1 + random.below(3);
                    for answer in join_all((0..burst).map(|_| pair(&app, &held))).await {
                        if random.below(4) == 0 {
                            token(&answer, "refresh").clone_into(&mut held);
                            access = Some(token(&answer, "access").to_owned());
                        }
                    }
                }
                2 => {
                    if let Some(access) = &access {
                        let status = app.status(access).await;
                        assert!(status.status == 200 || status.code() == "token_expired", "{}", status.text);
                    }
                }
                _ => app.clock.advance(SECOND * [1, 30, 61, 7200][random.below(4) as usize]),
            }
        }
        assert_eq!(check(&app, &held).await, 200, "seed {seed}");
        assert_eq!(app.count("SELECT count(*) FROM sessions WHERE ended_at IS NOT NULL"), 0, "seed {seed}");
        assert!(sessions(&app) <= 1, "seed {seed}");
    }
}

#[tokio::test]
async fn logging_out_with_a_foreign_refresh_token_ends_it() {
    let app = app().await;
    let theirs = foreign(&app, "refresh", 57, 1);
    let body = json!({ "refresh": theirs });
    let out = app.post(LOGOUT, &body).await;
    assert_eq!((out.status, out.json()), (200, json!({ "message": "Logged out" })));
    assert_eq!(app.post(LOGOUT, &body).await.verdict(), (401, "token_invalid".to_owned()), "twice");
    assert_eq!(refresh(&app, &theirs).await.code(), "token_invalid", "never to be exchanged");
    assert_eq!((check(&app, &theirs).await, sessions(&app)), (401, 0));
    let told = "SELECT count(*) FROM audit WHERE event = 'authn_token_revoked' \
                AND detail = 'logout: a foreign refresh token' AND user_id = 57";
    assert_eq!(app.count(told), 1);

    let exchanged = foreign(&app, "refresh", 57, 2);
    let pair = pair(&app, &exchanged).await;
    assert_eq!(app.post(LOGOUT, &json!({ "refresh": exchanged })).await.status, 200);
    assert_eq!(
        app.status(token(&pair, "access")).await.code(),
        "token_invalid",
        "the session that it opened"
    );
    assert_eq!(app.count("SELECT count(*) FROM sessions WHERE end_reason = 'logout'"), 1);
    assert_eq!(app.post(LOGOUT, &json!({ "refresh": exchanged })).await.status, 401);
    assert_eq!(refresh(&app, &exchanged).await.code(), "token_invalid");
}

#[tokio::test]
async fn to_ask_whether_a_token_is_good_neither_spends_nor_uses_it() {
    let app = app().await;
    let theirs = foreign(&app, "refresh", 57, 1);
    assert_eq!(check(&app, &theirs).await, 200);
    assert_eq!(app.count("SELECT count(*) FROM exchanges"), 0);
    let first = pair(&app, &theirs).await;
    app.clock.advance(Duration::from_hours(1));
    assert_eq!(
        check(&app, &theirs).await,
        200,
        "it could be repeated, like the token before our current one"
    );
    let again = pair(&app, &theirs).await;
    assert_eq!(again["refresh"], first["refresh"]);
    use_access(&app, &again).await;
    assert_eq!(check(&app, &theirs).await, 401, "nor does asking end the session");
    assert_eq!(app.status(token(&again, "access")).await.status, 200);
}

#[tokio::test]
async fn s8_the_row_of_an_exchange_holds_no_token_and_stays_until_the_token_expires() {
    let app = app().await;
    let theirs = foreign(&app, "refresh", 57, 1);
    let first = pair(&app, &theirs).await;
    let dump = app.stored();
    let signature = theirs.rsplit('.').next().unwrap();
    assert!(!dump.windows(signature.len()).any(|part| part == signature.as_bytes()));

    assert_eq!(app.post(LOGOUT, &json!({ "refresh": token(&first, "refresh") })).await.status, 200);
    app.clock.advance(Duration::from_hours(24 * 59));
    app.service().auth.maintain().await.unwrap();
    assert_eq!(
        (sessions(&app), app.count("SELECT count(*) FROM exchanges")),
        (0, 1),
        "the session's row is gone"
    );
    assert_eq!(refresh(&app, &theirs).await.code(), "token_invalid", "and the token is not good again");
    app.clock.advance(Duration::from_hours(24 * 3));
    app.service().auth.maintain().await.unwrap();
    assert_eq!(app.count("SELECT count(*) FROM exchanges"), 0);
    assert_eq!(refresh(&app, &theirs).await.code(), "token_expired");
}
