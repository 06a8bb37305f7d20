use super::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use crate::sms::twilio::{Credentials, Sender};

mod events;
mod secrets;
mod senders;
mod spending;
mod texts;

const SECRET: &str = "an-honest-secret-of-more-than-32-bytes";
const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";

/// Production with all that it needs, and what `more` sets on top; nothing but the environment is read.
fn production(more: &[(&str, &str)]) -> Result<Loaded, Faults> {
    let needed = [
        ("SECRET_KEY", SECRET),
        ("TWILIO_ACCOUNT_SID", ACCOUNT),
        ("TWILIO_AUTH_TOKEN", "hush"),
        ("TWILIO_PHONE_NUMBER", "+15005550006"),
    ];
    environment(needed.iter().chain(more))
}

fn debug(more: &[(&str, &str)]) -> Result<Loaded, Faults> {
    environment([("DEBUG", "True")].iter().chain(more))
}

fn environment<'a>(variables: impl Iterator<Item = &'a (&'a str, &'a str)>) -> Result<Loaded, Faults> {
    let empty = tempfile::tempdir().unwrap();
    Config::load(&Sources {
        environment: variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        directory: empty.path().to_owned(),
        ..Sources::default()
    })
}

/// The keys that are told to be wrong.
fn wrong(result: Result<Loaded, Faults>) -> BTreeSet<String> {
    result.unwrap_err().0.into_iter().map(|fault| fault.key).collect()
}

fn keys<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[test]
fn the_defaults_are_the_contracts() {
    let config = production(&[]).unwrap().config;
    assert!(!config.debug);
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8000");
    assert_eq!((config.server.body_limit, config.server.max_connections), (16 * 1024, 10_000));
    assert_eq!(config.server.forwarded_header, "x-forwarded-for");
    assert!(config.docs.enabled);
    assert_eq!(config.database.url.file(), Some(Path::new("freshk.db")));
    assert_eq!(config.log.format, log::LogFormat::Json);
    assert_eq!((config.limits.flood_per_second, config.limits.flood_burst), (50, 100));
    assert_eq!((config.tokens.reuse_grace, config.tokens.max_sessions), (Duration::from_mins(1), 10));
    assert_eq!((config.users.first_id, config.users.first_id_is_set), (1_000_000_001, false));
    let twilio = config.sms.twilio().expect("Twilio");
    assert_eq!(twilio.base_url.as_str(), "https://api.twilio.com");
    assert_eq!(twilio.sender, Sender::From("+15005550006".to_owned()));
    assert!(matches!(&twilio.credentials, Credentials::AuthToken(token) if token.expose() == "hush"));

    let policy = config.policy();
    assert_eq!((policy.otp.length, policy.otp.ttl), (6, Duration::from_mins(10)));
    assert_eq!((policy.otp.max_attempts, policy.otp.max_failures_per_day), (5, 15));
    assert_eq!((policy.limits.ip, policy.limits.user), (5, 3));
    assert_eq!(policy.limits.window, Duration::from_hours(1));
    assert!(!policy.limits.ip_shared && !policy.conceal_accounts);
    assert_eq!(policy.lifetimes.access, Duration::from_mins(15));
    assert_eq!(policy.lifetimes.session, Duration::from_hours(365 * 24));
    assert_eq!((policy.default_role.as_str(), policy.phones.min_digits), ("retailer", 10));
    assert_eq!(policy.retention.audit, Duration::from_hours(90 * 24));
}

#[test]
fn debug_needs_nothing() {
    let loaded = debug(&[]).unwrap();
    assert!(loaded.config.secret_key.is_none());
    assert!(matches!(loaded.config.sms.provider, sms::Provider::Console));
    assert_eq!(loaded.config.log.format, log::LogFormat::Pretty);
    assert!(loaded.warnings.is_empty());
    let dev = Sources { dev: true, directory: "/nonexistent".into(), ..Sources::default() };
    assert!(Config::load(&dev).unwrap().config.debug);
}

/// Whoever reads the console would log in as anybody.
#[test]
fn debug_is_refused_where_everything_else_says_production() {
    let all = [
        ("DEBUG", "True"),
        ("FRESHK_SMS__PROVIDER", "twilio"),
        ("FRESHK_SERVER__PUBLIC_URL", "https://api.example.com"),
        ("FRESHK_SERVER__LISTEN", "0.0.0.0:8000"),
    ];
    let refused = production(&all).unwrap_err().0;
    assert_eq!(refused.iter().map(|fault| fault.key.as_str()).collect::<Vec<_>>(), ["debug"]);
    assert!(refused[0].problem.contains("0.0.0.0:8000") && refused[0].help.contains("debug = false"));
    for (name, harmless) in [
        ("DEBUG", "False"),
        ("FRESHK_SMS__PROVIDER", "console"),
        ("FRESHK_SERVER__PUBLIC_URL", ""),
        ("FRESHK_SERVER__LISTEN", "127.0.0.1:8000"),
        ("FRESHK_SERVER__LISTEN", "[::1]:8000"),
    ] {
        let others: Vec<_> =
            all.iter().copied().map(|(n, v)| (n, if n == name { harmless } else { v })).collect();
        assert!(production(&others).is_ok(), "{name} = {harmless}");
    }
    for listen in ["[::]:8000", "192.168.1.5:8000", "203.0.113.7:8000"] {
        let others: Vec<_> = all[..3].iter().copied().chain([("FRESHK_SERVER__LISTEN", listen)]).collect();
        assert_eq!(wrong(production(&others)), keys(["debug"]), "{listen}");
    }
}

#[test]
fn debug_passes_over_the_guides_placeholders() {
    let loaded = debug(&[
        ("SECRET_KEY", "your-production-secret-key"),
        ("TWILIO_ENABLED", "True"),
        ("TWILIO_ACCOUNT_SID", "your_twilio_account_sid"),
    ])
    .unwrap();
    assert!(loaded.config.secret_key.is_none());
    assert_eq!(loaded.warnings.len(), 2);
}

#[test]
fn twilio_written_in_debug_must_be_complete() {
    assert_eq!(wrong(debug(&[("FRESHK_SMS__PROVIDER", "twilio")])), keys(["sms.provider"]));
}

#[test]
fn s15_the_guides_own_env_file_is_refused_key_by_key() {
    let guide = [
        ("TWILIO_ENABLED", "True"),
        ("TWILIO_ACCOUNT_SID", "your_twilio_account_sid"),
        ("TWILIO_AUTH_TOKEN", "your_twilio_auth_token"),
        ("TWILIO_PHONE_NUMBER", "your_twilio_phone_number"),
        ("DEBUG", "False"),
        ("SECRET_KEY", "your-production-secret-key"),
        ("ALLOWED_HOSTS", "your-domain.com,api.your-domain.com"),
        ("DATABASE_URL", "postgres://user:password@localhost:5432/freshk_production"),
    ];
    let faults = environment(guide.iter()).unwrap_err();
    assert!(!faults.to_string().contains("password"), "{faults}");
    assert_eq!(
        wrong(Err(faults)),
        keys(["twilio.account_sid", "twilio.auth_token", "twilio.phone_number", "secret_key"]),
        "its DATABASE_URL is good"
    );
}

#[test]
fn production_needs_a_secret_and_a_provider() {
    assert_eq!(wrong(environment([].iter())), keys(["secret_key", "sms.provider"]));
    assert_eq!(wrong(production(&[("TWILIO_ENABLED", "False")])), keys(["twilio.enabled"]));
    assert_eq!(wrong(production(&[("FRESHK_SMS__PROVIDER", "console")])), keys(["sms.provider"]));
    let only_enabled = [("SECRET_KEY", SECRET), ("TWILIO_ENABLED", "1")];
    assert_eq!(wrong(environment(only_enabled.iter())), keys(["twilio.enabled"]));
}

#[test]
fn test_numbers_with_codes_that_would_be_guessed_are_refused() {
    for code in
        ["000000", "111111", "123456", "654321", "135791", "121212", "123123", "112233", "824193", "550006"]
    {
        let table = format!("+15005550006={code}@2026-12-31");
        let faults = production(&[("FRESHK_SMS__TEST_NUMBERS", &table)]).unwrap_err();
        assert_eq!(faults.0.len(), 1, "{faults}");
        let told = faults.to_string();
        assert!(told.contains("(not shown) would be guessed"), "{told}");
        assert!(!told.replace("+15005550006", "").contains(code), "{told}");
    }
    assert!(production(&[("FRESHK_SMS__TEST_NUMBERS", "+15005550006=604927@2026-12-31")]).is_ok());
}

/// In the environment a comma ends a secret; in the file it is a character like any other.
#[test]
fn every_bad_value_is_told_with_what_would_be_right() {
    for (variable, value, key) in [
        ("FRESHK_DEBUG", "maybe", "debug"),
        ("SECRET_KEY", "short", "secret_key"),
        ("SECRET_KEY_FALLBACKS", "short", "secret_key_fallbacks"),
        ("FRESHK_SERVER__LISTEN", "localhost", "server.listen"),
        ("FRESHK_SERVER__PUBLIC_URL", "api.example.com", "server.public_url"),
        ("ALLOWED_HOSTS", "https://example.com", "server.allowed_hosts"),
        ("FRESHK_SERVER__TRUSTED_PROXIES", "10.0.0.0/99", "server.trusted_proxies"),
        ("FRESHK_SERVER__FORWARDED_HEADER", "x forwarded", "server.forwarded_header"),
        ("FRESHK_SERVER__BODY_LIMIT", "16 apples", "server.body_limit"),
        ("FRESHK_SERVER__REQUEST_TIMEOUT", "0s", "server.request_timeout"),
        ("FRESHK_SERVER__MAX_CONNECTIONS", "0", "server.max_connections"),
        ("DATABASE_URL", "sqlite::memory:", "database.url"),
        ("FRESHK_OTP__LENGTH", "4", "otp.length"),
        ("FRESHK_OTP__LENGTH", "10", "otp.length"),
        ("FRESHK_OTP__TTL", "11h", "otp.ttl"),
        ("FRESHK_OTP__TTL", "600", "otp.ttl"),
        ("FRESHK_OTP__MAX_ATTEMPTS", "0", "otp.max_attempts"),
        ("FRESHK_OTP__LIVE_CODES", "3", "otp.live_codes"),
        ("FRESHK_LIMITS__IP", "-1", "limits.ip"),
        ("FRESHK_LIMITS__IP", "99999999999", "limits.ip"),
        ("FRESHK_LIMITS__WINDOW", "0s", "limits.window"),
        ("FRESHK_LIMITS__IP_SCOPE", "both", "limits.ip_scope"),
        ("FRESHK_LIMITS__NETWORKS", "10.0.0.0/8", "limits.networks"),
        ("FRESHK_TOKENS__ACCESS_TTL", "0s", "tokens.access_ttl"),
        ("FRESHK_TOKENS__REFRESH_TTL", "1m", "tokens.access_ttl"),
        ("FRESHK_USERS__DEFAULT_ROLE", "driver", "users.default_role"),
        ("FRESHK_USERS__FIRST_ID", "0", "users.first_id"),
        ("FRESHK_PHONE__MIN_DIGITS", "16", "phone.min_digits"),
        ("FRESHK_PHONE__STRICT", "perhaps", "phone.strict"),
        ("FRESHK_PHONE__ALLOWED_COUNTRIES", "US,UK", "phone.allowed_countries"),
        ("FRESHK_PHONE__DENIED_COUNTRIES", "Germany", "phone.denied_countries"),
        ("FRESHK_SMS__PROVIDER", "pigeon", "sms.provider"),
        ("FRESHK_SMS__TEMPLATE", "no place for it", "sms.template"),
        ("TWILIO_ACCOUNT_SID", "AC12", "twilio.account_sid"),
        ("TWILIO_PHONE_NUMBER", "1234567890", "twilio.phone_number"),
        ("FRESHK_TWILIO__API_KEY_SECRET", "hush", "twilio.api_key_sid"),
        ("FRESHK_TWILIO__MESSAGING_SERVICE_SID", "MG12", "twilio.messaging_service_sid"),
        ("FRESHK_TWILIO__BASE_URL", "http://api.twilio.com", "twilio.base_url"),
        ("FRESHK_TWILIO__CONNECT_TIMEOUT", "20s", "twilio.connect_timeout"),
        ("FRESHK_LOG__LEVEL", "inof", "log.level"),
        ("FRESHK_LOG__FORMAT", "xml", "log.format"),
        ("FRESHK_AUDIT__RETENTION", "1h", "audit.retention"),
        ("FRESHK_OPT__TTL", "5m", "FRESHK_OPT__TTL"),
    ] {
        let Err(faults) = production(&[(variable, value)]) else { panic!("{variable}={value} is taken") };
        assert_eq!(faults.0.len(), 1, "{variable}={value}: {faults}");
        let fault = &faults.0[0];
        assert_eq!(fault.key, key, "{faults}");
        assert!(!fault.help.is_empty() && !fault.to_string().contains("hush"), "{faults}");
    }
}

#[test]
fn one_sender_and_whole_pairs() {
    let service = ("FRESHK_TWILIO__MESSAGING_SERVICE_SID", "MG0123456789abcdef0123456789abcdef");
    assert_eq!(wrong(production(&[service])), keys(["twilio.messaging_service_sid"]));
    assert_eq!(wrong(production(&[("TWILIO_PHONE_NUMBER", "")])), keys(["twilio.phone_number"]));
    let key_sid = ("FRESHK_TWILIO__API_KEY_SID", "SK0123456789abcdef0123456789abcdef");
    assert_eq!(wrong(production(&[key_sid])), keys(["twilio.api_key_secret"]));

    let whole = [
        key_sid,
        ("FRESHK_TWILIO__API_KEY_SECRET", "hush"),
        service,
        ("TWILIO_PHONE_NUMBER", ""),
        ("TWILIO_AUTH_TOKEN", ""),
    ];
    let config = production(&whole).unwrap().config;
    let twilio = config.sms.twilio().expect("Twilio");
    assert!(matches!(twilio.credentials, Credentials::ApiKey { .. }));
    assert!(matches!(twilio.sender, Sender::MessagingService(_)));
    assert!(twilio.auth_token.is_none());
    assert!(!format!("{config:?}").contains("hush") && !format!("{config:?}").contains(SECRET));
}

#[test]
fn the_example_with_every_comment_taken_off_is_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let is_key = |line: &&str| line.starts_with('[') || line.starts_with('#') && !line.starts_with("# ");
    let example = show::example();
    let keys: Vec<_> = example.lines().filter(is_key).map(|line| line.trim_start_matches('#')).collect();
    let bare = keys.join("\n");
    std::fs::write(dir.path().join("freshk.toml"), &bare).unwrap();
    let dev = Sources { dev: true, directory: dir.path().to_owned(), ..Sources::default() };
    // In debug the example's own defaults, those of production, are written: Twilio without credentials.
    let faults = Config::load(&dev).unwrap_err();
    assert_eq!(faults.0.len(), 1, "{faults}\n{bare}");
    assert_eq!(faults.0[0].key, "sms.provider");

    let quiet = bare.replace("provider = \"twilio\"", "provider = \"console\"");
    std::fs::write(dir.path().join("freshk.toml"), quiet).unwrap();
    let loaded = Config::load(&dev).unwrap();
    for setting in loaded.settings {
        let same = ["debug", "sms.provider"].contains(&setting.key.name)
            || setting.value.unwrap_or_default() == setting.key.default;
        assert!(same, "{}", setting.key.name);
    }
}

#[test]
fn networks_are_a_table_in_the_file_and_text_in_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let toml = "[limits.networks]\n\"100.64.0.0/10\" = 50\n\"2001:db8::/32\" = 0\n";
    std::fs::write(dir.path().join("freshk.toml"), toml).unwrap();
    let mut sources = Sources { dev: true, directory: dir.path().to_owned(), ..Sources::default() };
    let loaded = Config::load(&sources).unwrap();
    assert_eq!(loaded.config.limits.policy.networks.len(), 2);
    let origin = |loaded: Loaded| {
        loaded.settings.into_iter().find(|s| s.key.name == "limits.networks").map(|s| s.origin).unwrap()
    };
    assert_eq!(origin(loaded), "freshk.toml");

    let text = "10.0.0.0/8=7".to_owned();
    sources.environment.insert("FRESHK_LIMITS__NETWORKS".to_owned(), text);
    let loaded = Config::load(&sources).unwrap();
    assert_eq!(loaded.config.limits.policy.networks, [("10.0.0.0/8".parse().unwrap(), 7)]);
    assert_eq!(origin(loaded), "environment (FRESHK_LIMITS__NETWORKS)");
}

#[test]
fn values_that_are_not_utf8_are_told() {
    assert_eq!(wrong(production(&[("SECRET_KEY", "\u{fffd}")])), keys(["secret_key"]));
}

#[test]
fn tls_for_no_host_is_no_tls() {
    let nobody =
        production(&[("FRESHK_SERVER__TLS__ACME_DOMAINS", ","), ("FRESHK_SERVER__TLS__HSTS", "180d")]);
    assert_eq!(wrong(nobody), keys(["server.tls.hsts"]));
}
