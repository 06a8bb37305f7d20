//! `[sms]`: what messages say.

use super::*;
use crate::domain::{Code, Languages};

fn load(variables: &[(&str, &str)]) -> Result<Loaded, Faults> {
    debug(variables)
}

/// What somebody is sent who wants these languages.
fn said(loaded: &Loaded, header: &str) -> String {
    loaded.config.sms.texts.code(&Languages::parse(header)).render(&Code::from_number(123_456, 6), 10)
}

fn fault(variables: &[(&str, &str)]) -> (String, String) {
    let faults = load(variables).unwrap_err().0;
    assert_eq!(faults.len(), 1, "{faults:?}");
    (faults[0].key.clone(), format!("{} / {}", faults[0].problem, faults[0].help))
}

const BRAND: &str = "FRESHK_SMS__BRAND";
const TEMPLATE: &str = "FRESHK_SMS__TEMPLATE";
const TEMPLATES: &str = "FRESHK_SMS__TEMPLATES";
const WEBOTP: &str = "FRESHK_SMS__WEBOTP_DOMAIN";
const ANDROID: &str = "FRESHK_SMS__ANDROID_HASH";

#[test]
fn the_brand_stands_in_one_place_and_in_every_language() {
    let loaded = load(&[(BRAND, "Acme")]).unwrap();
    assert_eq!(said(&loaded, ""), "Your Acme code is 123456. It expires in 10 minutes. Never share it.");
    assert!(said(&loaded, "de").starts_with("Ihr Acme-Code ist 123456."));
}

#[test]
fn a_text_of_ones_own_is_for_all_unless_the_brand_is_known() {
    let own = load(&[(TEMPLATE, "Acme: {code}")]).unwrap();
    for header in ["", "en", "de", "fr"] {
        assert_eq!(said(&own, header), "Acme: 123456");
    }
    let both = load(&[(TEMPLATE, "{brand}: {code}"), (BRAND, "Acme")]).unwrap();
    assert_eq!(said(&both, "en-US"), "Acme: 123456");
    assert!(said(&both, "fr").starts_with("Votre code Acme"));
}

#[test]
fn texts_of_languages_replace_those_that_are_brought_along_and_join_them() {
    let texts = "{ fr = \"{brand} : {code}\", pt-BR = \"{code} ({brand})\" }";
    let loaded = load(&[(TEMPLATES, texts)]).unwrap();
    assert_eq!(said(&loaded, "fr-FR"), "FreshK : 123456");
    assert_eq!(said(&loaded, "pt-br"), "123456 (FreshK)");
    assert!(said(&loaded, "pt-PT").starts_with("Seu PIN"));
    assert!(said(&loaded, "es").starts_with("Tu clave"));
}

#[test]
fn each_language_may_have_a_variable_of_its_own() {
    let loaded = load(&[
        ("FRESHK_SMS__TEMPLATES__FR", "{code} ({brand})"),
        ("FRESHK_SMS__TEMPLATES__PT_BR", "{brand}: {code}"),
    ]);
    let loaded = loaded.unwrap();
    assert_eq!(
        (said(&loaded, "fr"), said(&loaded, "pt-BR")),
        ("123456 (FreshK)".into(), "FreshK: 123456".into())
    );
    let (key, problem) =
        fault(&[("FRESHK_SMS__TEMPLATES__FR", "{code}"), (TEMPLATES, "{ de = \"{code}\" }")]);
    assert!(key == "sms.templates" && problem.contains("both FRESHK_SMS__TEMPLATES and"), "{problem}");
    let (key, problem) = fault(&[("FRESHK_SMS__TEMPLATES__FRENCH", "{code}")]);
    assert!(key == "sms.templates" && problem.contains("\"french\" is not a language tag"), "{problem}");
    assert!(load(&[("FRESHK_SMS__TEMPLATE__FR", "{code}")]).is_err());
}

#[test]
fn the_lines_for_autofill_come_last() {
    let loaded = load(&[(WEBOTP, "App.Example.com"), (ANDROID, "FA+9qCX9VSu")]).unwrap();
    assert!(said(&loaded, "").ends_with("Never share it.\n\nFA+9qCX9VSu\n@app.example.com #123456"));
}

#[test]
fn what_is_wrong_with_a_text_is_named() {
    for (variables, key, told) in [
        (
            vec![(TEMPLATES, "{ fr = \"{code} {nom}\" }")],
            "sms.templates",
            "the text in fr: {nom} is no placeholder",
        ),
        (vec![(TEMPLATES, "{ fr = \"Bonjour\" }")], "sms.templates", "{code} is missing"),
        (vec![(TEMPLATES, "{ fr_FR = \"{code}\" }")], "sms.templates", "not a language tag"),
        (vec![(TEMPLATES, "{ french = \"{code}\" }")], "sms.templates", "not a language tag"),
        (vec![(TEMPLATES, "{ fr = \"{code}\", FR = \"{code}\" }")], "sms.templates", "twice"),
        (vec![(TEMPLATES, "fr")], "sms.templates", "no table"),
        (vec![(TEMPLATES, "{ fr = \"{code} l’app\" }")], "sms.templates", "GSM-7"),
        (vec![(TEMPLATE, "{name} {code}")], "sms.template", "no placeholder"),
        (vec![(BRAND, "Joe’s")], "sms.brand", "GSM-7"),
        (vec![(BRAND, "{x}")], "sms.brand", "no placeholder"),
        (vec![(BRAND, "a brand of more than forty characters in all")], "sms.brand", "shorten it"),
        (vec![(WEBOTP, "https://app.example.com")], "sms.webotp_domain", "is no host"),
        (vec![(WEBOTP, "localhost")], "sms.webotp_domain", "is no host"),
        (vec![(ANDROID, "FA+9qCX9VS")], "sms.android_hash", "not the hash"),
        (vec![(ANDROID, "FA+9qCX9VS=")], "sms.android_hash", "not the hash"),
    ] {
        let (named, problem) = fault(&variables);
        assert!(named == key && problem.contains(told), "{variables:?}: {named}: {problem}");
    }
    let long = format!("{{ hi = \"{}{{code}}\" }}", "न".repeat(130));
    assert!(fault(&[(TEMPLATES, &long)]).1.contains("three SMS"));
    let long = format!("{}{{code}}", "a".repeat(120));
    assert!(fault(&[(TEMPLATE, &long), (ANDROID, "FA+9qCX9VSu")]).1.contains("Android reads 140"));
}

#[test]
fn mixed_alphabets_and_second_segments_are_warned_of() {
    let warned = |texts: &str| {
        let loaded = load(&[(TEMPLATES, texts)]).unwrap();
        loaded.warnings.iter().map(|warning| warning.problem.clone()).collect::<Vec<_>>().join("\n")
    };
    assert!(warned("{ tr = \"Şifre {code}\" }").contains("'Ş' is not in GSM-7"));
    let long = format!("{{ hi = \"{}{{code}}\" }}", "न".repeat(70));
    assert!(warned(&long).contains("up to two SMS"));
    assert!(!warned("{ hi = \"कोड {code}\" }").contains("sms.templates"));
}

#[test]
fn a_text_that_is_brought_along_and_does_not_fit_is_left_out_with_a_word() {
    let host = "a-long-name-of-a-host.example.com";
    let loaded = load(&[(WEBOTP, host), (ANDROID, "FA+9qCX9VSu")]).unwrap();
    let warned: Vec<_> = loaded.warnings.iter().map(|warning| warning.problem.as_str()).collect();
    assert!(warned.iter().any(|problem| problem.contains("text in hi is not used")), "{warned:?}");
    assert!(said(&loaded, "hi").starts_with("Your FreshK code"));
}
