//! How a connection begins: who asks, and with which password.

use fallible_iterator::FallibleIterator as _;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{AuthenticationSaslBody, Message};
use postgres_protocol::message::frontend;

use super::fault::Failure;
use super::settings::PostgresSettings;
use super::wire::Wire;

/// Why the server did not let us in.
#[derive(Debug)]
pub(super) enum NotIn {
    /// It refused, or the connection broke.
    Failed(Failure),
    /// It asks for what `FreshK` has not or does not do.
    Unfit {
        /// What is wrong.
        problem: String,
        /// What to do.
        help: &'static str,
    },
}

impl From<Failure> for NotIn {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Introduces us with `options`, proves the password, and waits until the server is ready.
pub(super) fn log_in(wire: &mut Wire, settings: &PostgresSettings, options: &str) -> Result<(), NotIn> {
    let parameters = [
        ("user", settings.user.as_str()),
        ("database", settings.database.as_str()),
        ("application_name", "freshk"),
        ("client_encoding", "UTF8"),
        ("options", options),
    ];
    let written = frontend::startup_message(parameters, &mut wire.output);
    written.map_err(|error| Failure::Value(error.to_string()))?;
    wire.send()?;
    let mut proof = None;
    loop {
        match wire.receive()? {
            Message::AuthenticationOk | Message::BackendKeyData(_) => {}
            Message::ReadyForQuery(_) => return Ok(()),
            Message::ErrorResponse(body) => return Err(Failure::of_answer(&body).into()),
            Message::AuthenticationCleartextPassword => {
                // Whoever listens, or poses as the server, would have it.
                if !wire.is_private() && !settings.is_local() {
                    return Err(unfit(
                        "it asks for the password in clear text over a connection that is not encrypted",
                        "set sslmode=verify-full, or scram-sha-256 in pg_hba.conf",
                    ));
                }
                send_password(wire, password(settings)?.as_bytes())?;
            }
            Message::AuthenticationMd5Password(body) => {
                let password = password(settings)?;
                let hash = md5_hash(settings.user.as_bytes(), password.as_bytes(), body.salt());
                send_password(wire, hash.as_bytes())?;
            }
            Message::AuthenticationSasl(body) => proof = Some(begin_scram(wire, settings, &body)?),
            Message::AuthenticationSaslContinue(body) => {
                let proof = proof.as_mut().ok_or_else(out_of_order)?;
                proof.update(body.data()).map_err(|error| refused(&error))?;
                let written = frontend::sasl_response(proof.message(), &mut wire.output);
                written.map_err(|error| Failure::Value(error.to_string()))?;
                wire.send()?;
            }
            Message::AuthenticationSaslFinal(body) => {
                proof
                    .as_mut()
                    .ok_or_else(out_of_order)?
                    .finish(body.data())
                    .map_err(|error| refused(&error))?;
            }
            _ => {
                return Err(unfit(
                    "it asks for a proof that FreshK does not have",
                    "set scram-sha-256 in pg_hba.conf",
                ));
            }
        }
    }
}

fn password(settings: &PostgresSettings) -> Result<&str, NotIn> {
    settings.password.as_ref().map(crate::domain::Secret::expose).ok_or_else(|| {
        unfit("it asks for a password, and the URL has none", "write postgres://user:password@…")
    })
}

fn send_password(wire: &mut Wire, password: &[u8]) -> Result<(), NotIn> {
    let written = frontend::password_message(password, &mut wire.output);
    written.map_err(|error| Failure::Value(error.to_string()))?;
    Ok(wire.send()?)
}

fn begin_scram(
    wire: &mut Wire,
    settings: &PostgresSettings,
    body: &AuthenticationSaslBody,
) -> Result<ScramSha256, NotIn> {
    let knows_scram = body.mechanisms().any(|mechanism| Ok(mechanism == SCRAM_SHA_256)).unwrap_or(false);
    if !knows_scram {
        return Err(unfit("it does not know SCRAM-SHA-256", "set scram-sha-256 in pg_hba.conf"));
    }
    let proof = ScramSha256::new(password(settings)?.as_bytes(), ChannelBinding::unsupported());
    let written = frontend::sasl_initial_response(SCRAM_SHA_256, proof.message(), &mut wire.output);
    written.map_err(|error| Failure::Value(error.to_string()))?;
    wire.send()?;
    Ok(proof)
}

/// The server does not know the password either, or speaks nonsense.
fn refused(error: &std::io::Error) -> NotIn {
    unfit(
        format!("it did not prove that it knows the password: {error}"),
        "see that the password and the server are the right ones",
    )
}

fn out_of_order() -> NotIn {
    unfit("it speaks out of order", "see that it is PostgreSQL")
}

fn unfit(problem: impl Into<String>, help: &'static str) -> NotIn {
    NotIn::Unfit { problem: problem.into(), help }
}
