//! The keys of `[sms]` that say what the messages say.

use super::fault::quoted;
use super::key::{Key, Kind};
use super::reader::Reader;
use crate::domain::{Help as _, Language};
use crate::sms::template::{self, Template, TemplateError};
use crate::sms::texts::{Autofill, DEFAULT_BRAND, Texts, Wording};

pub(super) static BRAND: Key = Key::new(
    "sms.brand",
    Kind::Text("the name of your app, of at most 40 characters"),
    DEFAULT_BRAND,
    "The name of your app in the messages: {brand} in the texts.",
);
pub(super) static TEMPLATE: Key = Key::new(
    "sms.template",
    Kind::Text(
        "a text with {code} in it, {minutes} where its life in minutes goes, and {brand} where sms.brand goes",
    ),
    template::DEFAULT,
    "The text of the message for callers whose Accept-Language names no language that has a text: {code}, {minutes} and {brand} \
     are filled in. Where it is set and sms.brand is not, the texts that the program brings along in other languages are not used, \
     since they would have another name.",
);
pub(super) static TEMPLATES: Key = Key::new(
    "sms.templates",
    Kind::Languages,
    "",
    "The texts of languages, in place of those that the program brings along (en fr ar es pt de it tr hi id sw zh) or besides: \
     [sms.templates] with fr = \"{brand} : {code}\" and so on; in the environment FRESHK_SMS__TEMPLATES__FR and so on.",
);
pub(super) static WEBOTP_DOMAIN: Key = Key::new(
    "sms.webotp_domain",
    Kind::Text("a host without scheme and path, such as app.example.com"),
    "",
    "The host of your web app or associated domain: every message ends with @host #code, which browsers (WebOTP) and iOS fill in \
     by themselves.",
);
pub(super) static ANDROID_HASH: Key = Key::new(
    "sms.android_hash",
    Kind::Text("the eleven characters that Android's AppSignatureHelper gives"),
    "",
    "The hash of your Android app: every message has it, and the SMS Retriever gives the app the code. A message has at most 140 \
     bytes then.",
);

/// The default is that of a text which was not set.
pub(super) fn read(reader: &mut Reader<'_>) -> Texts {
    let wording = Wording {
        brand: reader.one(&BRAND, brand).unwrap_or_else(|| DEFAULT_BRAND.to_owned()),
        autofill: Autofill {
            android_hash: reader.one(&ANDROID_HASH, android_hash),
            webotp_domain: reader.one(&WEBOTP_DOMAIN, host),
        },
    };
    let is_own = reader.is_set(&TEMPLATE);
    let default = if is_own { own(reader, &wording) } else { brought_along(reader, &wording) };
    let mut texts = Vec::new();
    if !is_own || reader.is_set(&BRAND) {
        for shipped in wording.shipped() {
            match shipped {
                // What is the operator's own is that of English, too.
                Ok((language, _)) if is_own && language.as_str() == "en" => {}
                Ok(shipped) => texts.push(shipped),
                Err(("en", _)) => {}
                Err((language, error)) => reader.findings.warn(
                    Some(TEMPLATES.name),
                    format!("the program's text in {language} is not used: {error}"),
                    format!("give a text of your own as sms.templates.{language}"),
                ),
            }
        }
    }
    for (language, template) in of_languages(reader, &wording) {
        texts.retain(|(known, _)| *known != language);
        texts.push((language, template));
    }
    Texts::new(default, texts)
}

fn own(reader: &mut Reader<'_>, wording: &Wording) -> Template {
    let Some(text) = reader.one(&TEMPLATE, |text| Ok(text.to_owned())) else { return Template::default() };
    match wording.template(&text) {
        Ok(template) => {
            warn_of_cost(reader, &TEMPLATE, "the text", &template);
            template
        }
        Err(error) => {
            reader.fault(&TEMPLATE, error.to_string(), error.help());
            Template::default()
        }
    }
}

/// Only what is put into it can be wrong with the program's own.
fn brought_along(reader: &mut Reader<'_>, wording: &Wording) -> Template {
    wording.default_text().unwrap_or_else(|error| {
        let key =
            if matches!(error, TemplateError::TooLongForAndroid { .. }) { &ANDROID_HASH } else { &BRAND };
        reader.fault(key, error.to_string(), error.help());
        Template::default()
    })
}

fn of_languages(reader: &mut Reader<'_>, wording: &Wording) -> Vec<(Language, Template)> {
    let Some((raw, origin)) = reader.raw(&TEMPLATES) else { return Vec::new() };
    let rows = raw.table().unwrap_or_else(|problem| {
        reader.bad(&TEMPLATES, &origin, problem);
        Vec::new()
    });
    let mut texts: Vec<(Language, Template)> = Vec::new();
    for (name, text) in rows {
        let language = match name.parse::<Language>() {
            Ok(language) if texts.iter().any(|(known, _)| *known == language) => {
                reader.bad(&TEMPLATES, &origin, format!("{} stands there twice", quoted(&name)));
                continue;
            }
            Ok(language) => language,
            Err(error) => {
                reader.bad(&TEMPLATES, &origin, format!("{} is {error}", quoted(&name)));
                continue;
            }
        };
        match wording.template(&text) {
            Ok(template) => {
                warn_of_cost(reader, &TEMPLATES, &format!("the text in {language}"), &template);
                texts.push((language.clone(), template.in_language(language)));
            }
            Err(error) => {
                let (problem, help) = (format!("the text in {language}: {error}"), error.help());
                reader.fault(&TEMPLATES, problem, help);
            }
        }
    }
    texts
}

/// Says what more than doubles the price of a message.
fn warn_of_cost(reader: &mut Reader<'_>, key: &'static Key, what: &str, template: &Template) {
    let Some(dearer) = template.dearer() else { return };
    reader.findings.warn(Some(key.name), format!("{}: {what} {dearer}", key.name), dearer.help());
}

fn brand(text: &str) -> Result<String, String> {
    const LONGEST: usize = 40;
    let length = text.chars().count();
    if length > LONGEST {
        return Err(format!("it has {length} characters: shorten it by {}", length - LONGEST));
    }
    if text.chars().any(char::is_control) {
        Err("it holds control characters".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

fn host(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let is_host = text.len() <= 253 && text.contains('.') && text.split('.').all(is_label);
    if is_host { Ok(text.to_ascii_lowercase()) } else { Err(format!("{} is no host", quoted(text))) }
}

fn android_hash(text: &str) -> Result<String, String> {
    const LENGTH: usize = 11;
    let is_hash =
        text.len() == LENGTH && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
    if is_hash { Ok(text.to_owned()) } else { Err(format!("{} is not the hash of an app", quoted(text))) }
}
