//! What may not be served where. Debug on a machine that the world reaches: whoever reads the console, or the answer of a proxy, would log in as anybody.

use super::reader::Reader;
use super::server::{LISTEN, Server};
use super::sms::{Provider, Sms};
use super::top::DEBUG;

/// Refuses debug where everything says production: real messages, a public address, and a listener beyond this machine.
pub(super) fn check(reader: &mut Reader<'_>, server: &Server, sms: &Sms) {
    let sends = matches!(sms.provider, Provider::Senders(_));
    let is_public = server.public_url.is_some() && !server.listen.is_local();
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

/// A proxy on this machine has the certificate.
pub(super) fn check_socket(reader: &mut Reader<'_>, server: &Server) {
    if server.tls.is_on && server.listen.port().is_none() {
        reader.fault(
            &LISTEN,
            "the server has TLS of its own, which is of no use on a socket in the file system",
            "listen on an address and a port, or leave [server.tls] out: the proxy has the certificate",
        );
    }
}
