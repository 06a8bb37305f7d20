//! What the fake answers, the realistic and the hostile.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Recorded, description};

/// One answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 201 with a message as Twilio writes it, its SID unique.
    #[default]
    Accepted,
    /// 201 with a body that is no JSON.
    AcceptedGarbage,
    /// 201 with half a JSON body.
    AcceptedTruncated,
    /// 201 that promises more bytes than come.
    AcceptedWrongLength,
    /// 201 with 10 MiB of JSON.
    AcceptedHuge,
    /// 201 at once, its body a byte a second.
    AcceptedSlowBody,
    /// Calls as [`Self::Accepted`], and messages refused with this code.
    CallsOnly { code: u32 },
    /// An error in Twilio's classic shape.
    Error { http: u16, code: u32, message: &'static str },
    /// An error in the shape of RFC 9457.
    Problem { http: u16, code: u32, message: &'static str },
    /// 429, with or without `Retry-After`.
    TooMany { retry_after: Option<&'static str> },
    /// An error page of a proxy, in HTML.
    Html { http: u16 },
    /// Takes the request and says nothing.
    Hang,
    /// The whole answer, head first, a byte a second.
    OneByteASecond,
    /// Resets the connection when the head is there.
    ResetBeforeBody,
    /// Resets the connection when the request is there.
    ResetAfterBody,
    /// Sends the client elsewhere.
    Redirect302,
}

/// What becomes of the connection.
pub(super) enum Ending {
    KeepAlive,
    Close,
}

/// Writes the answer.
pub(super) fn answer(answer: &Answer, request: &Recorded, stream: &mut TcpStream) -> io::Result<Ending> {
    let accepted = || accepted_message(request).to_string();
    match answer {
        Answer::Accepted => reply(stream, 201, &[], JSON, &accepted()),
        Answer::AcceptedGarbage => reply(stream, 201, &[], JSON, "\u{1b}[2J<not json>\0"),
        Answer::AcceptedTruncated => {
            let whole = accepted();
            reply(stream, 201, &[], JSON, &whole[..whole.len() / 2])
        }
        Answer::AcceptedWrongLength => {
            stream.write_all(head(201, &[], JSON, 5000).as_bytes())?;
            stream.write_all(accepted().as_bytes())?;
            Ok(Ending::Close)
        }
        Answer::AcceptedHuge => {
            let mut message = accepted_message(request);
            message["body"] = Value::String("x".repeat(10 * 1024 * 1024));
            reply(stream, 201, &[], JSON, &message.to_string())
        }
        Answer::AcceptedSlowBody => {
            let body = accepted();
            stream.write_all(head(201, &[], JSON, body.len()).as_bytes())?;
            drip(stream, &body)
        }
        Answer::CallsOnly { .. } if request.path.ends_with("/Calls.json") => {
            reply(stream, 201, &[], JSON, &accepted())
        }
        Answer::CallsOnly { code } => {
            reply(stream, 400, &[], JSON, &classic_error(400, *code, "no").to_string())
        }
        Answer::Error { http, code, message } => {
            reply(stream, *http, &[], JSON, &classic_error(*http, *code, message).to_string())
        }
        Answer::Problem { http, code, message } => {
            let body = problem(*http, *code, message).to_string();
            reply(stream, *http, &[], "application/problem+json", &body)
        }
        Answer::TooMany { retry_after } => {
            let headers: Vec<_> = retry_after.iter().map(|value| ("Retry-After", *value)).collect();
            reply(stream, 429, &headers, JSON, &classic_error(429, 20429, "Too Many Requests").to_string())
        }
        Answer::Html { http } => {
            reply(stream, *http, &[], "text/html", "<html><body><h1>Server trouble</h1></body></html>")
        }
        Answer::Hang => {
            // Until the client gives up.
            while stream.read(&mut [0; 64])? > 0 {}
            Ok(Ending::Close)
        }
        Answer::OneByteASecond => {
            let body = accepted();
            let whole = format!("{}{body}", head(201, &[], JSON, body.len()));
            drip(stream, &whole)
        }
        Answer::Redirect302 => {
            let target = format!("http://{}/elsewhere", stream.local_addr()?);
            reply(stream, 302, &[("Location", &target)], "text/html", "")
        }
        Answer::ResetBeforeBody | Answer::ResetAfterBody => Ok(Ending::Close),
    }
}

/// Twilio's own example of a 201, filled in from the request.
pub(crate) fn accepted_message(request: &Recorded) -> Value {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    let sid = format!("SM{:032x}", COUNT.fetch_add(1, Ordering::Relaxed));
    if request.path.ends_with("/Calls.json") {
        return json!({ "sid": sid.replace("SM", "CA"), "status": "queued", "to": request.field("To") });
    }
    let account = request.path.split('/').nth(3).unwrap_or_default();
    let uri = format!("/2010-04-01/Accounts/{account}/Messages/{sid}");
    let service = request.field("MessagingServiceSid");
    let mut message = description::example(if service.is_some() {
        "createWithMessagingService"
    } else {
        "createWoService"
    });
    for (name, value) in [
        ("sid", json!(sid)),
        ("account_sid", json!(account)),
        ("body", json!(request.field("Body"))),
        ("to", json!(request.field("To"))),
        ("from", json!(request.field("From"))),
        ("messaging_service_sid", json!(service)),
        ("status", json!(if service.is_some() { "accepted" } else { "queued" })),
        ("num_segments", json!(if service.is_some() { "0" } else { "1" })),
        ("date_sent", Value::Null),
        ("uri", json!(format!("{uri}.json"))),
        ("subresource_uris", json!({ "media": format!("{uri}/Media.json") })),
    ] {
        message[name] = value;
    }
    message
}

/// Answers a question after a message or a call.
pub(super) fn say_progress(
    progress: Option<(&'static str, Option<u32>)>,
    request: &Recorded,
    stream: &mut TcpStream,
) -> io::Result<Ending> {
    let Some((status, error_code)) = progress else {
        return reply(stream, 500, &[], JSON, &classic_error(500, 20500, "internal").to_string());
    };
    let mut resource = accepted_message(request);
    resource["status"] = json!(status);
    resource["error_code"] = json!(error_code);
    reply(stream, 200, &[], JSON, &resource.to_string())
}

/// An error as Twilio's API of 2010 writes it.
pub(crate) fn classic_error(http: u16, code: u32, message: &str) -> Value {
    let more_info = format!("https://www.twilio.com/docs/errors/{code}");
    json!({ "code": code, "message": message, "more_info": more_info, "status": http })
}

/// An error in the shape of RFC 9457.
pub(crate) fn problem(http: u16, code: u32, message: &str) -> Value {
    let page = format!("https://www.twilio.com/docs/errors/{code}");
    json!({ "type": page, "title": "Bad Request", "status": http, "code": code, "detail": message })
}

const JSON: &str = "application/json;charset=utf-8";

fn head(status: u16, headers: &[(&str, &str)], content_type: &str, length: usize) -> String {
    let extra = headers
        .iter()
        .map(|(name, value)| [*name, ": ", *value, "\r\n"].concat())
        .collect::<Vec<_>>()
        .concat();
    format!(
        "HTTP/1.1 {status} Whatever\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
         Twilio-Concurrent-Requests: 1\r\n{extra}\r\n"
    )
}

fn reply(
    stream: &mut TcpStream,
    status: u16,
    headers: &[(&str, &str)],
    content_type: &str,
    body: &str,
) -> io::Result<Ending> {
    stream.write_all(head(status, headers, content_type, body.len()).as_bytes())?;
    stream.write_all(body.as_bytes())?;
    Ok(Ending::KeepAlive)
}

fn drip(stream: &mut TcpStream, text: &str) -> io::Result<Ending> {
    for byte in text.bytes() {
        stream.write_all(&[byte])?;
        thread::sleep(Duration::from_secs(1));
    }
    Ok(Ending::Close)
}
