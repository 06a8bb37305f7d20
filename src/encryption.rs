//! Encryption of files for a key that this machine does not have, in age's format (age-encryption.org).

use std::fmt;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::str::FromStr;

use age::x25519;
use age::{DecryptError, Decryptor, Encryptor};

/// Whoever has the identity to this public key can read what is encrypted for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(x25519::Recipient);

/// The secret keys of a file, as `age-keygen` writes it.
pub struct Identities(Vec<x25519::Identity>);

/// Why something cannot be decrypted.
#[derive(Debug, thiserror::Error)]
pub enum DecryptionError {
    /// It is encrypted for others.
    #[error("it is encrypted for another key")]
    AnotherKey,
    /// It is not in age's format, or was damaged or changed.
    #[error("it is damaged, or not encrypted by age")]
    Damaged,
    /// It could not be read, or what comes out not be written.
    #[error("{0}")]
    File(#[from] io::Error),
}

/// What a secret key begins with.
const SECRET: &str = "AGE-SECRET-KEY-";

impl Recipient {
    /// Reads a public key, `age1…`.
    ///
    /// # Errors
    /// What is wrong with it; never the text, which may be a secret by mistake.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.to_ascii_uppercase().starts_with(SECRET) {
            return Err("it is a secret key: this machine needs the public one, and whoever saw this file may have the other"
                .to_owned());
        }
        x25519::Recipient::from_str(text).map(Self).map_err(|_| "it is no public key of age".to_owned())
    }

    /// Encrypts all that `from` gives into `to`.
    ///
    /// # Errors
    /// What the system says of either.
    pub fn encrypt(&self, mut from: impl Read, to: impl Write) -> io::Result<()> {
        let recipient: &dyn age::Recipient = &self.0;
        let encryptor = Encryptor::with_recipients(std::iter::once(recipient)).map_err(io::Error::other)?;
        let mut writer = encryptor.wrap_output(BufWriter::new(to))?;
        io::copy(&mut from, &mut writer)?;
        writer.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(())
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.to_string().fmt(f)
    }
}

impl Identities {
    /// Reads the text of a file: a secret key a line, and comments.
    ///
    /// # Errors
    /// What is wrong with it; never a line of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let identities = lines
            .map(|line| {
                x25519::Identity::from_str(line)
                    .map_err(|_| "it has a line that is no secret key of age".to_owned())
            })
            .collect::<Result<Vec<_>, _>>()?;
        if identities.is_empty() { Err("it has no secret key".to_owned()) } else { Ok(Self(identities)) }
    }

    /// Decrypts all that `from` gives into `to`.
    ///
    /// # Errors
    /// [`DecryptionError`]; what was written by then is good for nothing.
    pub fn decrypt(&self, from: impl Read, mut to: impl Write) -> Result<(), DecryptionError> {
        let told = |error| match error {
            DecryptError::NoMatchingKeys => DecryptionError::AnotherKey,
            DecryptError::Io(error) => of_stream(error),
            _ => DecryptionError::Damaged,
        };
        let decryptor = Decryptor::new_buffered(BufReader::new(from)).map_err(told)?;
        let keys = self.0.iter().map(|identity| identity as &dyn age::Identity);
        let mut reader = decryptor.decrypt(keys).map_err(told)?;
        io::copy(&mut reader, &mut to).map_err(of_stream)?;
        Ok(to.flush()?)
    }
}

/// A file that ends early or was changed is told by the reader as a failure to read.
fn of_stream(error: io::Error) -> DecryptionError {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => DecryptionError::Damaged,
        _ => DecryptionError::File(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use age::secrecy::ExposeSecret as _;

    fn keys() -> (Recipient, Identities, String) {
        let identity = x25519::Identity::generate();
        let text = identity.to_string().expose_secret().to_owned();
        (
            Recipient::parse(&identity.to_public().to_string()).unwrap(),
            Identities::parse(&text).unwrap(),
            text,
        )
    }

    #[test]
    fn what_is_encrypted_comes_back_with_the_key_and_with_no_other() {
        let ((recipient, identities, _), (_, others, _)) = (keys(), keys());
        let plain: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
        let (mut sealed, mut back) = (Vec::new(), Vec::new());
        recipient.encrypt(&plain[..], &mut sealed).unwrap();
        assert!(sealed.starts_with(b"age-encryption.org/v1\n"));
        identities.decrypt(&sealed[..], &mut back).unwrap();
        assert!(back == plain);
        let refused = others.decrypt(&sealed[..], io::sink());
        assert!(matches!(refused, Err(DecryptionError::AnotherKey)), "{refused:?}");
    }

    #[test]
    fn s31_a_flipped_bit_or_a_missing_end_is_noticed() {
        let (recipient, identities, _) = keys();
        let mut sealed = Vec::new();
        recipient.encrypt(vec![7; 200_000].as_slice(), &mut sealed).unwrap();
        for at in [30, 150, sealed.len() / 2, sealed.len() - 1] {
            let mut bytes = sealed.clone();
            bytes[at] ^= 1;
            assert!(identities.decrypt(&bytes[..], io::sink()).is_err(), "byte {at}");
        }
        for length in [0, 10, 200, sealed.len() / 2, sealed.len() - 1] {
            let refused = identities.decrypt(&sealed[..length], io::sink());
            assert!(matches!(refused, Err(DecryptionError::Damaged)), "{length}: {refused:?}");
        }
    }

    #[test]
    fn s15_a_secret_key_in_the_wrong_place_is_told_and_not_shown() {
        let (_, _, secret) = keys();
        for wrong in [secret.as_str(), &secret.to_lowercase()] {
            let problem = Recipient::parse(wrong).unwrap_err();
            assert!(problem.contains("secret key") && !problem.contains(&wrong[20..]), "{problem}");
        }
        for wrong in [
            "",
            "age1",
            "ssh-ed25519 AAAA",
            "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq",
        ] {
            assert!(Recipient::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Identities::parse("# created: now\n\n").is_err());
        assert!(Identities::parse(&format!("# created: now\n{secret}\nrubbish")).is_err());
        assert!(Identities::parse(&format!("# created: now\n{secret}\n")).is_ok());
    }
}
