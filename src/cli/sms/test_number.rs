//! `freshk sms test-number`: numbers that log in with a fixed code, without an SMS.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::auth::operator::TestNumberRefusal;
use crate::cli::admin::{AdminContext, LIMITS_WRITING, WRITING};
use crate::cli::error::Advice;
use crate::cli::output::Output;
use crate::cli::{CliError, Global, when};
use crate::config::instant;
use crate::domain::test_number::MAX_TEST_NUMBERS;
use crate::domain::{Code, NewTestNumber, PhoneNumber, TestNumber, Timestamp};
use crate::storage::Locks;

/// What can be done with test numbers.
#[derive(Debug, Subcommand)]
pub enum TestNumberCommand {
    /// Let a number log in with a fixed code, without an SMS
    #[command(after_long_help = "\
Examples:
  code=$(shuf -rn6 -i0-9 | tr -d '\\n')
  freshk sms test-number add +15005550006 --code \"$code\" --until 2026-12-31
  freshk sms test-number add +15005550006 --code \"$code\" --until 14d --json

For app-store review and CI. The app asks for a code as ever, and gives this one: nothing is sent, and the phone's \
quota is not touched; those of the address are, and wrong codes count. What such a login opens ends with the test \
number. Adding it again changes its code and end. A running server sees it at once.")]
    Add {
        /// The phone, in international format
        phone: String,
        /// Its code, of otp.length digits, drawn at random: one that is easily guessed is refused
        #[arg(long)]
        code: String,
        /// The last day (UTC), an instant, or a duration from now: 2026-12-31, 14d; a year at most
        #[arg(long)]
        until: String,
        /// The number belongs to a user, and the code may log that user in
        #[arg(long)]
        existing_user: bool,
    },
    /// List test numbers; never a code
    #[command(after_long_help = "\
Examples:
  freshk sms test-number list --show-phones
  freshk sms test-number list --json")]
    List,
    /// Make a test number an ordinary number again
    #[command(after_long_help = "\
Example:
  freshk sms test-number remove +15005550006

Its user stays, and so do sessions that it opened, until the number would have ended: `freshk user logout` ends \
them, `freshk user delete` the user.")]
    Remove {
        /// The phone, in international format
        phone: String,
    },
}

/// Runs a command.
///
/// # Errors
/// [`CliError`]
pub fn run(command: &TestNumberCommand, global: &Global, output: &mut Output) -> Result<(), CliError> {
    match command {
        TestNumberCommand::Add { phone, code, until, existing_user } => {
            let admin = AdminContext::open_or_make(global, LIMITS_WRITING)?;
            add(&admin, output, [phone, code, until], *existing_user)
        }
        TestNumberCommand::List => list(&AdminContext::open(global, WRITING)?, output),
        TestNumberCommand::Remove { phone } => remove(&AdminContext::open(global, WRITING)?, output, phone),
    }
}

fn add(
    admin: &AdminContext,
    output: &mut Output,
    [phone, code, until]: [&str; 3],
    existing_user: bool,
) -> Result<(), CliError> {
    let (phone, length) = (admin.phone(phone)?, admin.config.otp.length);
    if !admin.config.phone.sends_to(&phone) {
        return Err(CliError::refused(
            format!("the country of {} is not sent to", admin.shown(&phone)),
            "add it to phone.allowed_countries, take it out of phone.denied_countries, or choose another number",
        ));
    }
    let code = Code::parse(code, length)
        .ok_or_else(|| CliError::usage("that is no code", format!("give {length} digits (otp.length)")))?;
    let until = end(until, admin.now())?;
    let new = NewTestNumber::new(phone.clone(), code, until, existing_user).map_err(|weak| {
        CliError::refused(
            format!("that code is easily guessed: {weak}"),
            format!("draw one at random, for example with: shuf -rn{length} -i0-9 | tr -d '\\n'"),
        )
    })?;
    let number = admin
        .act(locks(&phone), move |operator| operator.add_test_number(&new))?
        .map_err(|refusal| CliError::Refused(reason(refusal, &admin.shown(&phone), "--existing-user")))?;
    if output.json {
        return Ok(output.json(&document(admin, &number))?);
    }
    Ok(output.sentences(&format!(
        "{} logs in with that code, without an SMS, until {}\n",
        admin.shown(&phone),
        when::long(until)
    ))?)
}

fn list(admin: &AdminContext, output: &mut Output) -> Result<(), CliError> {
    let numbers = admin.read(|view| view.test_numbers())?;
    if output.json {
        let numbers: Vec<_> = numbers.iter().map(|number| document(admin, number)).collect();
        return Ok(output.json(&json!({ "test_numbers": numbers, "total": numbers.len() }))?);
    }
    let rows = numbers.iter().map(|number| {
        [
            admin.shown(&number.phone),
            state(admin, number).to_owned(),
            when::short(number.until),
            number.source.as_str().to_owned(),
        ]
    });
    Ok(output.table(["phone", "state", "until (UTC)", "by"], rows)?)
}

fn remove(admin: &AdminContext, output: &mut Output, phone: &str) -> Result<(), CliError> {
    let phone = admin.phone_to_find(phone)?;
    let (gone, shown) = (phone.clone(), admin.shown(&phone));
    admin
        .act(locks(&phone), move |operator| operator.remove_test_number(&gone))?
        .map_err(|refusal| CliError::Refused(reason(refusal, &shown, "--existing-user")))?;
    if output.json {
        return Ok(output.json(&json!({ "phone_number": shown, "removed": true }))?);
    }
    Ok(output.sentences(&format!(
        "{shown} is an ordinary number again\n`freshk user logout` ends the sessions that it opened\n"
    ))?)
}

fn locks(phone: &PhoneNumber) -> Locks {
    Locks::none().test_numbers().phone(phone)
}

/// Why a number was refused, and what to do; `allow` is how the operator says that an existing user is meant.
pub fn reason(refusal: TestNumberRefusal, phone: &str, allow: &str) -> Advice {
    match refusal {
        TestNumberRefusal::Ended => Advice::new("the end has passed", "give a later day"),
        TestNumberRefusal::TooFar => Advice::new(
            format!("{phone} would be a test number for more than a year"),
            "give an earlier end, and renew it then",
        ),
        TestNumberRefusal::TooMany => Advice::new(
            format!("there are {MAX_TEST_NUMBERS} test numbers already"),
            "`freshk sms test-number remove` removes one",
        ),
        TestNumberRefusal::Configured => Advice::new(
            format!("{phone} is named by the configuration"),
            "change sms.test_numbers there, and restart the server",
        ),
        TestNumberRefusal::User(user) => Advice::new(
            format!("{phone} is the number of user {user}, whom the code would log in"),
            format!("if that is intended, say so with {allow}"),
        ),
        TestNumberRefusal::Unknown => {
            Advice::new(format!("{phone} is no test number"), "`freshk sms test-number list` shows them")
        }
    }
}

fn end(text: &str, now: Timestamp) -> Result<Timestamp, CliError> {
    if let Ok(duration) = humantime::parse_duration(text) {
        return Ok(now + duration);
    }
    instant::end(text).map_err(|right| {
        let help = format!("{right}, or a duration from now such as 14d");
        CliError::usage(format!("{text:?} is not an instant"), help)
    })
}

/// A secret that is no longer configured took the number's code with it.
fn state(admin: &AdminContext, number: &TestNumber) -> &'static str {
    if !number.is_good(admin.now()) {
        "ended"
    } else if admin.keys().is_ok_and(|keys| keys.numbered(number.hash.key).is_none()) {
        "lost its key: add it again"
    } else {
        "good"
    }
}

fn document(admin: &AdminContext, number: &TestNumber) -> Value {
    json!({
        "phone_number": admin.shown(&number.phone),
        "state": state(admin, number),
        "until": number.until.iso(),
        "source": number.source.as_str(),
    })
}
