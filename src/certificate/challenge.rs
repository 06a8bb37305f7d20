//! What an authority asks before it gives a certificate, and the answers: by HTTP at a path of its own (RFC 8555 §8.3), or by
//! a certificate that is shown in a handshake for it alone (RFC 8737).

use std::sync::{Arc, RwLock};

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};

use crate::sync::{read, write};

/// One question about one name, and its answer.
#[derive(Clone)]
pub struct Challenge {
    domain: String,
    token: String,
    answer: String,
    key: Arc<CertifiedKey>,
}

/// A certificate that answers a question could not be made.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the answer to the authority could not be made: {0}")]
pub struct ChallengeError(String);

impl Challenge {
    /// About `domain`: whoever knows `token` is told `answer`.
    ///
    /// # Errors
    /// [`ChallengeError`]
    pub fn new(domain: &str, token: &str, answer: &str) -> Result<Self, ChallengeError> {
        let failed = |error: &dyn std::fmt::Display| ChallengeError(error.to_string());
        let mut params = CertificateParams::new([domain.to_owned()]).map_err(|error| failed(&error))?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(&Sha256::digest(answer))];
        let key = KeyPair::generate().map_err(|error| failed(&error))?;
        let certificate = params.self_signed(&key).map_err(|error| failed(&error))?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        // That they fit each other is not asked: whoever reads certificates for a connection refuses this one's extension.
        let key = default_provider().key_provider.load_private_key(key).map_err(|error| failed(&error))?;
        let key = CertifiedKey::new(vec![certificate.der().clone()], key);
        Ok(Self {
            domain: domain.to_owned(),
            token: token.to_owned(),
            answer: answer.to_owned(),
            key: Arc::new(key),
        })
    }

    /// Name, token and answer, as other nodes are told.
    pub fn parts(&self) -> [&str; 3] {
        [&self.domain, &self.token, &self.answer]
    }
}

/// The questions that are open now.
#[derive(Default)]
pub struct Challenges(RwLock<Vec<Challenge>>);

impl Challenges {
    /// Replaces them.
    pub fn set(&self, open: Vec<Challenge>) {
        *write(&self.0) = open;
    }

    /// The answer for whoever knows the token.
    pub fn answer(&self, token: &str) -> Option<String> {
        read(&self.0).iter().find(|one| one.token == token).map(|one| one.answer.clone())
    }

    /// What is shown for a name in a handshake of the authority's.
    pub(crate) fn key(&self, domain: &str) -> Option<Arc<CertifiedKey>> {
        read(&self.0).iter().find(|one| one.domain == domain).map(|one| one.key.clone())
    }
}

impl std::fmt::Debug for Challenges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(read(&self.0).iter().map(|one| &one.domain)).finish()
    }
}
