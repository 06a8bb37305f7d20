//! The text of a message, and what it costs: one segment of GSM-7 wherever the language can be written in it.

use std::sync::Arc;
use std::time::Duration;

use super::shipped::{BRAND, DEFAULT_BRAND, SHIPPED};
use crate::domain::{Code, Help, Language};
use crate::sms::segments::{self, Alphabet, Size};

/// The text where none is configured.
pub const DEFAULT: &str = SHIPPED[0].code;

/// The most segments that a text may have in an alphabet which GSM-7 lacks.
const MOST_UCS2: usize = 2;

/// The most bytes of which the SMS Retriever takes a message.
const RETRIEVER: usize = 140;

/// The most digits that a code can have.
const WIDEST_CODE: usize = 9;

/// The longest life that a text must have room for, in minutes: almost a week.
const WIDEST_MINUTES: u64 = 9999;

/// What a send may have lost between the drawing of the code and the writing of its text without that the text says
/// a minute less.
const ON_THE_WAY: Duration = Duration::from_secs(15);

/// A text with the places of code and minutes; known to fit into one segment of GSM-7, or two of another alphabet, however it is
/// filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pieces: Arc<[Piece]>,
    language: Option<Language>,
}

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
    /// A sign that would turn the whole text into UCS-2, although all of its letters are in GSM-7.
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
    /// In an alphabet that GSM-7 lacks it does not fit into two segments.
    #[error(
        "with the longest code and life it has {units} characters, of which some are not in GSM-7, and every code would cost \
         three SMS"
    )]
    TooLongUcs2 {
        /// Its length when filled with the widest values.
        units: usize,
    },
    /// The SMS Retriever of Android would not read it.
    #[error("with the longest code and life it has {bytes} bytes, and Android reads {RETRIEVER} at most")]
    TooLongForAndroid {
        /// Its length when filled with the widest values.
        bytes: usize,
    },
}

/// What makes a text dearer than it needs to be, or than others are: no fault, and worth a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Dearer {
    /// A letter of the Latin alphabet that GSM-7 lacks leaves room for 70 characters instead of 160.
    #[error(
        "mixes alphabets: {letter:?} is not in GSM-7 and leaves room for 70 characters instead of 160; a code costs up to {segments} SMS"
    )]
    Mixed {
        /// The first of them.
        letter: char,
        /// What each code costs by it, at most.
        segments: u32,
    },
    /// It has two segments.
    #[error("has more than 70 characters with the longest code and life: a code costs up to two SMS")]
    TwoSegments,
}

impl Help for Dearer {
    fn help(&self) -> String {
        match self {
            Self::Mixed { .. } => "write it with letters of GSM-7 where people read it as well".to_owned(),
            Self::TwoSegments => "shorten it if you can".to_owned(),
        }
    }
}

impl Help for TemplateError {
    fn help(&self) -> String {
        match self {
            Self::Unknown(_) => {
                "write {code} where the code goes, {minutes} where its life in minutes goes, {brand} where sms.brand goes"
                    .into()
            }
            Self::LoneBrace => "braces are for {code}, {minutes} and {brand} only: use ( and ) instead".into(),
            Self::NoCode => "put {code} where the code goes, for example \"Your code is {code}.\"".into(),
            Self::NotGsm7(_) => {
                "replace it by a plain character, such as ' or - or \" for their curly and long forms".into()
            }
            Self::TooLong { units } => format!("shorten it by {}", units - Alphabet::Gsm7.single()),
            Self::TooLongUcs2 { units } => {
                format!("shorten it by {}", units - MOST_UCS2 * Alphabet::Ucs2.joined())
            }
            Self::TooLongForAndroid { bytes } => {
                format!("shorten it by {} (letters outside ASCII have two bytes or more)", bytes - RETRIEVER)
            }
        }
    }
}

impl Template {
    /// Reads a template; `{code}` is required, `{minutes}` is not.
    ///
    /// # Errors
    /// [`TemplateError`], also where the text would not fit into one GSM-7 segment at its widest (a code of
    /// nine digits, a life of 9,999 minutes), or into two segments where its letters are not in GSM-7.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let template = Self { pieces: pieces(text)?.into(), language: None };
        if !template.pieces.contains(&Piece::Code) {
            return Err(TemplateError::NoCode);
        }
        if let Some(strange) = strangers(text).next()
            && !strangers(text).any(char::is_alphabetic)
        {
            return Err(TemplateError::NotGsm7(strange));
        }
        let Size { alphabet, units, .. } = segments::measure(&template.widest());
        match alphabet {
            Alphabet::Gsm7 if units > alphabet.single() => Err(TemplateError::TooLong { units }),
            Alphabet::Ucs2 if units > MOST_UCS2 * alphabet.joined() => {
                Err(TemplateError::TooLongUcs2 { units })
            }
            Alphabet::Gsm7 | Alphabet::Ucs2 => Ok(template),
        }
    }

    /// The same text, said to be in a language.
    #[must_use]
    pub fn in_language(self, language: Language) -> Self {
        Self { language: Some(language), ..self }
    }

    /// The language; `None` where it is the operator's own text, of which nobody says so.
    pub const fn language(&self) -> Option<&Language> {
        self.language.as_ref()
    }

    /// Whether the SMS Retriever of Android reads it however it is filled.
    ///
    /// # Errors
    /// [`TemplateError::TooLongForAndroid`]
    pub fn check_retriever(&self) -> Result<(), TemplateError> {
        let bytes = self.widest().len();
        if bytes > RETRIEVER { Err(TemplateError::TooLongForAndroid { bytes }) } else { Ok(()) }
    }

    /// What makes it dear, if anything does.
    pub fn dearer(&self) -> Option<Dearer> {
        let widest = self.widest();
        let Size { alphabet: Alphabet::Ucs2, segments, .. } = segments::measure(&widest) else { return None };
        let is_latin = |c: char| c < '\u{250}' || ('\u{1e00}'..'\u{1f00}').contains(&c);
        let mut letters = strangers(&widest).filter(|c| c.is_alphabetic());
        match letters.clone().all(is_latin).then(|| letters.next()).flatten() {
            Some(letter) => Some(Dearer::Mixed { letter, segments }),
            None => (segments > 1).then_some(Dearer::TwoSegments),
        }
    }

    /// Filled with the longest code and life.
    pub fn widest(&self) -> String {
        self.fill(&"0".repeat(WIDEST_CODE), WIDEST_MINUTES)
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
        for piece in &*self.pieces {
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
    /// [`DEFAULT`] with the default brand, which a test holds to be good.
    fn default() -> Self {
        let text = DEFAULT.replace(BRAND, DEFAULT_BRAND);
        Self { pieces: pieces(&text).unwrap_or_default().into(), language: Some(SHIPPED[0].language()) }
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

/// The characters that GSM-7 lacks.
fn strangers(text: &str) -> impl Iterator<Item = char> + Clone + '_ {
    text.chars().filter(|c| segments::gsm7_units(*c).is_none())
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
            Template::default().render(&Code::from_number(1234, 6), 10),
            "Your FreshK code is 001234. It expires in 10 minutes. Never share it."
        );
        assert_eq!(Template::default().segments(6, Duration::from_mins(10)), 1);
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

    #[test]
    fn a_text_whose_letters_gsm7_lacks_has_two_segments_at_most() {
        let of = |letters: usize| Template::parse(&format!("{{code}}{}", "ж".repeat(letters)));
        assert_eq!(of(61).unwrap().dearer(), None);
        assert_eq!(of(62).unwrap().dearer(), Some(Dearer::TwoSegments));
        assert!(of(125).is_ok());
        let long = of(126).unwrap_err();
        assert_eq!(long, TemplateError::TooLongUcs2 { units: 135 });
        assert_eq!(long.help(), "shorten it by 1");
        // A sign has a plain form, a letter has not.
        for sign in ["—", "…", "\u{1f600}", "“"] {
            assert!(
                matches!(Template::parse(&format!("{{code}} {sign}")), Err(TemplateError::NotGsm7(_))),
                "{sign}"
            );
        }
    }

    #[test]
    fn a_latin_letter_that_gsm7_lacks_is_told_with_what_it_costs() {
        let of = |text: &str| Template::parse(text).unwrap().dearer();
        assert_eq!(of("Código {code}"), Some(Dearer::Mixed { letter: 'ó', segments: 1 }));
        let long = format!("{} kod: {{code}}", "şifre ".repeat(12));
        assert_eq!(of(&long), Some(Dearer::Mixed { letter: 'ş', segments: 2 }));
        assert!(of(&long).unwrap().to_string().contains("'ş'"));
        assert_eq!(of("Clé é è {code}"), None);
        assert_eq!(of("代码 {code}"), None);
        assert_eq!(of("Ваш код Ł: {code}"), None, "the alphabet is another one anyway");
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
