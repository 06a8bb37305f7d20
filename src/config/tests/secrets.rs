//! Secrets: how good they must be, and where they may stand.

use super::*;

#[test]
fn s15_weak_secrets_are_refused_and_debug_tells_that_it_takes_them() {
    let django = "django-insecure-n1!b%q^w7z@s(2k_x+4d8m-0v=f6h$j3";
    for weak in [
        "a".repeat(50),
        "changeme".to_owned() + &SECRET[8..],
        "0123456789abcdef".repeat(3),
        django.to_owned(),
    ] {
        for (variable, key) in
            [("SECRET_KEY", "secret_key"), ("SECRET_KEY_FALLBACKS", "secret_key_fallbacks")]
        {
            if (variable, weak.as_str()) == ("SECRET_KEY_FALLBACKS", django) {
                continue;
            }
            let faults = production(&[(variable, &weak)]).unwrap_err();
            assert_eq!(faults.0.len(), 1, "{faults}");
            assert_eq!(faults.0[0].key, key);
            assert!(faults.0[0].problem.contains("weak: it "), "{faults}");
            assert!(faults.0[0].help.contains("`freshk key generate`"), "{faults}");
            assert!(!faults.to_string().contains(&weak), "{faults}");
        }
        let loaded = debug(&[("SECRET_KEY", &weak)]).unwrap();
        assert_eq!(loaded.config.secret_key.unwrap().expose(), weak, "Django's own, for development");
        assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
        assert!(loaded.warnings[0].problem.contains("outside debug it is refused"), "{:?}", loaded.warnings);
    }
    // Tokens from before the move stay good, and nobody forgets that they do.
    let moving = production(&[("SECRET_KEY_FALLBACKS", django)]).unwrap();
    assert_eq!(moving.config.secret_key_fallbacks.len(), 1);
    assert!(
        moving.warnings.len() == 1 && moving.warnings[0].help.contains("remove it"),
        "{:?}",
        moving.warnings
    );
}

/// What docker's env files, editors and other systems' line ends leave on a secret: with it Django would have another.
#[test]
fn a_secret_with_something_around_it_is_refused_and_not_shown() {
    let key = ("FRESHK_TWILIO__API_KEY_SID", "SK0123456789abcdef0123456789abcdef");
    for (variable, name, secret) in [
        ("SECRET_KEY", "secret_key", SECRET),
        ("SECRET_KEY_FALLBACKS", "secret_key_fallbacks", SECRET),
        ("TWILIO_AUTH_TOKEN", "twilio.auth_token", "hush-0123456789"),
        ("FRESHK_TWILIO__API_KEY_SECRET", "twilio.api_key_secret", "hush-0123456789"),
    ] {
        for (around, seen) in [
            ("\"_\"", "quotation marks"),
            ("'_'", "quotation marks"),
            ("_\n", "line break"),
            ("_\r", "carriage return"),
            ("_ ", "white space"),
            (" _", "white space"),
            ("_ # comment", "comment"),
        ] {
            let value = around.replace('_', secret);
            for loaded in
                [production(&[key, ("FRESHK_TWILIO__API_KEY_SECRET", "hush"), (variable, &value)]), {
                    debug(&[("FRESHK_SMS__PROVIDER", "console"), (variable, &value)])
                }]
            {
                let faults = loaded.unwrap_err();
                assert_eq!(faults.0.len(), 1, "{value:?}: {faults}");
                let told = faults.to_string();
                assert!(faults.0[0].key == name && told.contains(seen), "{value:?}: {told}");
                assert!(told.contains("bare value") && !told.contains(secret), "{told}");
            }
        }
    }
    for (variable, value) in
        [("FRESHK_TOKENS__ISSUER", "\"https://a.example\""), ("FRESHK_TOKENS__AUDIENCE", "shop # ours")]
    {
        assert_eq!(production(&[(variable, value)]).unwrap_err().0.len(), 1, "{value}");
    }
}

#[test]
fn a_secret_may_stand_in_a_file_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let load = |variables: &[(&str, &str)]| {
        let needed = [("TWILIO_ACCOUNT_SID", ACCOUNT), ("TWILIO_PHONE_NUMBER", "+15005550006")];
        let variables = needed.iter().chain(variables);
        Config::load(&Sources {
            environment: variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            directory: dir.path().to_owned(),
            ..Sources::default()
        })
    };
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("key", &format!("{SECRET}\n"));
    write("older", &format!("{SECRET}-older,{SECRET}-oldest"));
    write("token", "hush\n");
    let files = [
        ("SECRET_KEY_FILE", "key"),
        ("SECRET_KEY_FALLBACKS_FILE", "older"),
        ("TWILIO_AUTH_TOKEN_FILE", "token"),
    ];
    let loaded = load(&files).unwrap();
    assert_eq!(loaded.config.secret_key.unwrap().expose(), SECRET);
    assert_eq!(loaded.config.secret_key_fallbacks.len(), 2);
    let origin =
        |name: &str| loaded.settings.iter().find(|setting| setting.key.name == name).unwrap().origin.clone();
    assert_eq!(origin("secret_key"), "environment (SECRET_KEY_FILE)");
    assert_eq!(origin("twilio.auth_token"), "environment (TWILIO_AUTH_TOKEN_FILE)");

    let absolute = dir.path().join("key").display().to_string();
    for (name, value) in [("FRESHK_SECRET_KEY_FILE", absolute.as_str()), ("FRESHK_SECRET_KEY_FILE", "key")] {
        assert!(load(&[(name, value), files[2]]).is_ok(), "{name}={value}");
    }
    write("lines", &format!("{SECRET}\n\n"));
    write("windows", &format!("{SECRET}\r\n"));
    write("empty", "\n");
    write("endless", &"x".repeat(70_000));
    for (file, seen) in [
        ("nowhere", "nowhere cannot be read"),
        (".", "cannot be read"),
        ("lines", "ends with a line break"),
        ("windows", "carriage return"),
        ("empty", "empty is empty"),
        ("endless", "too long"),
    ] {
        let faults = load(&[("SECRET_KEY_FILE", file), files[2]]).unwrap_err();
        assert_eq!(faults.0.len(), 1, "{faults}");
        let told = faults.to_string();
        assert!(
            told.starts_with(
                "the configuration has 1 fault:\n\nsecret_key, from environment (SECRET_KEY_FILE)"
            ),
            "{told}"
        );
        assert!(told.contains(seen) && !told.contains(SECRET), "{told}");
    }
    let faults = load(&[("SECRET_KEY_FILE", "key"), ("TWILIO_AUTH_TOKEN_FILE", "nowhere")]).unwrap_err();
    assert_eq!(faults.0.len(), 1, "{faults}");
    let both = load(&[files[0], ("SECRET_KEY", SECRET), files[2]]).unwrap_err();
    assert!(both.to_string().contains("both SECRET_KEY and SECRET_KEY_FILE are set"), "{both}");
    let not_a_secret = load(&[files[0], files[2], ("FRESHK_OTP__TTL_FILE", "key")]).unwrap_err();
    assert_eq!(not_a_secret.0[0].key, "FRESHK_OTP__TTL_FILE");
}

#[test]
fn a_fallback_with_a_comma_stands_in_the_file() {
    let comma = "a secret, of more than thirty-two bytes in all";
    let faults = production(&[("SECRET_KEY_FALLBACKS", comma)]).unwrap_err().to_string();
    assert!(faults.contains("one that holds a comma") && faults.contains("freshk.toml"), "{faults}");
    assert!(!faults.contains("a secret, of"), "{faults}");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("freshk.toml"), format!("secret_key_fallbacks = [{comma:?}]")).unwrap();
    let environment = BTreeMap::from([("DEBUG".to_owned(), "1".to_owned())]);
    let sources = Sources { environment, directory: dir.path().to_owned(), ..Sources::default() };
    let fallbacks = Config::load(&sources).unwrap().config.secret_key_fallbacks;
    assert_eq!(fallbacks.iter().map(crate::domain::Secret::expose).collect::<Vec<_>>(), [comma]);
}
