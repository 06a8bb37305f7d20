//! The client's address: that of the peer or, behind a trusted proxy, the one that the proxy names.
//!
//! Only one configured header is believed, only from `server.trusted_proxies`, and only from the right: whatever a
//! client writes into it lies further left than what our own proxies append. Never `X-Real-IP` from anyone else.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{FORWARDED, HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::clock::Clock;
use crate::domain::ClientAddress;
use crate::http::log_throttle::LogThrottle;
use crate::metrics::{Metrics, ProxyFault};

mod hops;

/// Headers that show that a proxy forwarded the request.
const FORWARDING: [&str; 5] =
    ["x-forwarded-for", "forwarded", "x-real-ip", "cf-connecting-ip", "true-client-ip"];

/// What to do about a proxy that is not trusted (S37); [`lines_trusting`] gives the lines.
pub const HOW_TO_TRUST: &str = "write under [server] in freshk.toml: ";

/// Reads the client's address (S12).
pub struct ClientIp {
    trusted: Vec<IpNet>,
    header: HeaderName,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    untrusted: LogThrottle,
    silent: LogThrottle,
}

impl ClientIp {
    /// Believes `header` (`x-forwarded-for` and `forwarded` are lists; any other holds one address) from peers in
    /// `trusted`.
    pub fn new(trusted: Vec<IpNet>, header: HeaderName, clock: Arc<dyn Clock>, metrics: Metrics) -> Self {
        let hourly = || LogThrottle::every(Duration::from_hours(1), clock.clone());
        Self { untrusted: hourly(), silent: hourly(), trusted, header, clock, metrics }
    }

    /// The client's address.
    pub fn resolve(&self, peer: IpAddr, headers: &HeaderMap) -> ClientAddress {
        self.client(peer, headers)
    }

    /// Whether a peer is a trusted proxy.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.is_trusted(peer.to_canonical())
    }

    /// Warns, of each fault at most once an hour, where everybody behind a proxy shares one address and its limits (S37):
    /// the configuration does not name the proxy, or the proxy does not name the `client` that was resolved. Who asks for
    /// our health (`is_health`) asks for nobody.
    pub fn watch(&self, peer: IpAddr, client: ClientAddress, headers: &HeaderMap, is_health: bool) {
        if let Some(header) = self.untrusted_header(peer, headers) {
            self.note(ProxyFault::Untrusted);
            self.metrics.proxy_untrusted(peer.to_canonical(), header, self.seconds());
            if self.untrusted.should_log() {
                let line = lines_trusting(&self.trusted, peer.to_canonical(), self.header.as_str(), header);
                tracing::warn!(
                    %peer,
                    "a proxy that is not trusted passes requests on, so everyone behind it shares one address and its \
                     limits; if it is yours, {HOW_TO_TRUST}{line}"
                );
            }
        }
        if !is_health && let Some(mend) = self.silence(peer, client, headers) {
            self.note(ProxyFault::Silent);
            if self.silent.should_log() {
                tracing::warn!(
                    %peer,
                    "a trusted proxy does not say for whom it asks, so everyone behind it shares one address and its \
                     limits; {mend}"
                );
            }
        }
    }

    fn note(&self, fault: ProxyFault) {
        self.metrics.proxy_faulted(fault, self.seconds());
    }

    fn seconds(&self) -> u64 {
        u64::try_from(self.clock.now().as_secs()).unwrap_or_default()
    }

    /// Walks the header from the right, past our own proxies; stops at the first hop that is no address.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> ClientAddress {
        let mut client = peer.to_canonical();
        if self.is_trusted(client) {
            for hop in self.hops(headers).into_iter().rev() {
                let Some(address) = hop else { break };
                client = address.to_canonical();
                if !self.is_trusted(client) {
                    break;
                }
            }
        }
        ClientAddress::new(client)
    }

    /// The hops that the header names, oldest first; `None` for one that cannot be read.
    fn hops(&self, headers: &HeaderMap) -> Vec<Option<IpAddr>> {
        // Bytes outside UTF-8 make no address; they spoil the hop that they stand in, and no other.
        let lines: Vec<_> = headers
            .get_all(&self.header)
            .iter()
            .map(|line| String::from_utf8_lossy(line.as_bytes()))
            .collect();
        let joined = lines.join(",");
        if self.header == FORWARDED {
            hops::forwarded(&joined)
        } else if self.header == "x-forwarded-for" {
            hops::x_forwarded_for(&joined)
        } else {
            vec![hops::address(&joined)]
        }
    }

    fn is_trusted(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(&address))
    }

    /// The header in which a neighbour forwards that is not trusted.
    fn untrusted_header(&self, peer: IpAddr, headers: &HeaderMap) -> Option<&str> {
        let peer = peer.to_canonical();
        if self.is_trusted(peer) || !ClientAddress::new(peer).is_neighbour() {
            return None;
        }
        std::iter::once(self.header.as_str()).chain(FORWARDING).find(|name| headers.contains_key(*name))
    }

    /// What to do where the trusted `peer` itself was taken for the client, because it names none that can be read.
    fn silence(&self, peer: IpAddr, client: ClientAddress, headers: &HeaderMap) -> Option<String> {
        let peer = peer.to_canonical();
        if client.ip() != peer || !self.is_trusted(peer) {
            return None;
        }
        let header = &self.header;
        if let Some(Some(_)) = self.hops(headers).last() {
            // It asks for itself.
            return None;
        }
        if headers.contains_key(header) {
            return Some(format!("its {header} ends with no address: have it write its client's there"));
        }
        let other = FORWARDING.iter().find(|name| headers.contains_key(**name));
        Some(other.map_or_else(
            || format!("have it send {header}, with the address of its client"),
            |other| {
                format!(
                    "have it send {header}, or set server.forwarded_header = \"{other}\" if its {other} names its client"
                )
            },
        ))
    }
}

/// The configuration that trusts one more address than now, and reads the `header` that it forwards in where that is not
/// the `configured` one.
pub fn lines_trusting(trusted: &[IpNet], more: IpAddr, configured: &str, header: &str) -> String {
    let networks: Vec<_> =
        trusted.iter().chain([&IpNet::from(more)]).map(|network| format!("\"{network}\"")).collect();
    let line = format!("trusted_proxies = [{}]", networks.join(", "));
    if header == configured { line } else { format!("{line} and forwarded_header = \"{header}\"") }
}

#[cfg(test)]
mod tests;
