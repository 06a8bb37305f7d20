//! What `serve` prints in debug, for the person who tries it out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use crate::config::Config;
use crate::config::sms::Provider;
use crate::domain::Listen;
use crate::domain::policy::LimitPolicy;

/// The text, for a server that listens there.
pub(super) fn text(config: &Config, listen: &Listen) -> String {
    let Some(address) = listen.port() else {
        return format!(
            "\n  FreshK, in debug: not for production\n\n  API       {listen}, for a proxy on this machine\n\n"
        );
    };
    let codes = match config.sms.provider {
        Provider::Console => "printed here, never sent",
        Provider::Senders(_) if config.sms.twilio().is_some() => {
            "sent by Twilio; those of the testing endpoints are printed here"
        }
        Provider::Senders(_) => "sent; those of the testing endpoints are printed here",
    };
    let shown = shown(address);
    let scheme = if config.server.tls.is_on { "https" } else { "http" };
    let docs = if config.docs.enabled { format!("{scheme}://{shown}/docs") } else { "off".to_owned() };
    format!(
        "\n  FreshK, in debug: not for production\n\n  \
         API       {scheme}://{shown}/api/mobile/auth/\n  \
         docs      {docs}\n  \
         phones    {}\n  \
         database  {}\n  \
         codes     {codes}\n  \
         limits    {}\n\n",
        phones(address),
        config.database.url,
        limits(&config.limits.policy),
    )
}

/// How a browser on this machine calls it.
fn shown(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port())
    } else {
        address
    }
}

fn phones(address: SocketAddr) -> String {
    let emulator = format!("an Android emulator: http://10.0.2.2:{}", address.port());
    if address.ip().is_loopback() {
        return format!("{emulator}\n            (`serve --dev --lan` lets in phones on the same network)");
    }
    let own = if address.ip().is_unspecified() { own_address() } else { Some(address.ip()) };
    match own {
        Some(ip) => {
            format!(
                "http://{} on the same network\n            {emulator}",
                SocketAddr::new(ip, address.port())
            )
        }
        None => format!("this machine is on no network\n            {emulator}"),
    }
}

/// The address by which others on the network reach this machine: the one that it would call the Internet from. Nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // An address for documents (RFC 5737), which nobody has.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
}

fn limits(policy: &LimitPolicy) -> String {
    if [policy.ip, policy.user, policy.user_per_day].iter().all(|units| *units == 0) {
        return "off: production's hold without --no-limits".to_owned();
    }
    let window = humantime::format_duration(policy.window);
    let some = |units: u32| if units == 0 { "any number of".to_owned() } else { units.to_string() };
    format!(
        "{} calls per address and {} codes per phone in {window}\n            (`serve --dev --no-limits` turns them off)",
        some(policy.ip),
        some(policy.user)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_shown_by_an_address_that_can_be_called() {
        let shown = |address: &str| shown(address.parse().unwrap()).to_string();
        assert_eq!(shown("0.0.0.0:8000"), "127.0.0.1:8000");
        assert_eq!(shown("127.0.0.1:9000"), "127.0.0.1:9000");
        let told = phones("192.0.2.7:8000".parse().unwrap());
        assert!(told.starts_with("http://192.0.2.7:8000 on the same network\n"), "{told}");
    }
}
