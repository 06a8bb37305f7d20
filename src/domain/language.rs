//! Languages, and which of several texts somebody wants who says so in `Accept-Language` (RFC 9110 §12.5.4, RFC 4647 §3.4).

use std::fmt;
use std::str::FromStr;

/// A language tag (RFC 5646) in small letters: `fr`, `pt-br`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Language(String);

/// Not a language tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a language tag such as fr or pt-BR")]
pub struct NotALanguage;

impl Language {
    /// A tag that the program itself names, in small letters.
    pub fn of(tag: &'static str) -> Self {
        Self(tag.to_owned())
    }

    /// The tag in small letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Language {
    type Err = NotALanguage;

    /// Reads two or three letters, perhaps with subtags of one to eight letters and digits behind hyphens, in any case.
    fn from_str(text: &str) -> Result<Self, NotALanguage> {
        if is_tag(text) { Ok(Self(today(text))) } else { Err(NotALanguage) }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The longest tag that is read (RFC 5646 §4.4.1).
const LONGEST: usize = 35;

fn is_tag(text: &str) -> bool {
    let mut subtags = text.split('-');
    text.len() <= LONGEST
        && subtags.next().is_some_and(|first| {
            (2..=3).contains(&first.len()) && first.bytes().all(|b| b.is_ascii_alphabetic())
        })
        && subtags.all(|subtag| {
            (1..=8).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphanumeric())
        })
}

/// In small letters, and Indonesian by its code of today: older Android says `in`.
fn today(tag: &str) -> String {
    let tag = tag.to_ascii_lowercase();
    match tag.strip_prefix("in") {
        Some(rest) if rest.is_empty() || rest.starts_with('-') => format!("id{rest}"),
        _ => tag,
    }
}

/// The languages that somebody wants, the most wanted first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Languages {
    /// `None`: whatever there is (`*`).
    wanted: Vec<Option<String>>,
    /// Those with a weight of 0.
    refused: Vec<String>,
}

/// How many languages of a header count. Browsers send five or six; whatever stands behind is not looked at.
const MOST: usize = 20;

/// A weight of 1, in thousandths.
const WHOLE: u16 = 1000;

impl Languages {
    /// Reads the value of `Accept-Language`. What is malformed in it is passed over.
    pub fn parse(header: &str) -> Self {
        let mut weighed: Vec<(u16, Option<String>)> = header
            .split(',')
            .take(MOST)
            .filter_map(|item| {
                let (tag, parameters) = item.split_once(';').unwrap_or((item, ""));
                let (tag, parameters) = (tag.trim(), parameters.trim());
                let weight = if parameters.is_empty() { Some(WHOLE) } else { weight(parameters) };
                let tag = if tag == "*" { None } else { Some(is_tag(tag).then(|| today(tag))?) };
                Some((weight?, tag))
            })
            .collect();
        // Of equal ones the first that stands there is wanted most.
        weighed.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        let (wanted, refused): (Vec<_>, Vec<_>) = weighed.into_iter().partition(|(weight, _)| *weight > 0);
        Self {
            wanted: wanted.into_iter().map(|(_, tag)| tag).collect(),
            refused: refused.into_iter().filter_map(|(_, tag)| tag).collect(),
        }
    }

    /// The text that is wanted most. A text in `pt` does for who wants `pt-BR`; `None` where none does, or where anything does.
    pub fn choose<'t, T>(&self, texts: &'t [T], language: impl Fn(&T) -> &Language) -> Option<&'t T> {
        for wanted in &self.wanted {
            let mut tag = wanted.as_deref()?;
            loop {
                let found = texts.iter().find(|text| language(text).as_str() == tag);
                if found.is_some() && !self.refused.iter().any(|refused| refused == tag) {
                    return found;
                }
                let Some((shorter, _)) = tag.rsplit_once('-') else { break };
                tag = shorter;
            }
        }
        None
    }
}

/// The weight in `q=0.8`, in thousandths.
fn weight(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let (whole, part) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
    if part.len() > 3 || !part.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{part:0<3}").parse::<u16>().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(WHOLE),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chosen(header: &str) -> String {
        let texts: Vec<Language> =
            ["en", "fr", "pt", "pt-br", "zh", "id"].iter().map(|tag| tag.parse().unwrap()).collect();
        let chosen = Languages::parse(header).choose(&texts, |language| language);
        chosen.map_or_else(|| "none".to_owned(), Language::to_string)
    }

    #[test]
    fn the_language_with_the_most_weight_is_chosen_and_of_equal_ones_the_first() {
        for (header, language) in [
            ("fr", "fr"),
            ("FR-ca", "fr"),
            ("fr;q=0.8, en;q=0.9", "en"),
            ("de, fr;q=0.5", "fr"),
            ("pt, fr", "pt"),
            ("fr;q=0.500,en;q=0.5", "fr"),
            ("pt-BR,pt;q=0.9,en-US;q=0.8", "pt-br"),
            ("pt-PT", "pt"),
            ("zh-Hant-TW", "zh"),
            ("in-ID", "id"),
            ("fr ; q=1.000", "fr"),
        ] {
            assert_eq!(chosen(header), language, "{header}");
        }
    }

    #[test]
    fn where_nothing_or_anything_is_wanted_none_is_chosen() {
        for header in
            ["", "*", "de", "*, fr;q=0.5", "fr;q=0", "fr-FR, fr;q=0", "französisch", "fr_FR", "english"]
        {
            assert_eq!(chosen(header), "none", "{header}");
        }
        assert_eq!(chosen("de, *;q=0.5, fr;q=0.1"), "none");
    }

    #[test]
    fn what_is_malformed_is_passed_over() {
        for header in
            ["fr;q=2, en", "fr;q=0.1234, en", "fr;level=1, en", "fr;q=, en", ",,;, en", "f, en", "-, en"]
        {
            assert_eq!(chosen(header), "en", "{header}");
        }
    }

    #[test]
    fn a_header_of_8_kib_is_read_to_its_twentieth_language_only() {
        let many = format!("{}en", "de,".repeat(2700));
        assert!(many.len() > 8000);
        assert_eq!(chosen(&many), "none");
        let long = format!("{},en", "x".repeat(8192));
        assert_eq!(chosen(&long), "en");
        assert!(Languages::parse(&many).wanted.len() <= MOST);
    }

    #[test]
    fn a_tag_is_read_in_any_case_and_others_are_none() {
        assert_eq!("pt-BR".parse::<Language>().unwrap().as_str(), "pt-br");
        for bad in ["", "f", "english", "fr_FR", "fr-", "-fr", "fr--ca", "1a", "fr-abcdefghi", "f\u{e9}"] {
            assert_eq!(bad.parse::<Language>(), Err(NotALanguage), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics_and_what_is_chosen_is_there(header in ".{0,200}") {
            chosen(&header);
        }

        #[test]
        fn headers_of_the_usual_form_are_understood(
            items in proptest::collection::vec(("[a-z]{2}(-[A-Z]{2})?", 0u16..=1000), 1..8)
        ) {
            let written: Vec<_> =
                items.iter().map(|(tag, q)| format!("{tag};q={}.{:03}", q / 1000, q % 1000)).collect();
            let read = Languages::parse(&written.join(", "));
            prop_assert_eq!(read.wanted.len() + read.refused.len(), items.len());
        }
    }

    #[test]
    fn a_tag_has_at_most_35_characters_and_letters_and_digits_alone() {
        let longest = format!("fra{}", "-abcdefg".repeat(4));
        assert_eq!((longest.len(), longest.parse::<Language>().is_ok()), (LONGEST, true));
        assert!(format!("{longest}h").parse::<Language>().is_err());
        for bad in ["fr-c!", "fr-a_b", "f1", "frfr", "fr-é"] {
            assert!(bad.parse::<Language>().is_err(), "{bad}");
        }
        assert_eq!(["in", "in-ID", "inh", "ind"].map(today), ["id", "id-id", "inh", "ind"]);
    }

    #[test]
    fn a_malformed_tag_or_weight_asks_for_nothing_and_a_refused_one_refuses_itself_alone() {
        for header in ["fr-!", "fr;q=1.5", "fr;q=0.+1", "fr;q=0.-1", "fr;q=+0.5"] {
            assert_eq!(chosen(header), "none", "{header}");
        }
        assert_eq!(chosen("fr, de;q=0"), "fr");
    }
}
