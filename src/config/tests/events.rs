use super::*;
use crate::domain::EventKind;

const URL: &str = "https://api.example.com/freshk/webhook/";
const WEBHOOK_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn of_environment(text: &str) -> Result<Vec<crate::domain::Webhook>, Faults> {
    Ok(production(&[("FRESHK_WEBHOOKS", text)])?.config.webhooks)
}

fn of_file(text: &str) -> Result<Vec<crate::domain::Webhook>, Faults> {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("freshk.toml"), format!("debug = true\n{text}")).unwrap();
    let sources = Sources { directory: place.path().to_owned(), ..Sources::default() };
    Ok(Config::load(&sources)?.config.webhooks)
}

#[test]
fn webhooks_are_tables_in_the_file_and_parts_in_the_environment() {
    let table = |more: &str| {
        format!("[[webhooks]]\nname = \"shop\"\nurl = \"{URL}\"\nsecret = \"{WEBHOOK_SECRET}\"\n{more}")
    };
    let events = "events = [\"user.created\", \"user.deleted\"]\n";
    let other = table("").replace("shop", "other-shop_2");
    let found = of_file(&format!("{}{other}", table(events))).unwrap();
    assert_eq!((found[0].name.as_str(), found[0].url.as_str()), ("shop", URL));
    assert_eq!(found[0].kinds.as_deref(), Some([EventKind::UserCreated, EventKind::UserDeleted].as_slice()));
    assert!(found[1].kinds.is_none() && found[1].wants(EventKind::SmsBlocked));
    let written =
        format!("shop|{URL}|{WEBHOOK_SECRET}|user.created+user.deleted,other|{URL}|{WEBHOOK_SECRET}");
    let same = of_environment(&written).unwrap();
    assert_eq!((same.len(), &same[0].kinds, &same[0].secret), (2, &found[0].kinds, &found[0].secret));
    assert!(of_environment("").unwrap().is_empty());
}

#[test]
fn s34_a_webhook_that_is_wrong_is_told_and_its_secret_is_not() {
    let twice = format!("a|{URL}|{WEBHOOK_SECRET},a|{URL}|{WEBHOOK_SECRET}");
    let many: Vec<_> = (0..11).map(|number| format!("n{number}|{URL}|{WEBHOOK_SECRET}")).collect();
    for (text, told) in [
        ("shop".to_owned(), "the url of \"shop\" does not begin with http"),
        (format!("shop|http://api.example.com/|{WEBHOOK_SECRET}"), "does not lead to this machine"),
        (format!("shop|{URL}|hush-hush-hush"), "(not shown) does not begin with whsec_"),
        (format!("shop|{URL}|whsec_hush"), "the secret of \"shop\" (not shown)"),
        (format!("{WEBHOOK_SECRET}|{URL}|shop"), "(not shown) is no name"),
        (format!("|{URL}|{WEBHOOK_SECRET}"), "\"\" is no name"),
        (format!("shop|{URL}|{WEBHOOK_SECRET}|user.gone"), "\"user.gone\" of the events of \"shop\""),
        (format!("shop|{URL}||{WEBHOOK_SECRET}"), "the secret of \"shop\" (not shown)"),
        (format!("shop|{URL}|{WEBHOOK_SECRET}|{WEBHOOK_SECRET}"), "(not shown) of the events"),
        (format!("shop|{URL}|{WEBHOOK_SECRET}||x"), "more than the four parts"),
        (twice, "two are named \"a\""),
        (many.join(","), "11 are too many"),
    ] {
        let faults = of_environment(&text).unwrap_err();
        let all = faults.to_string();
        assert!(all.contains(told), "{told} is not in {all}");
        assert!(!all.contains("MfKQ9r8G") && !all.contains("hush"), "{all}");
        assert!(all.contains("[[webhooks]]"), "what would be right: {all}");
    }
    let faults = of_file("[[webhooks]]\nname = \"shop\"\nsecrt = \"hush\"\n").unwrap_err().to_string();
    assert!(
        faults.contains("\"secrt\" is nothing that a webhook has") && !faults.contains("hush"),
        "{faults}"
    );
}
