//! `freshk selftest`: the guide's calls, made against a running server as the app makes them.

use std::io;
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};
use ureq::{Agent, Body};

use super::admin::phone;
use super::http::{self, ANSWER_CAP};
use super::output::{self, Output, escaped};
use super::{CliError, Global};
use crate::clock::Stopwatch;
use crate::domain::phone::mask_name;
use crate::domain::{HttpUrl, PhoneNumber, PhonePolicy};

/// Log in on a running server with a test number, call by call
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  code=$(shuf -rn6 -i0-9 | tr -d '\\n')
  freshk sms test-number add +15005550006 --code \"$code\" --until 1d
  freshk selftest https://api.your-domain.com --phone +15005550006 --code \"$code\"
  freshk selftest http://127.0.0.1:8000 --host api.your-domain.com --phone +15005550006 \\
      --code \"$code\" --json

Requests a code, logs in with it, reads the status, requests another code, refreshes, logs out, and checks that the \
session has ended. Each call is shown with its answer and its time, tokens cut short. Exits with 1 at the first \
unexpected answer. The phone must be a test number: any other is sent an SMS. Each run counts against the quotas of \
this address.")]
pub struct SelftestArgs {
    /// Where the server is, without the path of an endpoint
    pub url: String,
    /// A test number of that server
    #[arg(long)]
    pub phone: String,
    /// Its code
    #[arg(long)]
    pub code: String,
    /// The Host header, where the URL has another name, such as 127.0.0.1
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,
}

const CONNECT: Duration = Duration::from_secs(5);

/// Longer than the server waits for Twilio.
const WHOLE: Duration = Duration::from_secs(30);

const BASE: &str = "/api/mobile/auth";

/// What a token still shows of itself.
const SHOWN: usize = 10;

/// One call.
struct Step {
    what: &'static str,
    method: &'static str,
    path: String,
    expected: u16,
}

/// What came of it.
struct Done {
    status: u16,
    took: Duration,
    answer: Value,
}

/// Makes the calls.
///
/// # Errors
/// [`CliError::Refused`] at the first that did not go as it should.
pub fn run(args: &SelftestArgs, global: &Global, output: &mut Output) -> Result<(), CliError> {
    let url = HttpUrl::parse(&args.url).map_err(|error| {
        CliError::usage(
            format!("the URL {error}"),
            "give the server alone, such as https://api.your-domain.com",
        )
    })?;
    let phone = phone(&args.phone, &PhonePolicy::lenient(1))?;
    if !url.is_https() && !url.is_loopback() {
        output::note(&format!("warning: codes and tokens travel to {} in clear", url.as_str()));
    }
    let mut calls = Calls::of(url, output);
    calls.host.clone_from(&args.host);
    calls.show_phones = global.show_phones;
    let outcome = calls.log_in_and_out(&phone, &args.code);
    let told = std::mem::take(&mut calls.told);
    if output.json {
        output.json(&json!({ "ok": outcome.is_ok(), "steps": told }))?;
    } else if outcome.is_ok() {
        output.text(&format!("\nall {} as expected\n", output::counted(told.len(), "answer")))?;
    }
    outcome
}

/// Makes the calls on a server of this machine.
///
/// # Errors
/// As [`run`].
pub fn log_in_and_out(url: HttpUrl, phone: &PhoneNumber, code: &str) -> Result<(), CliError> {
    let mut unheard = Output::new(true, Box::new(io::sink()));
    Calls::of(url, &mut unheard).log_in_and_out(phone, code)
}

/// The calls so far, and what the next one needs.
struct Calls<'o> {
    agent: Agent,
    host: Option<String>,
    url: HttpUrl,
    show_phones: bool,
    told: Vec<Value>,
    output: &'o mut Output,
}

impl<'o> Calls<'o> {
    fn of(url: HttpUrl, output: &'o mut Output) -> Self {
        let agent = http::agent(CONNECT, WHOLE);
        Self { agent, host: None, url, show_phones: false, told: Vec::new(), output }
    }

    fn log_in_and_out(&mut self, phone: &PhoneNumber, code: &str) -> Result<(), CliError> {
        let number = phone.as_str();
        self.get("readiness", "/health/ready", None, 200)?;
        self.post("request a code", "/production/request/", &json!({ "phone_number": number }), None)?;
        let given = json!({ "phone_number": number, "otp": code });
        let login = self.post("verify it", "/production/verify/", &given, None)?;
        let access = token(&login, "access")?;
        let status = format!("{BASE}/production/status/");
        self.get("status", &status, Some(&access), 200)?;
        self.post("resend", "/production/resend/", &json!({}), Some(&access))?;
        let refresh = json!({ "refresh": token(&login, "refresh")? });
        let next = self.post("refresh", "/token/refresh/", &refresh, None)?;
        let (access, refresh) = (token(&next, "access")?, json!({ "refresh": token(&next, "refresh")? }));
        self.post("log out", "/logout/", &refresh, None)?;
        self.get("status after", &status, Some(&access), 401)?;
        Ok(())
    }

    fn get(
        &mut self,
        what: &'static str,
        path: &str,
        bearer: Option<&str>,
        expected: u16,
    ) -> Result<Value, CliError> {
        let step = Step { what, method: "GET", path: path.to_owned(), expected };
        let call = self.with_headers(self.agent.get(self.address(&step)), bearer);
        let watch = Stopwatch::start();
        let answer = call.call();
        self.judge(&step, answer, &watch)
    }

    fn post(
        &mut self,
        what: &'static str,
        path: &str,
        body: &Value,
        bearer: Option<&str>,
    ) -> Result<Value, CliError> {
        let step = Step { what, method: "POST", path: format!("{BASE}{path}"), expected: 200 };
        let call = self.agent.post(self.address(&step)).content_type("application/json");
        let call = self.with_headers(call, bearer);
        let watch = Stopwatch::start();
        let answer = call.send(body.to_string());
        self.judge(&step, answer, &watch)
    }

    fn with_headers<B>(
        &self,
        mut call: ureq::RequestBuilder<B>,
        bearer: Option<&str>,
    ) -> ureq::RequestBuilder<B> {
        if let Some(host) = &self.host {
            call = call.header("host", host);
        }
        if let Some(token) = bearer {
            call = call.header("authorization", format!("Bearer {token}"));
        }
        call
    }

    fn address(&self, step: &Step) -> String {
        format!("{}{}", self.url.as_str(), step.path)
    }

    /// Shows the answer, and goes on only from an expected one.
    fn judge(
        &mut self,
        step: &Step,
        answer: Result<ureq::http::Response<Body>, ureq::Error>,
        watch: &Stopwatch,
    ) -> Result<Value, CliError> {
        let read = answer.and_then(|mut answer| {
            let text = answer.body_mut().with_config().limit(ANSWER_CAP).read_to_string()?;
            Ok((answer.status().as_u16(), text))
        });
        let (status, text) = read.map_err(|error| {
            CliError::refused(
                format!("{} {}: no answer: {error}", step.method, self.address(step)),
                "check that the server runs and that this machine reaches it",
            )
        })?;
        let answer = serde_json::from_str(&text).unwrap_or(Value::String(text));
        let done = Done { status, took: watch.elapsed(), answer };
        self.tell(step, &done)?;
        if status == step.expected { Ok(done.answer) } else { Err(failed(step, &done)) }
    }

    fn tell(&mut self, step: &Step, done: &Done) -> Result<(), CliError> {
        let Done { status, took, answer } = done;
        let is_ok = *status == step.expected;
        let (shown, milliseconds) = (self.shown(answer), took.as_secs_f64() * 1000.0);
        if !self.output.json {
            let verdict = if is_ok { "ok  " } else { "fail" };
            self.output.text(&format!(
                "{verdict}  {:<16} {status}  {milliseconds:>8.1} ms  {} {}\n      {}\n",
                step.what,
                step.method,
                step.path,
                escaped(&shown.to_string())
            ))?;
        }
        self.told.push(json!({
            "step": step.what,
            "method": step.method,
            "path": step.path,
            "status": status,
            "expected": step.expected,
            "ok": is_ok,
            "milliseconds": (milliseconds * 10.0).round() / 10.0,
            "answer": shown,
        }));
        Ok(())
    }

    /// An answer with its tokens cut short, and phones masked unless they were asked for.
    fn shown(&self, answer: &Value) -> Value {
        let Value::Object(members) = answer else { return answer.clone() };
        let member = |(name, value): (&String, &Value)| {
            let shown = match (name.as_str(), value) {
                ("access" | "refresh", Value::String(token)) => {
                    Value::String(token.chars().take(SHOWN).chain(['…']).collect())
                }
                ("phone_number", Value::String(phone)) if !self.show_phones => {
                    PhoneNumber::parse(phone, 1).map_or_else(|_| value.clone(), |phone| phone.masked().into())
                }
                ("username", Value::String(username)) if !self.show_phones => mask_name(username).into(),
                _ => self.shown(value),
            };
            (name.clone(), shown)
        };
        Value::Object(members.iter().map(member).collect::<Map<_, _>>())
    }
}

fn token(answer: &Value, name: &str) -> Result<String, CliError> {
    let token = answer.get(name).and_then(Value::as_str).map(str::to_owned);
    token.ok_or_else(|| {
        CliError::refused(
            format!("the answer has no {name} token"),
            "check that the URL is that of a freshk server",
        )
    })
}

fn failed(step: &Step, done: &Done) -> CliError {
    let member = |name: &str| done.answer.get(name);
    let help = match member("code").and_then(Value::as_str) {
        Some("rate_limited") => {
            let wait = member("retry_after").and_then(Value::as_u64).unwrap_or_default();
            format!(
                "wait {wait} s, or run `freshk limit reset` with the address of this machine on the server"
            )
        }
        Some("invalid_otp" | "user_not_found" | "sms_delivery_failed") => {
            "`freshk sms test-number list` on the server shows whether the phone is a test number".to_owned()
        }
        Some("host_not_allowed") => {
            "use a name of server.allowed_hosts in the URL, or give it with --host".to_owned()
        }
        Some(_) => match member("request_id").and_then(Value::as_str) {
            Some(id) => format!("search the server's log for request {}", escaped(id)),
            None => "see the server's log".to_owned(),
        },
        None => {
            "check that the URL is that of a freshk server, and that a proxy before it passes every path on"
                .to_owned()
        }
    };
    let Step { method, path, expected, .. } = step;
    CliError::refused(format!("{method} {path} answered {} and not {expected}", done.status), help)
}
