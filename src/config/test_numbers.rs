//! `[[sms.test_numbers]]`: tables in the file, `phone=code@until` in the environment, perhaps with
//! `@existing_user` after it.

use super::fault::quoted;
use super::instant;
use super::key::Key;
use super::reader::Reader;
use super::value;
use crate::domain::test_number::MAX_TEST_NUMBERS;
use crate::domain::{Code, NewTestNumber, PhonePolicy};

/// How many digits codes have, and what phones are taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digits<'a> {
    pub(super) code: usize,
    pub(super) phones: &'a PhonePolicy,
}

/// One test number before it is judged. No fault shows the code.
#[derive(Default)]
struct Row {
    phone: String,
    code: String,
    until: String,
    existing_user: String,
}

/// All of them; each that is wrong is told.
pub(super) fn read(reader: &mut Reader<'_>, key: &Key, digits: Digits<'_>) -> Vec<NewTestNumber> {
    let (rows, origin) = reader.rows(key, Row::from_table, Row::from_text);
    let mut numbers: Vec<NewTestNumber> = Vec::new();
    for row in rows {
        match row.and_then(|row| row.judge(digits)) {
            Ok(number) if numbers.iter().any(|other| other.phone == number.phone) => {
                reader.bad(key, &origin, format!("{} stands there twice", quoted(number.phone.as_str())));
            }
            Ok(number) => numbers.push(number),
            Err(problem) => reader.bad(key, &origin, problem),
        }
    }
    if numbers.len() > MAX_TEST_NUMBERS {
        reader.bad(key, &origin, format!("{} are too many: {MAX_TEST_NUMBERS} is the most", numbers.len()));
    }
    numbers
}

impl Row {
    fn from_table(fields: &[(String, String)]) -> Result<Self, String> {
        let mut row = Self::default();
        for (name, value) in fields {
            let field = match name.as_str() {
                "phone" => &mut row.phone,
                "code" => &mut row.code,
                "until" => &mut row.until,
                "existing_user" => &mut row.existing_user,
                other => return Err(format!("{} is nothing that a test number has", quoted(other))),
            };
            value.trim().clone_into(field);
        }
        Ok(row)
    }

    fn from_text(item: &str) -> Result<Self, String> {
        let parts = item.split_once('=').and_then(|(phone, rest)| Some((phone, rest.split_once('@')?)));
        let (phone, (code, until)) = parts.ok_or("one is not of the form phone=code@until")?;
        let (until, existing_user) = match until.split_once('@') {
            None => (until, ""),
            Some((until, "existing_user")) => (until, "true"),
            Some(_) => {
                return Err("after the end of one stands something that is not @existing_user".to_owned());
            }
        };
        let [phone, code, until, existing_user] =
            [phone, code, until, existing_user].map(|part| part.trim().to_owned());
        Ok(Self { phone, code, until, existing_user })
    }

    fn judge(self, digits: Digits<'_>) -> Result<NewTestNumber, String> {
        let Self { phone, code, until, existing_user } = self;
        let number = digits.phones.read(&phone).map_err(|error| {
            // Whoever swaps the two has the code stand here.
            let is_code = Code::parse(&phone, digits.code).is_some();
            let shown = if is_code { "(not shown)".to_owned() } else { quoted(&phone) };
            format!("phone {shown} is {error}")
        })?;
        if !digits.phones.sends_to(&number) {
            return Err(format!(
                "the country of phone {} is not among those that phone.allowed_countries and phone.denied_countries leave",
                quoted(&phone)
            ));
        }
        let code = Code::parse(&code, digits.code).ok_or_else(|| {
            format!("the code of {} (not shown) is not of {} digits", quoted(&phone), digits.code)
        })?;
        let until = instant::end(&until)
            .map_err(|right| format!("until of {} is {}: {right}", quoted(&phone), quoted(&until)))?;
        let existing_user = !existing_user.is_empty() && value::switch(&existing_user)?;
        NewTestNumber::new(number, code, until, existing_user)
            .map_err(|weak| format!("the code of {} (not shown) would be guessed: {weak}", quoted(&phone)))
    }
}
