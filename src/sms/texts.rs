//! The texts of all languages, and which one somebody gets.

use std::sync::Arc;
use std::time::Duration;

use super::shipped::{BRAND, NOTICE, SHIPPED, Shipped};
use super::template::{Template, TemplateError};
use crate::domain::{Language, Languages};

pub use super::shipped::DEFAULT_BRAND;

/// The lines by which a phone finds the code and fills it in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Autofill {
    /// The hash of the Android app, for the SMS Retriever.
    pub android_hash: Option<String>,
    /// The host for which `WebOTP` and iOS take the code.
    pub webotp_domain: Option<String>,
}

/// How texts are put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wording {
    /// The name of the app.
    pub brand: String,
    /// The lines behind the text.
    pub autofill: Autofill,
}

impl Wording {
    /// A text with its brand and its lines for autofill: an empty line, the hash of the Android app, and as last line host and
    /// code.
    ///
    /// # Errors
    /// [`TemplateError`], also where Android would not read the whole.
    pub fn template(&self, text: &str) -> Result<Template, TemplateError> {
        let Autofill { android_hash, webotp_domain } = &self.autofill;
        let host = webotp_domain.as_ref().map(|host| format!("@{host} #{{code}}"));
        let lines: Vec<_> = android_hash.iter().chain(&host).map(String::as_str).collect();
        let mut text = text.replace(BRAND, &self.brand);
        if !lines.is_empty() {
            text = format!("{text}\n\n{}", lines.join("\n"));
        }
        let template = Template::parse(&text)?;
        if android_hash.is_some() {
            template.check_retriever()?;
        }
        Ok(template)
    }

    /// The text that the program brings along for where no language is wanted or known.
    ///
    /// # Errors
    /// As [`Self::template`]
    pub fn default_text(&self) -> Result<Template, TemplateError> {
        self.in_language(&SHIPPED[0]).map(|(_, template)| template)
    }

    /// The texts that the program brings along for other languages, in their order; with the error those that do not fit.
    pub fn shipped(
        &self,
    ) -> impl Iterator<Item = Result<(Language, Template), (&'static str, TemplateError)>> {
        SHIPPED.iter().map(|shipped| self.in_language(shipped).map_err(|error| (shipped.language, error)))
    }

    fn in_language(&self, shipped: &Shipped) -> Result<(Language, Template), TemplateError> {
        let language = shipped.language();
        Ok((language.clone(), self.template(shipped.code)?.in_language(language)))
    }
}

impl Default for Wording {
    fn default() -> Self {
        Self { brand: DEFAULT_BRAND.to_owned(), autofill: Autofill::default() }
    }
}

/// The texts of all languages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    /// Where no language is wanted, or none that is there.
    default: Template,
    by_language: Arc<[(Language, Template)]>,
}

impl Texts {
    /// The texts of some languages, each known by its own; `default` for all others.
    pub fn new(default: Template, by_language: Vec<(Language, Template)>) -> Self {
        Self { default, by_language: by_language.into() }
    }

    /// The text with a code, in the language that is wanted most.
    pub fn code(&self, wanted: &Languages) -> &Template {
        let chosen = wanted.choose(&self.by_language, |(language, _)| language);
        chosen.map_or(&self.default, |(_, template)| template)
    }

    /// Every text: first the one for where no language is wanted or known.
    pub fn all(&self) -> impl Iterator<Item = &Template> {
        std::iter::once(&self.default).chain(self.by_language.iter().map(|(_, template)| template))
    }
}

impl Default for Texts {
    /// What the program brings along.
    fn default() -> Self {
        let shipped = Wording::default().shipped().filter_map(Result::ok).collect();
        Self::new(Template::default(), shipped)
    }
}

/// The text that tells a number that it will be replaced after `delay`, with the code that takes the change back.
pub fn notice(delay: Duration) -> Template {
    let hours = match delay.as_secs().div_ceil(3600) {
        1 => "1 hour".to_owned(),
        hours => format!("{hours} hours"),
    };
    // A test holds that it is good.
    let template = Template::parse(&NOTICE.replace("{hours}", &hours)).unwrap_or_default();
    template.in_language(SHIPPED[0].language())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Code;
    use crate::sms::segments::{self, Alphabet};

    fn wanted(header: &str) -> Languages {
        Languages::parse(header)
    }

    fn both_lines() -> Wording {
        let autofill = Autofill {
            android_hash: Some("FA+9qCX9VSu".to_owned()),
            webotp_domain: Some("freshk.example".to_owned()),
        };
        Wording { autofill, ..Wording::default() }
    }

    fn shown(template: &Template) -> String {
        template.render(&Code::from_number(123_456, 6), 10)
    }

    #[test]
    fn twelve_languages_are_brought_along_and_the_caller_chooses() {
        let texts = Texts::default();
        assert_eq!(texts.all().count(), 13);
        let begins = |header: &str, begin: &str| {
            let text = shown(texts.code(&wanted(header)));
            assert!(text.starts_with(begin), "{header}: {text}");
        };
        begins("", "Your FreshK code is 123456. It expires in 10 minutes. Never share it.");
        begins("xx", "Your FreshK");
        begins("en-GB", "Your FreshK");
        begins("de-AT, en;q=0.5", "Ihr FreshK-Code ist 123456.");
        begins("pt-BR", "Seu PIN FreshK é 123456.");
        begins("in", "Kode FreshK Anda 123456.");
        begins("zh-Hans-CN", "您的FreshK验证码是123456");
        assert_eq!(texts.code(&wanted("fr")).language().unwrap().as_str(), "fr");
    }

    #[test]
    fn every_text_that_is_brought_along_costs_one_segment_however_it_is_filled() {
        for shipped in Wording::default().shipped() {
            let (language, template) = shipped.unwrap();
            assert_eq!(segments::measure(&template.widest()).segments, 1, "{language}");
        }
        for hours in [1, 24, 720] {
            let notice = notice(Duration::from_hours(hours));
            assert_eq!(notice.language().unwrap().as_str(), "en");
            assert_ne!(notice, Template::default());
            assert_eq!(segments::measure(&notice.widest()).segments, 1, "{hours}");
        }
    }

    #[test]
    fn latin_languages_stay_within_gsm7() {
        for shipped in &SHIPPED {
            let latin = !["ar", "hi", "zh"].contains(&shipped.language);
            let text = shipped.code.replace(['{', '}'], "");
            assert_eq!(segments::measure(&text).alphabet == Alphabet::Gsm7, latin, "{text}");
        }
    }

    #[test]
    fn the_notice_of_a_change_of_number_is_in_english() {
        let of = |hours| shown(&notice(Duration::from_hours(hours)));
        assert_eq!(
            of(24),
            "Your account gets another phone number in 24 hours. If this was not you, enter 123456 in the app to keep this \
             number."
        );
        assert!(of(1).contains(" in 1 hour. "));
    }

    /// The bytes that a phone gets, with both lines for autofill.
    #[test]
    fn the_lines_for_autofill_stand_behind_every_text_and_android_reads_them_all() {
        let golden = [
            ("en", "Your FreshK code is 123456. It expires in 10 minutes. Never share it."),
            ("fr", "Votre code FreshK est 123456. Il expire dans 10 min. Ne le partagez jamais."),
            ("ar", "رمز FreshK هو 123456، صالح 10 د. لا تشاركه."),
            ("es", "Tu clave de FreshK es 123456. Caduca en 10 min. No la compartas con nadie."),
            ("pt", "Seu PIN FreshK é 123456. Expira em 10 min. Nunca o compartilhe."),
            ("de", "Ihr FreshK-Code ist 123456. Er gilt 10 Min. Geben Sie ihn nie weiter."),
            ("it", "Il tuo codice FreshK è 123456. Scade tra 10 min. Non condividerlo mai."),
            ("tr", "FreshK kodunuz: 123456. 10 dk sonra sona erer. Kimseye vermeyin."),
            ("hi", "FreshK कोड 123456, 10 मिनट मान्य. किसी को न दें."),
            ("id", "Kode FreshK Anda 123456. Berlaku 10 menit. Jangan berikan kepada siapa pun."),
            ("sw", "Msimbo wako wa FreshK ni 123456. Utaisha baada ya dakika 10. Usimpe mtu yeyote."),
            ("zh", "您的FreshK验证码是123456，10分钟内有效，请勿告知他人。"),
        ];
        let texts: Vec<_> = both_lines().shipped().collect::<Result<_, _>>().unwrap();
        assert_eq!(texts.len(), golden.len());
        for ((language, template), (expected, text)) in texts.iter().zip(golden) {
            let bytes = shown(template).into_bytes();
            assert_eq!(language.as_str(), expected);
            assert_eq!(bytes, format!("{text}\n\nFA+9qCX9VSu\n@freshk.example #123456").into_bytes());
            assert!(bytes.len() <= 140, "{language}: {}", bytes.len());
        }
    }

    #[test]
    fn either_line_stands_alone_too() {
        let both = both_lines();
        let only = |android: bool, web: bool| {
            let autofill = Autofill {
                android_hash: both.autofill.android_hash.clone().filter(|_| android),
                webotp_domain: both.autofill.webotp_domain.clone().filter(|_| web),
            };
            shown(&Wording { autofill, ..Wording::default() }.template("{code}").unwrap())
        };
        assert_eq!(only(true, false), "123456\n\nFA+9qCX9VSu");
        assert_eq!(only(false, true), "123456\n\n@freshk.example #123456");
        assert_eq!(only(false, false), "123456");
    }

    #[test]
    fn what_android_would_not_read_is_a_fault() {
        let wording = both_lines();
        let room = |letters: usize| wording.template(&format!("{}{{code}}", "a".repeat(letters)));
        // Nine digits twice, two line breaks, the hash with its own, and the host.
        assert!(room(140 - 18 - 2 - 12 - 17).is_ok());
        let error = room(140 - 18 - 2 - 12 - 16).unwrap_err();
        assert_eq!(error, TemplateError::TooLongForAndroid { bytes: 141 });
        assert!(Wording::default().template(&"{code}".repeat(16)).is_ok());
    }

    #[test]
    fn the_brand_stands_in_every_text() {
        let wording = Wording { brand: "Müller".to_owned(), ..Wording::default() };
        for shipped in wording.shipped() {
            let (language, template) = shipped.unwrap();
            assert!(shown(&template).contains("Müller"), "{language}");
        }
        let long = Wording { brand: "x".repeat(60), ..Wording::default() };
        let left_out: Vec<_> = long.shipped().filter_map(Result::err).map(|(language, _)| language).collect();
        assert!(left_out.is_empty(), "two segments at most: {left_out:?}");
    }
}
