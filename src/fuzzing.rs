//! Where input from outside is read, each place as a function that takes any bytes and asserts what must hold whatever they are:
//! for `cargo fuzz` (`fuzz/`), and for tests that try the inputs kept there.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

use crate::cli::user::read_lines;
use crate::clock::ManualClock;
use crate::domain::webhook::WebhookUrl;
use crate::domain::{ClientAddress, Code, Country, Language, Languages, PhoneNumber, PhonePolicy, Secret};
use crate::http::client_ip::ClientIp;
use crate::http::read_fields;
use crate::metrics::Metrics;
use crate::sms::segments::{Alphabet, measure};
use crate::sms::template::Template;
use crate::sms::twilio::callback::Callback;
use crate::sms::{SendOutcome, http as http_sender, twilio};

#[cfg(test)]
mod corpus;
mod settings;
mod tokens;

/// Takes any bytes; panics where something does not hold.
pub type Target = fn(&[u8]);

/// All of them, by the name of their folder in `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("address", address),
    ("callback", callback),
    ("code", code),
    ("configuration", settings::configuration),
    ("forwarded", forwarded),
    ("http_sender", http_sender_answer),
    ("import", import),
    ("json", json),
    ("language", language),
    ("phone", phone),
    ("template", template),
    ("token", tokens::token),
    ("twilio", twilio_answer),
    ("url", url),
];

/// Runs the target of a name.
///
/// # Panics
/// Where something does not hold, or there is no such target.
#[expect(clippy::panic, reason = "a fuzzer reports a panic, and nothing else")]
pub fn run(name: &str, data: &[u8]) {
    let found = TARGETS.iter().find(|(target, _)| *target == name);
    let Some((_, target)) = found else { panic!("there is no target {name}") };
    target(data);
}

/// A number that is read is E.164, reads as itself again, hides digits where it is masked; and a telephone has one spelling.
fn phone(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for strict in [false, true] {
        let policy = PhonePolicy { strict, ..PhonePolicy::lenient(PhoneNumber::MIN_DIGITS) };
        let Ok(phone) = policy.read(text) else { continue };
        assert!(
            (10..=15).contains(&phone.digits().len()) && phone.digits().bytes().all(|b| b.is_ascii_digit())
        );
        assert_eq!(policy.read(phone.as_str()).as_ref(), Ok(&phone), "a spelling is its own");
        assert!(!phone.masked().contains(&phone.digits()[3..]), "{}", phone.masked());
        assert!(phone.digits().starts_with(phone.calling_code()));
        let _: (Option<Country>, bool) = (Country::of(&phone), policy.sends_to(&phone));
    }
}

/// A code that is read has its length in ASCII digits, and reads as itself again.
fn code(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for length in 4..=9 {
        if let Some(code) = Code::typed(text, length) {
            assert!(code.digits().len() == length && code.digits().bytes().all(|b| b.is_ascii_digit()));
            assert!(Code::parse(code.digits(), length).is_some());
        }
    }
}

/// A body whose fields are read is one JSON object to everybody else, with the same strings.
fn json(data: &[u8]) {
    let Ok(fields) = read_fields(data) else { return };
    let value: serde_json::Value = serde_json::from_slice(data).unwrap_or_default();
    assert!(value.is_object(), "others read no object");
    for (name, value) in value.as_object().into_iter().flatten() {
        assert_eq!(fields.required_string(name).ok(), value.as_str(), "{name}");
    }
    assert_eq!(Some(fields.is_empty()), value.as_object().map(serde_json::Map::is_empty));
}

/// Only a trusted proxy is believed, and what it names is never one that is trusted itself.
fn forwarded(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    let name = HeaderName::from_static(["x-forwarded-for", "forwarded", "x-real-ip"][usize::from(kind % 3)]);
    let mut headers = HeaderMap::new();
    for line in rest.split(|byte| *byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(line) else { return };
        headers.append(name.clone(), value);
    }
    let trusted = "10.0.0.0/8".parse().unwrap_or_default();
    let client_ip = ClientIp::new(vec![trusted], name, Arc::new(ManualClock::default()), Metrics::default());
    let stranger = IpAddr::from([203, 0, 113, 7]);
    assert_eq!(client_ip.resolve(stranger, &headers).ip(), stranger, "a stranger is believed");
    let proxy = IpAddr::from([10, 0, 0, 1]);
    let client = client_ip.resolve(proxy, &headers).ip();
    assert_eq!(client, client.to_canonical());
}

/// Folding an address is done once, and its neighbours stay in its network.
fn address(data: &[u8]) {
    let Some(octets) = data.first_chunk::<16>() else { return };
    let address = ClientAddress::new(IpAddr::V6(Ipv6Addr::from(*octets)));
    assert_eq!(ClientAddress::new(address.ip()), address);
    let counted = ClientAddress::new(address.counted());
    // A /64 has a first address that may be one that carries another.
    if counted.carried() == counted.ip() {
        assert_eq!(counted.counted(), address.counted());
        assert_eq!(counted.network(), address.network());
        assert_eq!(counted.subject(), address.subject());
        assert_eq!(counted.site(), address.site());
    }
    let mut beside = *octets;
    beside[15] ^= 1;
    let beside = ClientAddress::new(IpAddr::V6(Ipv6Addr::from(beside)));
    if address.carried() == address.ip() && beside.carried() == beside.ip() && address.ip().is_ipv6() {
        assert_eq!(beside.subject(), address.subject(), "a /64 counts as one");
    }
}

/// Only 201 is an accepted message, and only what surely did not go out is refused.
fn twilio_answer(data: &[u8]) {
    let Some((status, body)) = data.split_first_chunk::<2>() else { return };
    let status = u16::from_be_bytes(*status) % 600;
    match twilio::judge_answer(status, body.to_vec()) {
        SendOutcome::Accepted(_) => assert_eq!(status, 201),
        SendOutcome::Refused(_) => assert!((300..500).contains(&status), "{status}"),
        SendOutcome::Unknown(_) => assert_ne!(status, 201),
    }
}

/// Only 200 with a word of the contract says anything.
fn http_sender_answer(data: &[u8]) {
    let Some((status, body)) = data.split_first_chunk::<2>() else { return };
    let status = u16::from_be_bytes(*status) % 600;
    let outcome = http_sender::judge_answer(status, body.to_vec());
    if !matches!(outcome, SendOutcome::Unknown(_)) {
        let answer: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let words = ["accepted", "invalid_number", "refused", "try_later"];
        assert!(status == 200 && answer["status"].as_str().is_some_and(|word| words.contains(&word)));
    }
    drop(http_sender::report::read("local", body));
}

/// No signature is good but the right one; what is reported names a message of ours or of Twilio's.
fn callback(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    let mut parts = rest.splitn(3, |byte| *byte == 0);
    let (Some(url), Some(signature), Some(body)) = (parts.next(), parts.next(), parts.next()) else { return };
    let (Ok(url), Ok(signature)) = (std::str::from_utf8(url), std::str::from_utf8(signature)) else { return };
    let content_type = ["application/x-www-form-urlencoded", "application/json; charset=utf-8", ""];
    let callback = Callback { url, signature, content_type: content_type[usize::from(kind % 3)], body };
    // Nobody has signed anything with this one.
    assert!(!callback.is_signed([&Secret::new("a token that only the test knows")]), "{callback:?}");
    drop(callback.report());
}

/// A header gives one of the texts that there are, or none.
fn language(data: &[u8]) {
    let Ok(header) = std::str::from_utf8(data) else { return };
    let texts = ["en", "pt", "pt-BR", "zh", "hi"].map(Language::of);
    let languages = Languages::parse(header);
    if let Some(chosen) = languages.choose(&texts, |language| language) {
        assert!(texts.iter().any(|text| text.as_str() == chosen.as_str()));
    }
}

/// A template that is read fits, whatever code and life it is filled with, and is measured as its letters are.
fn template(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(template) = Template::parse(text) else { return };
    let widest = measure(&template.widest());
    assert!(widest.segments <= if widest.alphabet == Alphabet::Gsm7 { 1 } else { 2 }, "{text:?}");
    for (code, minutes) in [("0000", 1), ("123456", 10), ("999999999", 9_999)] {
        let Some(read) = Code::parse(code, code.len()) else { return };
        let filled = template.render(&read, minutes);
        assert!(filled.contains(code), "{filled:?}");
        assert!(measure(&filled).segments <= widest.segments, "{filled:?}");
    }
}

/// A URL that is taken leaves this machine encrypted, and shows no query.
fn url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(url) = WebhookUrl::parse(text) else { return };
    assert_eq!(url.as_str(), text);
    let lower = text.to_ascii_lowercase();
    let is_here = ["http://localhost", "http://127.", "http://["].iter().any(|here| lower.starts_with(here));
    assert!(url.is_https() || is_here, "{text}");
    assert!(text.chars().all(|c| c.is_ascii_graphic()), "{text:?}");
}

/// Every line of a file of users is read or refused in words that quote no telephone.
fn import(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    for refused in read_lines(rest, kind % 2 == 0) {
        // The form is shown by an example that is nobody's, and the ids by the largest.
        let quoted = refused.replace("+1234567890", "").replace("9007199254740991", "");
        let longest = quoted.split(|c: char| !c.is_ascii_digit()).map(str::len).max();
        assert!(longest.is_none_or(|digits| digits < 7), "{refused}");
    }
}
