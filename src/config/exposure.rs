//! Debug on a machine that the world reaches: whoever reads the console, or the answer of a proxy, would log in as anybody.

use super::reader::Reader;
use super::server::Server;
use super::sms::{Provider, Sms};
use super::top::DEBUG;

/// Refuses debug where everything says production: real messages, a public address, and a listener beyond this machine.
pub(super) fn check(reader: &mut Reader<'_>, server: &Server, sms: &Sms) {
    let sends = matches!(sms.provider, Provider::Senders(_));
    let is_public = server.public_url.is_some() && !server.listen.ip().to_canonical().is_loopback();
    if reader.debug && sends && is_public {
        reader.fault(
            &DEBUG,
            format!(
                "debug is on, Twilio sends, server.public_url is set, and {} can be reached from other machines: the \
                 testing endpoints would let anybody log in who reads the console",
                server.listen
            ),
            "set debug = false in production; for development with real messages listen on 127.0.0.1, behind a tunnel",
        );
    }
}
