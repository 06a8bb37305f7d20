//! What `freshk init` asks. Each answer is judged as the server would judge it, and asked for again until it is good.

use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::PathBuf;

use clap::ValueEnum as _;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::runtime::{self, Runtime};
use tokio::task::spawn_blocking;

use super::InitArgs;
use super::deployment::Proxy;
use crate::cli::error::Advice;
use crate::cli::interrupt::Interrupt;
use crate::cli::{CliError, output};
use crate::config::{Config, Needs, Sources};

/// The answers; empty where there is none.
pub(super) struct Answers {
    pub(super) account_sid: String,
    pub(super) auth_token: String,
    pub(super) phone_number: String,
    pub(super) public_url: String,
    pub(super) brand: String,
    /// Their two letters, with commas between.
    pub(super) countries: String,
    /// With `--systemd` alone.
    pub(super) proxy: String,
}

/// One question.
struct Question {
    words: &'static str,
    /// The flag that answers it.
    flag: &'static str,
    judge: Judge,
    is_secret: bool,
}

/// What an answer must be.
enum Judge {
    /// The value of a key, which this variable sets.
    Key(&'static str, Needs),
    Proxy,
}

const ACCOUNT_SID: Question = Question {
    words: "Twilio's Account SID, AC…",
    flag: "--account-sid",
    judge: Judge::Key("TWILIO_ACCOUNT_SID", Needs::Only(&[&["twilio.account_sid"]])),
    is_secret: false,
};
const AUTH_TOKEN: Question = Question {
    words: "Twilio's Auth Token; it is not shown as you type",
    flag: "TWILIO_AUTH_TOKEN",
    judge: Judge::Key("TWILIO_AUTH_TOKEN", Needs::Only(&[&["twilio.auth_token"]])),
    is_secret: true,
};
const PHONE_NUMBER: Question = Question {
    words: "The number that sends, such as +15005550006",
    flag: "--phone-number",
    judge: Judge::Key("TWILIO_PHONE_NUMBER", Needs::Only(&[&["twilio.phone_number"]])),
    is_secret: false,
};
const PUBLIC_URL: Question = Question {
    words: "The URL of this server, such as https://api.example.com",
    flag: "--public-url",
    judge: Judge::Key("FRESHK_SERVER__PUBLIC_URL", Needs::Only(&[&["server.public_url"]])),
    is_secret: false,
};
const BRAND: Question = Question {
    words: "The name of your app, as the text message has it",
    flag: "--brand",
    judge: Judge::Key("FRESHK_SMS__BRAND", Needs::Only(&[&["sms.brand"]])),
    is_secret: false,
};
const COUNTRIES: Question = Question {
    words: "The only countries to send to, such as DE, AT, so that nobody makes you pay for others; empty: all",
    flag: "--countries",
    judge: Judge::Key("FRESHK_PHONE__ALLOWED_COUNTRIES", Needs::Only(&[&["phone.allowed_countries"]])),
    is_secret: false,
};

const PROXY: Question = Question {
    words: "The proxy with TLS on this machine: caddy, which gets its certificate by itself, or nginx",
    flag: "--proxy",
    judge: Judge::Proxy,
    is_secret: false,
};

impl Answers {
    /// The countries, each by its two capital letters.
    pub(super) fn countries(&self) -> Vec<String> {
        let letters = self.countries.split(',').map(|letters| letters.trim().to_ascii_uppercase());
        letters.filter(|letters| !letters.is_empty()).collect()
    }

    /// The proxy; Caddy where nobody has named one.
    pub(super) fn proxy(&self) -> Proxy {
        Proxy::from_str(&self.proxy, true).unwrap_or(Proxy::Caddy)
    }
}

/// The questions, with what flags and the environment have answered.
pub(super) struct Questions<'a> {
    args: &'a InitArgs,
    /// Where somebody can be asked.
    keyboard: Option<Keyboard>,
}

impl<'a> Questions<'a> {
    /// Begins to listen for signals where somebody can be asked.
    ///
    /// # Errors
    /// [`CliError::Runtime`]
    pub(super) fn of(args: &'a InitArgs) -> Result<Self, CliError> {
        let asks = io::stdin().is_terminal() && io::stderr().is_terminal();
        let keyboard = asks.then(Keyboard::open).transpose().map_err(CliError::Runtime)?;
        Ok(Self { args, keyboard })
    }

    /// Asks what is not answered, where somebody can be asked.
    ///
    /// # Errors
    /// A flag whose value the server would refuse, and a signal.
    pub(super) fn ask(mut self) -> Result<Answers, CliError> {
        let token = std::env::var("TWILIO_AUTH_TOKEN").ok();
        Ok(Answers {
            account_sid: self.answer(self.args.account_sid.as_deref(), &ACCOUNT_SID)?,
            auth_token: self.answer(token.as_deref(), &AUTH_TOKEN)?,
            phone_number: self.answer(self.args.phone_number.as_deref(), &PHONE_NUMBER)?,
            public_url: self.answer(self.args.public_url.as_deref(), &PUBLIC_URL)?,
            brand: self.answer(self.args.brand.as_deref(), &BRAND)?,
            countries: self.answer(self.args.countries.as_deref(), &COUNTRIES)?,
            proxy: if self.args.systemd {
                self.answer(self.args.proxy.map(Proxy::name), &PROXY)?
            } else {
                String::new()
            },
        })
    }

    fn answer(&mut self, given: Option<&str>, question: &Question) -> Result<String, CliError> {
        if let Some(given) = given {
            let judged = question.judge(given.trim());
            return match judged {
                None => Ok(given.trim().to_owned()),
                Some(Advice { problem, help }) => {
                    Err(CliError::usage(format!("{}: {problem}", question.flag), help))
                }
            };
        }
        let Some(keyboard) = &mut self.keyboard else { return Ok(String::new()) };
        loop {
            // Before the question, which may be answered at once.
            let hidden = question.is_secret.then(Hidden::new);
            output::note(&format!("{} (empty: later)", question.words));
            let answer = keyboard.line();
            if hidden.is_some() {
                // The line break was not shown either.
                output::note("");
            }
            drop(hidden);
            let Some(answer) = answer? else { return Ok(String::new()) };
            let judged = match String::from_utf8(answer) {
                Ok(answer) => {
                    let answer = answer.trim();
                    match question.judge(answer) {
                        None => return Ok(answer.to_owned()),
                        Some(advice) => advice,
                    }
                }
                Err(_) => Advice::new(
                    "that is not text in UTF-8",
                    "set the terminal to UTF-8, or write letters of ASCII",
                ),
            };
            output::note(&format!("  {}\n  {}", judged.problem, judged.help));
        }
    }
}

impl Question {
    /// What is wrong with an answer; an empty one is none.
    fn judge(&self, answer: &str) -> Option<Advice> {
        if answer.is_empty() {
            return None;
        }
        let (variable, needs) = match &self.judge {
            Judge::Key(variable, needs) => (*variable, *needs),
            Judge::Proxy => {
                let is_known = Proxy::from_str(answer, true).is_ok();
                return (!is_known)
                    .then(|| Advice::new("that is neither caddy nor nginx", "write one of the two"));
            }
        };
        let sources = Sources {
            environment: [(variable.to_owned(), answer.to_owned())].into(),
            directory: PathBuf::from("/nonexistent"),
            ..Sources::default()
        };
        let fault = Config::load_for(&sources, needs).err()?.0.into_iter().next()?;
        Some(Advice::new(fault.problem, fault.help))
    }
}

/// Where answers are typed. A signal ends the questions and not the process at once: the terminal is left as it was found, and no
/// half file beside the one that is to be written.
struct Keyboard {
    runtime: Option<Runtime>,
    interrupt: Interrupt,
}

impl Keyboard {
    fn open() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let interrupt = runtime.block_on(async { Interrupt::begin() })?;
        Ok(Self { runtime: Some(runtime), interrupt })
    }

    /// One line; `None` at the end of the input.
    fn line(&mut self) -> Result<Option<Vec<u8>>, CliError> {
        let Self { runtime: Some(runtime), interrupt } = self else { return Ok(None) };
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = interrupt.comes() => {
                    Err(CliError::refused("interrupted: nothing was written", "run it again"))
                }
                line = spawn_blocking(read) => Ok(line.map_err(io::Error::from)??),
            }
        })
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        // Whoever still waits for a line is not waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Reads one line; `None` at the end of the input.
fn read() -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let length = io::stdin().lock().read_until(b'\n', &mut line)?;
    Ok((length > 0).then_some(line))
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden(Option<Termios>);

impl Hidden {
    fn new() -> Self {
        let Ok(before) = tcgetattr(io::stdin()) else { return Self(None) };
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        // A terminal that refuses shows what is typed, as it did before.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &hidden);
        Self(Some(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_judged_as_the_server_judges_it() {
        for (question, good, bad) in [
            (&ACCOUNT_SID, "AC0123456789abcdef0123456789abcdef", "AC123"),
            (&PHONE_NUMBER, "+15005550006", "15005550006"),
            (&PUBLIC_URL, "https://api.example.com", "api.example.com"),
            (&BRAND, "Example & Sons", "Exämplé’s {x}"),
            (&COUNTRIES, "de, AT", "DE, UK"),
            (&PROXY, "Caddy", "apache"),
        ] {
            assert_eq!(question.judge(good), None, "{good}");
            let advice = question.judge(bad).unwrap();
            assert!(!advice.problem.is_empty() && !advice.help.is_empty(), "{bad}: {advice:?}");
            assert_eq!(question.judge(""), None);
        }
        let token = AUTH_TOKEN.judge("\"hush\"").unwrap();
        assert!(!token.problem.contains("hush"), "{token:?}");
    }

    #[test]
    fn a_brand_that_makes_the_text_too_long_is_refused() {
        assert!(BRAND.judge(&"x".repeat(200)).unwrap().problem.contains("shorten"));
    }
}
