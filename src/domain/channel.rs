//! What codes come by, and by whom.

/// What a code comes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// A text message.
    Sms,
    /// A message in `WhatsApp`.
    WhatsApp,
    /// A call, in which the code is read out.
    Voice,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Sms, Self::WhatsApp, Self::Voice];

    /// The word in rows and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sms => "sms",
            Self::WhatsApp => "whatsapp",
            Self::Voice => "voice",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.as_str() == word)
    }
}

/// Which sender takes a message, and what it comes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// The sender's name in the configuration.
    pub sender: String,
    /// What it comes by.
    pub channel: Channel,
}

impl Via {
    /// By the sender of this name.
    pub fn new(sender: impl Into<String>, channel: Channel) -> Self {
        Self { sender: sender.into(), channel }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back() {
        for channel in Channel::ALL {
            assert_eq!(Channel::parse(channel.as_str()), Some(channel));
        }
        assert_eq!(Channel::parse("pigeon"), None);
    }
}
