//! The text of the message: one segment of GSM-7, so that every code costs one SMS.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Code, Help};
use crate::sms::segments::{self, Alphabet};

/// The text where none is configured.
pub const DEFAULT: &str = "Your FreshK code is {code}. It expires in {minutes} minutes. Never share it.";

/// The most digits that a code can have.
const WIDEST_CODE: usize = 9;

/// The longest life that a text must have room for, in minutes: almost a week.
const WIDEST_MINUTES: u64 = 9999;

/// What a send may have lost between the drawing of the code and the writing of its text without that the text says
/// a minute less.
const ON_THE_WAY: Duration = Duration::from_secs(15);

/// A text with the places of code and minutes; known to fit into one GSM-7 segment however it is filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Arc<[Piece]>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Code,
    Minutes,
}

/// What is wrong with a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A placeholder that nobody fills.
    #[error("{{{0}}} is no placeholder")]
    Unknown(String),
    /// A brace that neither opens nor closes a placeholder.
    #[error("a brace stands alone")]
    LoneBrace,
    /// The code is missing.
    #[error("{{code}} is missing")]
    NoCode,
    /// A character that would turn the whole text into UCS-2.
    #[error("{0:?} is not in the GSM-7 alphabet and would leave room for 70 characters only")]
    NotGsm7(char),
    /// It does not fit into one segment.
    #[error(
        "with the longest code and life it has {units} characters (^{{}}\\[~]|€ count two), and every code would cost two SMS"
    )]
    TooLong {
        /// Its length when filled with the widest values.
        units: usize,
    },
}

impl Help for TemplateError {
    fn help(&self) -> String {
        match self {
            Self::Unknown(_) => {
                "write {code} where the code goes, {minutes} where its life in minutes goes".into()
            }
            Self::LoneBrace => "braces are for {code} and {minutes} only: use ( and ) instead".into(),
            Self::NoCode => "put {code} where the code goes, for example \"Your code is {code}.\"".into(),
            Self::NotGsm7(_) => {
                "replace it by a plain character, such as ' or - or \" for their curly and long forms".into()
            }
            Self::TooLong { units } => format!("shorten it by {}", units - Alphabet::Gsm7.single()),
        }
    }
}

impl Template {
    /// Reads a template; `{code}` is required, `{minutes}` is not.
    ///
    /// # Errors
    /// [`TemplateError`], also where the text would not fit into one GSM-7 segment at its widest (a code of
    /// nine digits, a life of 9,999 minutes).
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let template = Self(pieces(text)?.into());
        if !template.0.contains(&Piece::Code) {
            return Err(TemplateError::NoCode);
        }
        if let Some(strange) = text.chars().find(|c| segments::gsm7_units(*c).is_none()) {
            return Err(TemplateError::NotGsm7(strange));
        }
        let widest = segments::measure(&template.fill(&"0".repeat(WIDEST_CODE), WIDEST_MINUTES));
        if widest.units > Alphabet::Gsm7.single() {
            return Err(TemplateError::TooLong { units: widest.units });
        }
        Ok(template)
    }

    /// The text that tells a number that it will be replaced after `delay`, with the code that takes the change back.
    pub fn phone_change(delay: Duration) -> Self {
        let hours = delay.as_secs().div_ceil(3600);
        let unit = if hours == 1 { "hour" } else { "hours" };
        let begin =
            format!("Your account gets another phone number in {hours} {unit}. If this was not you, enter ");
        let end = " in the app to keep this number.";
        Self([Piece::Text(begin), Piece::Code, Piece::Text(end.to_owned())].into())
    }

    /// Writes the text. For a life of one minute the word `minutes` right after its number becomes `minute`.
    pub fn render(&self, code: &Code, minutes: u64) -> String {
        self.fill(code.digits(), minutes)
    }

    /// What a code of `code_length` digits that lives for `ttl` costs.
    pub fn segments(&self, code_length: usize, ttl: Duration) -> u32 {
        segments::measure(&self.fill(&"0".repeat(code_length), minutes(ttl))).segments
    }

    fn fill(&self, code: &str, minutes: u64) -> String {
        let mut text = String::new();
        let mut one = false;
        for piece in &*self.0 {
            match piece {
                Piece::Text(words) if one => text.push_str(&singular(words)),
                Piece::Text(words) => text.push_str(words),
                Piece::Code => text.push_str(code),
                Piece::Minutes => text.push_str(&minutes.to_string()),
            }
            one = *piece == Piece::Minutes && minutes == 1;
        }
        text
    }
}

impl Default for Template {
    /// [`DEFAULT`], which a test holds to be good.
    fn default() -> Self {
        Self(pieces(DEFAULT).unwrap_or_default().into())
    }
}

/// The life that is `left`, as the text says it: whole minutes, rounded down, at least one; a few seconds lost on the
/// way are forgiven, so that ten minutes do not read as nine.
pub fn minutes(left: Duration) -> u64 {
    ((left + ON_THE_WAY).as_secs() / 60).max(1)
}

fn pieces(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (words, from_brace) = rest.split_at(at);
        let (name, after) = from_brace
            .strip_prefix('{')
            .and_then(|opened| opened.split_once('}'))
            .ok_or(TemplateError::LoneBrace)?;
        if !words.is_empty() {
            pieces.push(Piece::Text(words.to_owned()));
        }
        pieces.push(match name {
            "code" => Piece::Code,
            "minutes" => Piece::Minutes,
            other => return Err(TemplateError::Unknown(other.to_owned())),
        });
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

fn singular(words: &str) -> String {
    match words.strip_prefix(" minutes") {
        Some(rest) if !rest.starts_with(char::is_alphanumeric) => format!(" minute{rest}"),
        _ => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn render(template: &str, minutes: u64) -> String {
        Template::parse(template).unwrap().render(&Code::from_number(1234, 6), minutes)
    }

    #[test]
    fn the_default_reads_well() {
        assert_eq!(
            render(DEFAULT, 10),
            "Your FreshK code is 001234. It expires in 10 minutes. Never share it."
        );
        assert_eq!(Template::parse(DEFAULT), Ok(Template::default()));
        assert_eq!(Template::default().segments(6, Duration::from_mins(10)), 1);
    }

    #[test]
    fn the_notice_of_a_change_of_number_has_its_code_first_and_costs_one_segment() {
        let of = |hours| Template::phone_change(Duration::from_hours(hours)).fill("001234567", 1);
        assert_eq!(
            of(24),
            "Your account gets another phone number in 24 hours. If this was not you, enter 001234567 in the app to keep \
             this number."
        );
        assert!(of(1).contains(" in 1 hour. "));
        for hours in [1, 24, 720] {
            assert_eq!(segments::measure(&of(hours)).segments, 1);
        }
    }

    #[test]
    fn one_minute_is_singular() {
        assert_eq!(render("{code} for {minutes} minutes", 1), "001234 for 1 minute");
        assert_eq!(render("{code}: {minutes} minutes.", 1), "001234: 1 minute.");
        assert_eq!(render("{code}: {minutes} min", 1), "001234: 1 min");
        assert_eq!(render("{code}: {minutes} minutesque", 1), "001234: 1 minutesque");
        assert_eq!(render("{code}: {minutes}, no minutes", 1), "001234: 1, no minutes");
    }

    #[test]
    fn minutes_are_optional_and_places_may_repeat() {
        assert_eq!(render("{code}", 10), "001234");
        assert_eq!(render("{code}\n@freshk.example #{code}", 10), "001234\n@freshk.example #001234");
    }

    #[test]
    fn minutes_forgive_the_way_but_promise_no_more_than_is_left() {
        let said = [(600, 10), (599, 10), (586, 10), (584, 9), (90, 1), (60, 1), (5, 1), (0, 1)];
        for (seconds, expected) in said {
            assert_eq!(minutes(Duration::from_secs(seconds)), expected, "{seconds}");
        }
    }

    #[test]
    fn an_error_says_what_is_wrong_and_how_to_correct_it() {
        let fault = |text: &str| Template::parse(text).unwrap_err();
        assert_eq!(fault("Hello"), TemplateError::NoCode);
        assert_eq!(fault("{code} {name}"), TemplateError::Unknown("name".to_owned()));
        assert_eq!(fault("{CODE}"), TemplateError::Unknown("CODE".to_owned()));
        for lone in ["{code", "{code} }", "code}", "{code} {"] {
            assert_eq!(fault(lone), TemplateError::LoneBrace, "{lone}");
        }
        assert_eq!(fault("{code} it’s"), TemplateError::NotGsm7('’'));
        let long = fault(&format!("{{code}}{}", "a".repeat(160)));
        assert_eq!(long, TemplateError::TooLong { units: 169 });
        assert_eq!(long.help(), "shorten it by 9");
        assert!(fault("{name}").to_string().starts_with("{name} is no placeholder"));
    }

    #[test]
    fn the_widest_filling_decides() {
        assert!(Template::parse(&format!("{{code}}{}", "a".repeat(151))).is_ok());
        assert!(Template::parse(&format!("{{code}}{}", "a".repeat(152))).is_err());
        assert!(Template::parse(&format!("{{code}}{{minutes}}{}", "a".repeat(148))).is_err());
        assert!(Template::parse(&format!("{{code}}{}", "€".repeat(76))).is_err());
    }

    proptest! {
        #[test]
        fn whatever_parses_costs_one_segment(text in "[a-zA-Z .€|]{0,170}", minutes in 0u64..10_000, length in 4usize..10) {
            if let Ok(template) = Template::parse(&format!("{text}{{code}} {{minutes}} minutes")) {
                let rendered = template.render(&Code::from_number(7, length), minutes);
                prop_assert_eq!(segments::measure(&rendered).segments, 1);
            }
        }

        #[test]
        fn parsing_never_panics(text in any::<String>()) {
            let _ = Template::parse(&text);
        }
    }
}
