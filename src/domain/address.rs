//! Client addresses as the limits count them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The address of a client, with IPv4-mapped IPv6 folded to IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress(IpAddr);

impl ClientAddress {
    /// Folds `::ffff:a.b.c.d` to `a.b.c.d`.
    pub fn new(address: IpAddr) -> Self {
        Self(address.to_canonical())
    }

    /// The address itself, for logs, audit and the session list.
    pub const fn ip(self) -> IpAddr {
        self.0
    }

    /// The address, or the IPv4 address that it carries: NAT64 (`64:ff9b::/96`, RFC 6052 §2.1), 6to4 (`2002::/16`,
    /// RFC 3056 §2) and Teredo (`2001::/32`, where it is the client's with every bit inverted, RFC 4380 §4) put all their
    /// people under one prefix. For limits alone: whom the server trusts is said of the address itself.
    pub fn carried(self) -> IpAddr {
        let IpAddr::V6(v6) = self.0 else { return self.0 };
        let v4 =
            |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
        match v6.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => v4(high, low),
            [0x2001, 0, .., high, low] => v4(!high, !low),
            _ => self.0,
        }
    }

    /// Whom the address counts as: an IPv4 address alone, also one that an IPv6 address carries, another IPv6 address with
    /// all of its /64, since one customer holds at least that much.
    pub fn counted(self) -> IpAddr {
        match self.carried() {
            v4 @ IpAddr::V4(_) => v4,
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        }
    }

    /// The network that the address is part of, as far as a client that stays where it is may move: /24 of IPv4, /48 of
    /// IPv6.
    pub fn network(self) -> IpAddr {
        match self.counted() {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                IpAddr::V4(Ipv4Addr::new(a, b, c, 0))
            }
            IpAddr::V6(v6) => IpAddr::V6(site(v6)),
        }
    }

    /// The key of the /48 that an IPv6 address is part of, in the ledger: `2001:db8:1::/48`. Whoever holds that much has
    /// 65,536 addresses as they are counted alone. None of an IPv4 address.
    pub fn site(self) -> Option<String> {
        match self.counted() {
            IpAddr::V4(_) => None,
            IpAddr::V6(v6) => Some(format!("{}/48", site(v6))),
        }
    }

    /// Loopback, link-local, or of a private network: no client of the world's, but a machine beside this one.
    pub fn is_neighbour(self) -> bool {
        match self.0 {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
        }
    }

    /// The key of the address in the ledger: `203.0.113.7`, `2001:db8:1:2::/64`.
    pub fn subject(self) -> String {
        match self.counted() {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("{v6}/64"),
        }
    }
}

/// The key under which refusals of a subject of the ledger are counted and told: an IPv6 network of 65,536 customers as
/// one, for whoever holds it makes new ones at will. A phone and an IPv4 address are counted as themselves.
pub fn refusals_key(subject: &str) -> String {
    let network = subject.strip_suffix("/64").and_then(|address| address.parse::<Ipv6Addr>().ok());
    network.map_or_else(|| subject.to_owned(), |network| format!("{}/48", site(network)))
}

/// The /48 that an address is in.
fn site(address: Ipv6Addr) -> Ipv6Addr {
    let [a, b, c, ..] = address.segments();
    Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)
}

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(text: &str) -> String {
        ClientAddress::new(text.parse().unwrap()).subject()
    }

    #[test]
    fn s42_a_network_is_a_24_or_a_48() {
        let network = |text: &str| ClientAddress::new(text.parse().unwrap()).network().to_string();
        assert_eq!(network("203.0.113.7"), "203.0.113.0");
        assert_eq!(network("::ffff:203.0.113.9"), network("203.0.113.7"));
        assert_ne!(network("203.0.114.7"), network("203.0.113.7"));
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1::");
        assert_ne!(network("2001:db8:2::1"), network("2001:db8:1::1"));
    }

    #[test]
    fn s12_ipv6_counts_by_64_and_mapped_ipv4_folds() {
        assert_eq!(subject("203.0.113.7"), "203.0.113.7");
        assert_eq!(subject("::ffff:203.0.113.7"), "203.0.113.7");
        assert_eq!(subject("2001:db8:1:2:3:4:5:6"), subject("2001:db8:1:2::1"));
        assert_ne!(subject("2001:db8:1:2::1"), subject("2001:db8:1:3::1"));
    }

    #[test]
    fn s12_an_ipv6_address_counts_for_its_48_too() {
        let site = |text: &str| ClientAddress::new(text.parse().unwrap()).site();
        assert_eq!(site("2001:db8:1:2:3:4:5:6").as_deref(), Some("2001:db8:1::/48"));
        for carries_ipv4 in ["203.0.113.7", "::ffff:203.0.113.7", "64:ff9b::192.0.2.33", "2002:c000:0221::1"]
        {
            assert_eq!(site(carries_ipv4), None, "{carries_ipv4}");
        }
    }

    #[test]
    fn refusals_of_a_whole_ipv6_network_are_counted_as_one() {
        assert_eq!(refusals_key("2001:db8:1:2::/64"), "2001:db8:1::/48");
        for subject in ["203.0.113.7", "+1234567890"] {
            assert_eq!(refusals_key(subject), subject);
        }
    }

    #[test]
    fn s12_an_ipv6_address_that_carries_an_ipv4_address_counts_as_that() {
        for (address, counts_as) in [
            // RFC 6052 §2.4, RFC 3056 §2, RFC 4380 §5.2.9 (the example's client behind a NAT).
            ("64:ff9b::192.0.2.33", "192.0.2.33"),
            ("64:ff9b::1", "0.0.0.1"),
            ("2002:c000:0221::1", "192.0.2.33"),
            ("2002:c000:0221:7:1:2:3:4", "192.0.2.33"),
            ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45"),
            // Their neighbours do not.
            ("64:ff9b:0:0:0:1:c000:221", "64:ff9b::/64"),
            ("64:ff9b:1::192.0.2.33", "64:ff9b:1::/64"),
            ("2001:1:4136:e378:8000:63bf:3fff:fdd2", "2001:1:4136:e378::/64"),
            ("2003:c000:0221::1", "2003:c000:221::/64"),
        ] {
            assert_eq!(subject(address), counts_as, "{address}");
            let itself: IpAddr = address.parse().unwrap();
            assert_eq!(ClientAddress::new(itself).ip(), itself, "what is trusted and logged stays");
        }
    }

    #[test]
    fn a_neighbour_is_of_this_machine_its_link_or_a_private_network() {
        let is_neighbour = |text: &str| ClientAddress::new(text.parse().unwrap()).is_neighbour();
        for near in ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.1.1", "::1", "fd00::1", "fe80::1"] {
            assert!(is_neighbour(near), "{near}");
        }
        for far in ["203.0.113.7", "2001:db8::1"] {
            assert!(!is_neighbour(far), "{far}");
        }
    }
}
