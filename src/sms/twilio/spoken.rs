//! What a call says: the code twice, digit by digit, in the language of the person.

/// A language that Twilio's voices speak: its two letters, the voice's tag, and the words before the code.
type Spoken = (&'static str, &'static str, &'static str);

/// The languages of the texts; who speaks another one hears the first.
const LANGUAGES: [Spoken; 11] = [
    ("en", "en-US", "Your code is"),
    ("fr", "fr-FR", "Votre code est"),
    ("ar", "arb", "رمزك هو"),
    ("es", "es-ES", "Su código es"),
    ("pt", "pt-BR", "O seu código é"),
    ("de", "de-DE", "Ihr Code lautet"),
    ("it", "it-IT", "Il suo codice è"),
    ("tr", "tr-TR", "Kodunuz"),
    ("hi", "hi-IN", "आपका कोड है"),
    ("id", "id-ID", "Kode Anda"),
    ("zh", "cmn-CN", "您的验证码是"),
];

/// The instructions of a call that says the code of these digits, in the language of this tag.
pub(super) fn twiml(digits: &str, language: &str) -> String {
    let primary = language.split('-').next().unwrap_or_default();
    let spoken = LANGUAGES.iter().find(|(letters, ..)| letters.eq_ignore_ascii_case(primary));
    let (_, voice, words) = spoken.unwrap_or(&LANGUAGES[0]);
    let apart = digits.chars().map(String::from).collect::<Vec<_>>().join(". ");
    let sentence = escaped(&format!("{words}: {apart}."));
    let say = format!("<Say language=\"{voice}\">{sentence}</Say>");
    format!("<Response><Pause length=\"1\"/>{say}<Pause length=\"2\"/>{say}</Response>")
}

/// Text as XML has it (XML 1.0 §2.4).
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_says_the_digits_apart_and_twice() {
        let said = "<Say language=\"de-DE\">Ihr Code lautet: 0. 4. 2. 1.</Say>";
        let expected = format!("<Response><Pause length=\"1\"/>{said}<Pause length=\"2\"/>{said}</Response>");
        assert_eq!(twiml("0421", "de"), expected);
        assert!(twiml("1", "sw").contains("Your code is: 1."), "Swahili has no voice");
        for (language, ..) in LANGUAGES {
            assert_eq!(twiml("123456", language).matches("1. 2. 3. 4. 5. 6.").count(), 2);
        }
    }

    #[test]
    fn what_xml_has_for_itself_is_escaped() {
        assert_eq!(escaped("a<b>&\"c'"), "a&lt;b&gt;&amp;&quot;c&apos;");
    }
}
