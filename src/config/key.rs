//! What a key of the configuration is: its name, what its value must be, its default and its meaning.

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Section and name, `otp.ttl`; a key of the top has no section.
    pub name: &'static str,
    /// What a value must be.
    pub kind: Kind,
    /// The default as text, in the form of an environment variable; empty where the key is not set by default.
    pub default: &'static str,
    /// The default while `debug` is on, where it differs.
    pub in_debug: Option<&'static str>,
    /// Whether the value is never shown.
    pub secret: bool,
    /// The environment name that the guide gives it.
    pub guide: Option<&'static str>,
    /// What it means, in a sentence or two.
    pub doc: &'static str,
}

/// What a value must be. Bounds are inclusive.
#[derive(Debug)]
pub enum Kind {
    /// A boolean as Django writes it.
    Switch,
    /// A whole number.
    Number {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A length of time, such as `10m`.
    Duration {
        /// The shortest.
        min: &'static str,
        /// The longest.
        max: &'static str,
    },
    /// A size in bytes, such as `16KiB`.
    Size {
        /// The least.
        min: &'static str,
        /// The most.
        max: &'static str,
    },
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// Text; what would be right, in words.
    Text(&'static str),
    /// A list of texts; what would be right, in words.
    List(&'static str),
    /// Networks with a number each.
    Networks,
    /// Texts by language.
    Languages,
    /// Countries with a price each.
    Prices,
    /// Tables, each a test number.
    TestNumbers,
    /// Tables, each a webhook.
    Webhooks,
    /// A table of tables, each a sender under its name.
    Senders,
}

/// The keys that stand together.
#[derive(Debug)]
pub struct Section {
    /// Its name in the file; empty for the keys above the first section.
    pub name: &'static str,
    /// What it is about.
    pub doc: &'static str,
    /// Its keys, in the order of the example.
    pub keys: &'static [&'static Key],
}

impl Key {
    pub(super) const fn new(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, kind, default, in_debug: None, secret: false, guide: None, doc }
    }

    pub(super) const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    pub(super) const fn guide(self, name: &'static str) -> Self {
        Self { guide: Some(name), ..self }
    }

    pub(super) const fn in_debug(self, default: &'static str) -> Self {
        Self { in_debug: Some(default), ..self }
    }

    /// The name inside its section: `ttl`.
    pub fn leaf(&self) -> &'static str {
        self.name.rsplit_once('.').map_or(self.name, |(_, leaf)| leaf)
    }

    /// The environment name that every key has: `FRESHK_OTP__TTL`.
    pub fn environment(&self) -> String {
        format!("{PREFIX}{}", self.name.replace('.', "__").to_uppercase())
    }

    /// Both environment names, the one that wins first.
    pub(super) fn variables(&self) -> impl Iterator<Item = String> {
        [Some(self.environment()), self.guide.map(str::to_owned)].into_iter().flatten()
    }

    /// The names of variables that name a file in which the secret stands; for secrets only.
    pub(super) fn file_variables(&self) -> impl Iterator<Item = String> {
        self.variables().filter(|_| self.secret).map(|name| format!("{name}{FILE_SUFFIX}"))
    }

    /// Every name in the environment.
    pub fn every_variable(&self) -> impl Iterator<Item = String> {
        self.variables().chain(self.file_variables())
    }

    /// The name in the environment, as a person reads it; the guide's own first, since it is the shorter.
    pub(super) fn how_to_set(&self) -> String {
        self.guide.map_or_else(|| self.environment(), str::to_owned)
    }
}

impl Kind {
    /// What would be right.
    pub fn right(&self) -> String {
        match self {
            Self::Switch => "true or false".to_owned(),
            Self::Number { min, max } => format!("a whole number from {min} to {max}"),
            Self::Duration { min, max } => {
                format!("a duration with its unit, from {min} to {max}, such as 45s, 10m or 30d")
            }
            Self::Size { min, max } => format!("a size from {min} to {max}, such as 16KiB"),
            Self::Choice(words) => format!("one of: {}", words.join(", ")),
            Self::Text(right) | Self::List(right) => (*right).to_owned(),
            Self::Networks => {
                "networks with a number each: { \"100.64.0.0/10\" = 50 } in the file, 100.64.0.0/10=50,… in the \
                 environment"
                    .to_owned()
            }
            Self::Languages => {
                "a table of texts by language tag: [sms.templates] with fr = \"{brand} : {code}\" in the file, in the environment \
                 FRESHK_SMS__TEMPLATES__FR, FRESHK_SMS__TEMPLATES__PT_BR and so on, or { fr = \"…\", pt-BR = \"…\" } as a whole"
                    .to_owned()
            }
            Self::Prices => {
                "the two letters of countries with a price each: { DE = 0.0745, default = 0.05 } in the file, \
                 DE=0.0745,default=0.05 in the environment"
                    .to_owned()
            }
            Self::Webhooks => {
                "a [[webhooks]] for each, with name = \"shop\", url = \"https://api.example.com/freshk/webhook/\", \
                 secret = \"whsec_ and 24 to 64 random bytes in base64\" (for example with: echo whsec_$(openssl rand \
                 -base64 32)) and perhaps events = [\"user.created\", \"user.deleted\"]; in the environment \
                 name|url|secret,…, perhaps with |user.created+user.deleted after one"
                    .to_owned()
            }
            Self::Senders => {
                "a [senders.<name>] for each, with kind = \"http\", url = \"https://sms.example.com/send\" and secret = \
                 \"whsec_ and 24 to 64 random bytes in base64\" (for example with: echo whsec_$(openssl rand -base64 32)), or \
                 kind = \"twilio\", \"whatsapp\" (with content_sid = \"HX…\") or \"voice\", and perhaps countries = [\"US\"] and \
                 after = \"45s\"; in the environment name|kind=http|url=…|secret=…,…"
                    .to_owned()
            }
            Self::TestNumbers => {
                "a [[sms.test_numbers]] for each, with phone = \"+15005550006\", code = \"as many digits as \
                 otp.length says, drawn at random\" (for example with: shuf -rn6 -i0-9 | tr -d '\\n'), until = \"2026-12-31\" and perhaps existing_user = true; in the environment \
                 +15005550006=digits@2026-12-31,…, perhaps with @existing_user after one"
                    .to_owned()
            }
        }
    }
}

/// What the environment names of all keys begin with.
pub(super) const PREFIX: &str = "FRESHK_";

/// What is behind the name of a secret's variable where it names a file.
pub(super) const FILE_SUFFIX: &str = "_FILE";
