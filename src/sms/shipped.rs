//! The texts that the program brings along: with a code in twelve languages, and the notice of a change of number.
//!
//! Each avoids letters that GSM-7 lacks where its alphabet is the Latin one: one such letter would more than double what a text
//! costs. Numbers stand before an abbreviation, which has no plural.

use crate::domain::Language;

/// What stands for the name of the app in a text.
pub(super) const BRAND: &str = "{brand}";

/// The name in the texts where none is configured.
pub const DEFAULT_BRAND: &str = "FreshK";

/// The texts of one language; `{brand}`, `{code}` and `{minutes}` are filled in.
pub(super) struct Shipped {
    pub(super) language: &'static str,
    /// With a code.
    pub(super) code: &'static str,
}

impl Shipped {
    pub(super) fn language(&self) -> Language {
        Language::of(self.language)
    }
}

/// Tells a number that it will be replaced, with a code that takes the change back; `{code}` and `{hours}` are filled in. In English
/// alone: in which language its owner reads is known of nobody.
pub(super) const NOTICE: &str = "Your account gets another phone number in {hours}. If this was not you, enter {code} in the app to keep this \
     number.";

/// English first: where no language is wanted or known.
pub(super) const SHIPPED: [Shipped; 12] = [
    Shipped {
        language: "en",
        code: "Your {brand} code is {code}. It expires in {minutes} minutes. Never share it.",
    },
    Shipped {
        language: "fr",
        code: "Votre code {brand} est {code}. Il expire dans {minutes} min. Ne le partagez jamais.",
    },
    Shipped {
        language: "ar", code: "رمز {brand} هو {code}، صالح {minutes} د. لا تشاركه."
    },
    Shipped {
        language: "es",
        code: "Tu clave de {brand} es {code}. Caduca en {minutes} min. No la compartas con nadie.",
    },
    Shipped {
        language: "pt",
        code: "Seu PIN {brand} é {code}. Expira em {minutes} min. Nunca o compartilhe.",
    },
    Shipped {
        language: "de",
        code: "Ihr {brand}-Code ist {code}. Er gilt {minutes} Min. Geben Sie ihn nie weiter.",
    },
    Shipped {
        language: "it",
        code: "Il tuo codice {brand} è {code}. Scade tra {minutes} min. Non condividerlo mai.",
    },
    Shipped {
        language: "tr",
        code: "{brand} kodunuz: {code}. {minutes} dk sonra sona erer. Kimseye vermeyin.",
    },
    Shipped {
        language: "hi", code: "{brand} कोड {code}, {minutes} मिनट मान्य. किसी को न दें."
    },
    Shipped {
        language: "id",
        code: "Kode {brand} Anda {code}. Berlaku {minutes} menit. Jangan berikan kepada siapa pun.",
    },
    Shipped {
        language: "sw",
        code: "Msimbo wako wa {brand} ni {code}. Utaisha baada ya dakika {minutes}. Usimpe mtu yeyote.",
    },
    Shipped {
        language: "zh", code: "您的{brand}验证码是{code}，{minutes}分钟内有效，请勿告知他人。"
    },
];
