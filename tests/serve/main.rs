//! The real binary as an operator meets it: `serve`, its faults at the start, its end, and what outlives it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod activation;
mod dev;
mod encrypted;
mod end;
mod foreign;
mod limits;
mod logs;
mod lost;
mod open_files;
mod panics;
mod refusals;
mod reload;
mod socket;
mod systemd;
mod watch;

#[path = "../support/sink.rs"]
#[expect(dead_code, reason = "shared with the API tests, which use the rest")]
mod sink;

#[path = "../support/process.rs"]
#[expect(dead_code, reason = "shared with the crash test, which uses the rest")]
mod process;

#[path = "../support/tls.rs"]
mod tls;

#[path = "../support/twilio.rs"]
#[expect(dead_code, unused_imports, reason = "shared with the tests of the adapter, which use the rest")]
mod twilio;

use process::Server;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

const PHONE: &str = "+1234567890";
const REQUEST: &str = "/api/mobile/auth/production/request/";
const VERIFY: &str = "/api/mobile/auth/production/verify/";
const STATUS: &str = "/api/mobile/auth/production/status/";

/// Status and body.
async fn answer(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// A call from an address of its own, as the trusted proxy passes it on.
async fn post(server: &Server, ip: &str, path: &str, body: &Value) -> (u16, Value) {
    answer(client().post(server.url(path)).header("x-forwarded-for", ip).json(body)).await
}

async fn request(server: &Server, ip: &str, phone: &str) -> (u16, Value) {
    post(server, ip, REQUEST, &json!({ "phone_number": phone })).await
}

async fn verify(server: &Server, ip: &str, phone: &str, otp: &str) -> (u16, Value) {
    post(server, ip, VERIFY, &json!({ "phone_number": phone, "otp": otp })).await
}

async fn status(server: &Server, access: &str) -> u16 {
    answer(client().get(server.url(STATUS)).bearer_auth(access)).await.0
}
