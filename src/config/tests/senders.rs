//! `sms.senders` and `[senders.<name>]`.

use super::*;
use crate::config::senders::{ConfiguredSender, SenderKind};
use crate::domain::Channel;
use crate::sms::twilio::Medium;

const HTTP: &str =
    "local|kind=http|url=https://sms.example.com/send|secret=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const PUBLIC: (&str, &str) = ("FRESHK_SERVER__PUBLIC_URL", "https://api.example.com");
const CONTENT: &str = "HX0123456789abcdef0123456789abcdef";

fn senders(more: &[(&str, &str)]) -> Vec<ConfiguredSender> {
    match production(more).unwrap().config.sms.provider {
        sms::Provider::Senders(senders) => senders,
        sms::Provider::Console => panic!("the console"),
    }
}

fn faults(order: &str, sections: &str) -> Vec<String> {
    let found = production(&[("FRESHK_SMS__SENDERS", order), ("FRESHK_SENDERS", sections), PUBLIC]);
    found.unwrap_err().0.into_iter().map(|fault| fault.to_string()).collect()
}

#[test]
fn twilio_alone_sends_by_default() {
    let [twilio] = senders(&[]).try_into().unwrap();
    assert_eq!((twilio.name.as_str(), twilio.after, twilio.kind.channel()), ("twilio", None, Channel::Sms));
    assert!(twilio.countries.is_none());
}

#[test]
fn senders_are_read_from_the_file_and_from_the_environment() {
    let file = format!(
        "[sms]\nsenders = [\"twilio\", \"local\", \"wa\", \"call\"]\n\
         [senders.local]\nkind = \"http\"\nurl = \"https://sms.example.com/send\"\n\
         secret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\ncountries = [\"IN\", \"cn\"]\n\
         [senders.wa]\nkind = \"whatsapp\"\ncontent_sid = \"{CONTENT}\"\nfrom = \"+15005550009\"\n\
         [senders.call]\nkind = \"voice\"\nafter = \"45s\"\n"
    );
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("freshk.toml"), file).unwrap();
    let needed = [
        ("SECRET_KEY", SECRET),
        ("TWILIO_ACCOUNT_SID", ACCOUNT),
        ("TWILIO_AUTH_TOKEN", "hush"),
        ("TWILIO_PHONE_NUMBER", "+15005550006"),
        PUBLIC,
    ];
    let sources = Sources {
        environment: needed.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        directory: dir.path().to_owned(),
        ..Sources::default()
    };
    let config = Config::load(&sources).unwrap_or_else(|faults| panic!("{faults}")).config;
    let sms::Provider::Senders(of_file) = config.sms.provider else { panic!("the console") };
    let sections = format!(
        "{HTTP}|countries=IN+CN,wa|kind=whatsapp|content_sid={CONTENT}|from=+15005550009,call|kind=voice|after=45s"
    );
    let of_environment =
        senders(&[("FRESHK_SMS__SENDERS", "twilio,local,wa,call"), ("FRESHK_SENDERS", &sections), PUBLIC]);
    for found in [of_file, of_environment] {
        let [twilio, local, wa, call] = found.try_into().unwrap();
        assert!(matches!(&twilio.kind, SenderKind::Twilio(settings) if settings.medium == Medium::Sms));
        let countries = local.countries.unwrap();
        assert_eq!(
            countries.iter().map(crate::domain::country::Country::as_str).collect::<Vec<_>>(),
            ["IN", "CN"]
        );
        assert!(matches!(&local.kind, SenderKind::Http(settings) if settings.name == "local"));
        let SenderKind::Twilio(settings) = &wa.kind else { panic!("not Twilio's") };
        assert_eq!(
            (wa.kind.channel(), &settings.sender),
            (Channel::WhatsApp, &Sender::From("+15005550009".into()))
        );
        let SenderKind::Twilio(settings) = &call.kind else { panic!("not Twilio's") };
        assert_eq!(
            (settings.name.as_str(), &settings.sender),
            ("call", &Sender::From("+15005550006".into()))
        );
        assert_eq!((call.after, call.kind.channel()), (Some(Duration::from_secs(45)), Channel::Voice));
    }
}

#[test]
fn without_a_sender_of_twilio_its_credentials_are_not_needed() {
    let only = [("SECRET_KEY", SECRET), ("FRESHK_SMS__SENDERS", "local"), ("FRESHK_SENDERS", HTTP)];
    let config = environment(only.iter()).unwrap().config;
    assert!(config.sms.twilio().is_none());
    assert!(matches!(&config.sms.provider, sms::Provider::Senders(senders) if senders.len() == 1));
    assert_eq!(wrong(environment(only[..2].iter())), keys(["sms.senders"]));
}

#[test]
fn each_fault_of_the_order_and_of_a_section_is_told() {
    for (order, sections, told) in [
        ("twilio,twilio", "", "stands there twice"),
        ("twilio,pigeon", "", "is no sender"),
        ("local", &*HTTP.replace("local", "Local"), "is no name of a sender"),
        ("local", &format!("{HTTP},{HTTP}"), "two are named"),
        ("local", "local|kind=pigeon", "is none of twilio, whatsapp, voice, http, console"),
        ("local", "local|kind=http|url=http://sms.example.com/|secret=whsec_x", "the url of"),
        ("local", "local|kind=http|url=https://sms.example.com/|secret=hush-hush", "(not shown)"),
        ("local", &format!("{HTTP}|countries=US+XX"), "of the countries of"),
        ("local", &format!("{HTTP}|from=+15005550006"), "is not for a sender of kind"),
        ("local", &format!("{HTTP}|pace=3"), "is nothing that a sender has"),
        ("wa", "wa|kind=whatsapp", "content_sid"),
        ("call", "call|kind=voice|from=FreshK", "needs a from with a number"),
        ("screen", "screen|kind=console", "is for debug alone"),
        ("twilio", "twilio|kind=http", "is of kind twilio"),
        ("local,twilio", &format!("{HTTP}|after=30s"), "its after never comes"),
        ("twilio,local", &format!("{HTTP}|after=10m"), "the code has expired by then"),
        ("twilio,local", &format!("{HTTP}|after=0s"), "too little"),
    ] {
        let found = faults(order, sections).join("\n");
        assert!(found.contains(told), "{order} {sections}: {found}");
        assert!(!found.contains("hush-hush") && !found.contains("MfKQ9r8GKY"), "{found}");
    }
}

#[test]
fn without_a_public_address_programs_report_nothing_and_after_is_refused_behind_them() {
    let other = HTTP.replacen("local|", "other|", 1);
    let with = |order: &str| {
        let sections = format!("{HTTP},{other}|after=30s");
        production(&[("FRESHK_SMS__SENDERS", order), ("FRESHK_SENDERS", &sections)])
    };
    for order in ["local,other", "twilio,local,other", "local,twilio,other"] {
        let found = with(order).unwrap_err().to_string();
        assert!(found.contains("the after of \"other\" needs server.public_url"), "{order}: {found}");
    }
    assert!(with("twilio,other").is_ok(), "Twilio is asked");
}

#[test]
fn without_the_auth_token_twilio_is_asked_and_after_is_good() {
    let section = format!("{HTTP}|after=30s");
    let found = production(&[
        ("FRESHK_SMS__SENDERS", "twilio,local"),
        ("FRESHK_SENDERS", &section),
        ("FRESHK_TWILIO__API_KEY_SID", "SK0123456789abcdef0123456789abcdef"),
        ("FRESHK_TWILIO__API_KEY_SECRET", "hush-hush"),
        ("TWILIO_AUTH_TOKEN", ""),
        PUBLIC,
    ]);
    assert!(found.is_ok());
}
