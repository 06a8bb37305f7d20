//! Tokens of every kind.

use std::sync::LazyLock;
use std::time::Duration;

use crate::domain::Secret;
use crate::domain::keys::KeyRing;
use crate::tokens::sample::{self, now};
use crate::tokens::{DeviceTokens, TokenKind, TokenPair, Tokens};

/// The life of an access token.
const ACCESS: Duration = Duration::from_mins(15);

const SECRET: &str = "a secret of at least thirty-two bytes";

struct Known {
    tokens: Tokens,
    devices: DeviceTokens,
    pair: TokenPair,
}

static KNOWN: LazyLock<Option<Known>> = LazyLock::new(known);

fn known() -> Option<Known> {
    let secret = Secret::new(SECRET);
    let tokens = Tokens::new(&secret, &[], ACCESS).accepting_foreign(&secret, &[]);
    let pair = sample::pair(&tokens)?;
    let devices = DeviceTokens::new(&KeyRing::new(&secret, &[]));
    Some(Known { tokens, devices, pair })
}

/// Nothing is a token but what was signed; a token is good as what it is, and as nothing else. Two bytes in front of the text
/// change one byte of a good one.
pub(super) fn token(data: &[u8]) {
    assert!(KNOWN.is_some(), "no token can be signed");
    let Some(Known { tokens, devices, pair }) = &*KNOWN else { return };
    for (good, kind) in [(&pair.access, TokenKind::Access), (&pair.refresh, TokenKind::Refresh)] {
        assert!(tokens.verify(good, kind, now()).is_ok());
        if let Some((&[place, change], _)) = data.split_first_chunk::<2>() {
            let mut bytes = good.clone().into_bytes();
            let place = usize::from(place) * bytes.len() / 256;
            bytes[place] = change;
            if let Ok(changed) = String::from_utf8(bytes) {
                refuse(tokens, devices, &changed, pair);
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(data) {
        refuse(tokens, devices, text, pair);
        let signed = pair.access.rsplit_once('.').map_or("", |(_, signature)| signature);
        refuse(tokens, devices, &format!("{text}.{signed}"), pair);
    }
}

fn refuse(tokens: &Tokens, devices: &DeviceTokens, text: &str, pair: &TokenPair) {
    if text == pair.access || text == pair.refresh {
        return;
    }
    for kind in [TokenKind::Access, TokenKind::Refresh] {
        assert!(tokens.verify(text, kind, now()).is_err(), "{text}");
    }
    assert!(devices.read(&Secret::new(text), now()).is_none(), "{text}");
}
