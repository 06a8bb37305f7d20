//! The texts that the program brings along: twelve languages, each with a code and with the notice of a change of number.
//!
//! Each avoids letters that GSM-7 lacks where its alphabet is the Latin one: one such letter would more than double what a text
//! costs. Numbers stand before an abbreviation, which has no plural.

use crate::domain::Language;

/// What stands for the name of the app in a text.
pub(super) const BRAND: &str = "{brand}";

/// The name in the texts where none is configured.
pub const DEFAULT_BRAND: &str = "FreshK";

/// The texts of one language; `{brand}`, `{code}`, `{minutes}` and `{hours}` are filled in.
pub(super) struct Shipped {
    pub(super) language: &'static str,
    /// With a code.
    pub(super) code: &'static str,
    /// Tells a number that it will be replaced, with a code that takes the change back.
    pub(super) notice: &'static str,
}

impl Shipped {
    pub(super) fn language(&self) -> Language {
        Language::of(self.language)
    }
}

/// English first: where no language is wanted or known.
pub(super) const SHIPPED: [Shipped; 12] = [
    Shipped {
        language: "en",
        code: "Your {brand} code is {code}. It expires in {minutes} minutes. Never share it.",
        notice: "Your account gets another phone number in {hours}. If this was not you, enter {code} in the app to keep this \
                 number.",
    },
    Shipped {
        language: "fr",
        code: "Votre code {brand} est {code}. Il expire dans {minutes} min. Ne le partagez jamais.",
        notice: "Votre compte change de numéro dans {hours} h. Si ce n'est pas vous, saisissez {code} dans l'app pour garder ce \
                 numéro.",
    },
    Shipped {
        language: "ar",
        code: "رمز {brand} هو {code}، صالح {minutes} د. لا تشاركه.",
        notice: "سيتغير رقم حسابك خلال {hours} س. لإلغاء ذلك أدخل {code} في التطبيق.",
    },
    Shipped {
        language: "es",
        code: "Tu clave de {brand} es {code}. Caduca en {minutes} min. No la compartas con nadie.",
        notice: "Tu cuenta pasa a otro teléfono en {hours} h. Si no lo has pedido, escribe {code} en la app para conservar este.",
    },
    Shipped {
        language: "pt",
        code: "Seu PIN {brand} é {code}. Expira em {minutes} min. Nunca o compartilhe.",
        notice: "Sua conta passa para outro telefone em {hours} h. Se discorda, digite {code} no app para manter este.",
    },
    Shipped {
        language: "de",
        code: "Ihr {brand}-Code ist {code}. Er gilt {minutes} Min. Geben Sie ihn nie weiter.",
        notice: "Ihr Konto bekommt in {hours} Std. eine andere Nummer. Waren Sie das nicht? {code} in der App eingeben, und diese \
                 Nummer bleibt.",
    },
    Shipped {
        language: "it",
        code: "Il tuo codice {brand} è {code}. Scade tra {minutes} min. Non condividerlo mai.",
        notice: "Il tuo account passa a un altro numero tra {hours} h. Se non l'hai chiesto tu, inserisci {code} nell'app per \
                 tenere questo.",
    },
    Shipped {
        language: "tr",
        code: "{brand} kodunuz: {code}. {minutes} dk sonra sona erer. Kimseye vermeyin.",
        notice: "Bu hesap {hours} saat sonra yeni bir numara alacak. Siz istemediyseniz, bu numarada kalmak üzere uygulamaya \
                 {code} girin.",
    },
    Shipped {
        language: "hi",
        code: "{brand} कोड {code}, {minutes} मिनट मान्य. किसी को न दें.",
        notice: "{hours} घंटे में खाते का नंबर बदलेगा। रोकने हेतु ऐप में {code} डालें।",
    },
    Shipped {
        language: "id",
        code: "Kode {brand} Anda {code}. Berlaku {minutes} menit. Jangan berikan kepada siapa pun.",
        notice: "Akun Anda akan berganti nomor dalam {hours} jam. Jika bukan Anda, masukkan {code} di aplikasi agar nomor ini \
                 tetap dipakai.",
    },
    Shipped {
        language: "sw",
        code: "Msimbo wako wa {brand} ni {code}. Utaisha baada ya dakika {minutes}. Usimpe mtu yeyote.",
        notice: "Akaunti yako itapata namba nyingine baada ya saa {hours}. Kama si wewe, weka {code} kwenye programu ili kubaki \
                 na namba hii.",
    },
    Shipped {
        language: "zh",
        code: "您的{brand}验证码是{code}，{minutes}分钟内有效，请勿告知他人。",
        notice: "您的账号将在{hours}小时后更换手机号。如非本人操作，请在应用中输入{code}以保留此号码。",
    },
];
