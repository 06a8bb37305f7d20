//! An authority that speaks of renewals, as far as that goes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use rcgen::{CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

use super::cache::{ACCOUNT, AUTHORITY, CERTIFICATE};
use super::{Cache as _, CertificateId, Folder, Kind, Renewal, Settings, Turn};
use crate::certificate::Pair;
use crate::domain::{HttpUrl, Timestamp};

/// The window that it names, in its own words.
const START: &str = "2026-03-05T00:00:00Z";
const END: &str = "2026-03-07T00:00:00Z";

/// The authority: its directory, and what was asked of it.
struct Authority {
    url: String,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Authority {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::<Mutex<Vec<_>>>::default();
        let (base, told) = (url.clone(), asked.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &base, &told);
            }
        });
        Self { url, asked }
    }

    /// The bodies of the calls to a path.
    fn calls(&self, path: &str) -> Vec<Value> {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(found, _)| found.starts_with(path)).map(|(_, body)| body.clone()).collect()
    }
}

fn answer(mut stream: TcpStream, base: &str, told: &Mutex<Vec<(String, Value)>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line).unwrap();
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let header = header.to_ascii_lowercase();
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    // The payload of a signed body.
    let payload = serde_json::from_slice::<Value>(&body).ok().and_then(|body| {
        serde_json::from_slice(&BASE64URL_NOPAD.decode(body["payload"].as_str()?.as_bytes()).ok()?).ok()
    });
    told.lock().unwrap().push((path.clone(), payload.unwrap_or_default()));
    let (status, body) = match path.as_str() {
        "/directory" => (
            "200 OK",
            json!({
                "newNonce": format!("{base}/nonce"), "newAccount": format!("{base}/account"),
                "newOrder": format!("{base}/order"), "renewalInfo": format!("{base}/renewal"),
            }),
        ),
        "/nonce" => ("200 OK", Value::Null),
        path if path.starts_with("/renewal/") => {
            ("200 OK", json!({ "suggestedWindow": { "start": START, "end": END } }))
        }
        _ => ("400 Bad Request", json!({ "type": "urn:ietf:params:acme:error:malformed", "detail": "none" })),
    };
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let head = format!(
        "HTTP/1.1 {status}\r\nReplay-Nonce: nonce\r\nRetry-After: 21600\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    drop(stream.write_all(format!("{head}{body}").as_bytes()));
}

/// A certificate for a name that an authority has signed, with its key, in PEM.
fn signed(name: &str) -> String {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = Issuer::new(params, KeyPair::generate().unwrap());
    let (key, mut params) =
        (KeyPair::generate().unwrap(), CertificateParams::new(vec![name.to_owned()]).unwrap());
    params.use_authority_key_identifier_extension = true;
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2026, 4, 1);
    format!("{}{}", key.serialize_pem(), params.signed_by(&key, &issuer).unwrap().pem())
}

/// A renewal that has an account with the authority, and a certificate of it.
fn set_up(folder: &std::path::Path, authority: &Authority) -> (Renewal, Pair) {
    let directory = format!("{}/directory", authority.url);
    let cache = Arc::new(Folder::new(folder.join("acme")));
    let key = BASE64URL_NOPAD.encode(&KeyPair::generate().unwrap().serialize_der());
    let credentials =
        json!({ "id": format!("{}/account/1", authority.url), "key_pkcs8": key, "directory": directory });
    let account = json!({ "directory": directory, "credentials": credentials });
    let text = signed("a.example");
    for (name, text) in [(ACCOUNT, &account.to_string()), (AUTHORITY, &directory), (CERTIFICATE, &text)] {
        cache.write(name, text).unwrap();
    }
    let settings = Settings {
        domains: vec!["a.example".to_owned()],
        contact: Vec::new(),
        directory: HttpUrl::parse(&directory).unwrap(),
        root: None,
    };
    let renewal = Renewal::new(settings, cache, Arc::default(), vec![Kind::Http]);
    (renewal, Renewal::parse(&text).unwrap())
}

#[tokio::test]
async fn a_certificate_is_renewed_in_the_window_of_its_authority_and_ordered_as_its_replacement() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::start());
    let (renewal, pair) = set_up(dir.path(), &authority);
    let now = pair.begins + Duration::from_hours(1);
    let certificate = CertificateId::of(&pair).unwrap();
    assert_eq!(renewal.turn(Some(&pair), now).unwrap(), Turn::Look(certificate.clone()));
    let window = renewal.look(&certificate, now).await.unwrap().unwrap();
    assert_eq!((window.start.iso().get(..10), window.end.iso().get(..10)), (START.get(..10), END.get(..10)));
    assert_eq!(authority.calls("/renewal/").len(), 1);
    // As often as the authority says, and news once.
    assert_eq!(renewal.turn(Some(&pair), now + Duration::from_hours(5)).unwrap(), Turn::Rest);
    let later = now + Duration::from_hours(6);
    assert_eq!(renewal.turn(Some(&pair), later).unwrap(), Turn::Look(certificate.clone()));
    assert_eq!(renewal.look(&certificate, later).await.unwrap(), None);
    // A third of its time is left days before the window begins.
    let eve = window.start - Duration::from_hours(1);
    assert!(pair.is_due(eve) && !matches!(renewal.turn(Some(&pair), eve).unwrap(), Turn::Order(_)));
    assert_eq!(renewal.turn(Some(&pair), window.end).unwrap(), Turn::Order(Kind::Http));

    // It refuses this one; so it is asked without the word for replacements, too.
    let (error, _) = renewal.order(Kind::Http, window.end).await.unwrap_err();
    let orders = authority.calls("/order");
    let replaces: Vec<_> = orders.iter().map(|order| order["replaces"].as_str()).collect();
    let name = certificate.identifier().unwrap().to_string();
    assert_eq!(replaces, [Some(name.as_str()), None], "{error}");
}

#[tokio::test]
async fn an_authority_that_cannot_be_asked_is_not_asked_again_and_again_and_two_thirds_are_the_rule() {
    let (dir, authority) = (tempfile::tempdir().unwrap(), Authority::start());
    let (renewal, pair) = set_up(dir.path(), &authority);
    // Without an account it asks for one, which this authority refuses.
    Folder::new(dir.path().join("acme")).write(ACCOUNT, "").unwrap();
    let now = pair.begins + Duration::from_hours(1);
    let certificate = CertificateId::of(&pair).unwrap();
    renewal.look(&certificate, now).await.unwrap_err();
    assert_eq!(renewal.turn(Some(&pair), now + Duration::from_hours(1)).unwrap(), Turn::Rest);
    let third = pair.ends - pair.lifetime() / 3;
    let is_order = |at: Timestamp| matches!(renewal.turn(Some(&pair), at).unwrap(), Turn::Order(_));
    assert!(!is_order(third - Duration::from_secs(2)) && is_order(third));
}
