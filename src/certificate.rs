//! A certificate with its private key, as a server shows it: read from PEM, and each held against the other.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::domain::{Help, Timestamp};

pub mod challenge;

/// What is left at most of a certificate that should have been renewed.
const LEFT_WHEN_OVERDUE: Duration = Duration::from_hours(27 * 24);

/// What is left at most when somebody must act.
const LEFT_WHEN_URGENT: Duration = Duration::from_hours(14 * 24);

/// A certificate, those that lead from it to an authority, and its private key.
#[derive(Clone)]
pub struct Pair {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
    /// When it begins to hold.
    pub begins: Timestamp,
    /// When it no longer holds.
    pub ends: Timestamp,
}

/// Why a certificate and a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// No certificate in PEM.
    #[error("it has no certificate in PEM in it")]
    NoCertificate,
    /// What stands between the lines of PEM is no certificate.
    #[error("its first certificate cannot be read")]
    NotX509,
    /// No private key in PEM.
    #[error("it has no private key in PEM in it")]
    NoKey,
    /// An encrypted key, or one of a kind that TLS does not use.
    #[error("its private key cannot be used: it is encrypted, or of a kind that is not supported")]
    KeyKind,
    /// The key is another certificate's.
    #[error("it does not fit the certificate: it is the key of another one")]
    Foreign,
}

impl PairError {
    /// Whether the key is at fault, and not the certificate.
    pub const fn is_of_key(self) -> bool {
        match self {
            Self::NoCertificate | Self::NotX509 => false,
            Self::NoKey | Self::KeyKind | Self::Foreign => true,
        }
    }
}

impl Help for PairError {
    fn help(&self) -> String {
        match self {
            Self::NoCertificate | Self::NotX509 => {
                "name the file with the server's own certificate and after it those of the authority, such as certbot's \
                 fullchain.pem"
            }
            Self::NoKey => "name the file with the private key of the certificate, such as certbot's privkey.pem",
            Self::KeyKind => "use an unencrypted key of RSA, ECDSA (P-256, P-384) or Ed25519, in PEM",
            Self::Foreign => {
                "name the key that the certificate was made with; in the file of certificates the server's own stands first"
            }
        }
        .into()
    }
}

impl Pair {
    /// Reads both.
    ///
    /// # Errors
    /// [`PairError`]
    pub fn parse(certificates: &[u8], key: &[u8]) -> Result<Self, PairError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<_, _>>()
            .map_err(|_| PairError::NoCertificate)?;
        let first = chain.first().ok_or(PairError::NoCertificate)?;
        let (names, begins, ends) = read(first).ok_or(PairError::NotX509)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| PairError::NoKey)?;
        let key = CertifiedKey::from_der(chain, key, &rustls::crypto::aws_lc_rs::default_provider())
            .map_err(|error| match error {
                TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch) => PairError::Foreign,
                TlsError::InvalidCertificate(_) => PairError::NotX509,
                _ => PairError::KeyKind,
            })?;
        Ok(Self { key: Arc::new(key), names, begins, ends })
    }

    /// What TLS shows and signs with.
    pub(crate) fn key(&self) -> Arc<CertifiedKey> {
        self.key.clone()
    }

    /// Whether it is the same certificate, by the same way to an authority.
    pub fn is_same(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }

    /// The names for which it holds, in lower case.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether it holds for a host: a name in lower case, or an address (RFC 9525 §6.3).
    pub fn covers(&self, host: &str) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(domain) => host.split_once('.').is_some_and(|(_, rest)| rest == domain),
            None => name == host,
        })
    }

    /// For how long it holds in all.
    pub fn lifetime(&self) -> Duration {
        self.begins.until(self.ends)
    }

    /// Whether a third of its time or less is left: then it is to be renewed.
    pub fn is_due(&self, now: Timestamp) -> bool {
        now.until(self.ends) <= self.lifetime() / 3
    }

    /// Whether it should have been renewed some time ago. That begins when a third of its time is left, thirty days at most, and
    /// a tenth of that is for the attempts of an ordinary renewal.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        now.until(self.ends) < (self.lifetime() / 10 * 3).min(LEFT_WHEN_OVERDUE)
    }

    /// Whether somebody must act: a sixth of its time is left, fourteen days at most.
    pub fn is_urgent(&self, now: Timestamp) -> bool {
        now.until(self.ends) < (self.lifetime() / 6).min(LEFT_WHEN_URGENT)
    }
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair")
            .field("names", &self.names)
            .field("ends", &self.ends.iso())
            .finish_non_exhaustive()
    }
}

/// For which names a certificate holds, from when and until when.
fn read(der: &CertificateDer<'_>) -> Option<(Vec<String>, Timestamp, Timestamp)> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let alternatives = certificate.subject_alternative_name().ok()?;
    let names = alternatives.iter().flat_map(|found| &found.value.general_names).filter_map(name);
    let validity = certificate.validity();
    let [begins, ends] = [validity.not_before, validity.not_after]
        .map(|time| Timestamp::from_millis(time.timestamp().saturating_mul(1000)));
    Some((names.collect(), begins, ends))
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(bytes) => match *bytes {
            [a, b, c, d] => Some(IpAddr::from([*a, *b, *c, *d]).to_string()),
            bytes => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string()),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate for these names and its key, both in PEM.
    fn made(names: &[&str]) -> (String, String) {
        let names = names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn a_pair_knows_its_names_and_its_time() {
        let (certificate, key) = made(&["api.example.com", "*.example.org", "192.0.2.1"]);
        let pair = Pair::parse(certificate.as_bytes(), key.as_bytes()).unwrap();
        for good in ["api.example.com", "a.example.org", "192.0.2.1"] {
            assert!(pair.covers(good), "{good}");
        }
        for bad in ["example.com", "x.api.example.com", "example.org", "a.b.example.org", "192.0.2.2"] {
            assert!(!pair.covers(bad), "{bad}");
        }
        let third = pair.begins.until(pair.ends) / 3;
        assert!(!pair.is_due(pair.ends - third - Duration::from_secs(2)));
        assert!(pair.is_due(pair.ends - third + Duration::from_secs(2)) && pair.is_due(pair.ends + third));
        assert!(!format!("{pair:?}").contains("PRIVATE"));
    }

    #[test]
    fn what_is_left_is_judged_by_the_whole_time_of_a_certificate() {
        let (certificate, key) = made(&["api.example.com"]);
        let mut pair = Pair::parse(certificate.as_bytes(), key.as_bytes()).unwrap();
        let hours = |count: u64| Duration::from_hours(count);
        for (lifetime, due, overdue, urgent) in [
            (90 * 24, 30 * 24, 27 * 24, 14 * 24),
            (398 * 24, 3184, 27 * 24, 14 * 24),
            // Short-lived ones: one of six days must not be an alarm all its life.
            (6 * 24, 48, 43, 24),
            (12, 4, 3, 2),
        ] {
            pair.begins = pair.ends - hours(lifetime);
            let left = |count: u64| pair.ends - hours(count);
            assert!(pair.is_due(left(due)) && !pair.is_due(left(due + 1)), "{lifetime}");
            assert!(pair.is_overdue(left(overdue - 1)) && !pair.is_overdue(left(overdue + 1)), "{lifetime}");
            assert!(pair.is_urgent(left(urgent - 1)) && !pair.is_urgent(left(urgent)), "{lifetime}");
            assert!(!pair.is_overdue(left(due)), "an ordinary renewal has time to be done: {lifetime}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_pair_is_said_of_the_file_that_has_it() {
        let ((certificate, key), (other, _)) = (made(&["a.example"]), made(&["b.example"]));
        let refused =
            |certificate: &str, key: &str| Pair::parse(certificate.as_bytes(), key.as_bytes()).unwrap_err();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for (certificates, keys, error) in [
            ("", key.as_str(), PairError::NoCertificate),
            (&key, &key, PairError::NoCertificate),
            (broken, &key, PairError::NotX509),
            (&certificate, "", PairError::NoKey),
            (&certificate, &certificate, PairError::NoKey),
            (&certificate, no_key, PairError::KeyKind),
            (&other, &key, PairError::Foreign),
        ] {
            let found = refused(certificates, keys);
            assert_eq!(found, error);
            assert!(!found.help().is_empty());
            assert_eq!(found.is_of_key(), !matches!(error, PairError::NoCertificate | PairError::NotX509));
        }
    }
}
