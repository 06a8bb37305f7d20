//! Client addresses as the limits count them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

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

    /// Whom the address counts as: an IPv4 address alone, an IPv6 address with all of its /64, since one customer
    /// holds at least that much.
    pub fn counted(self) -> IpAddr {
        match self.0 {
            IpAddr::V4(_) => self.0,
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
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
    fn s12_ipv6_counts_by_64_and_mapped_ipv4_folds() {
        assert_eq!(subject("203.0.113.7"), "203.0.113.7");
        assert_eq!(subject("::ffff:203.0.113.7"), "203.0.113.7");
        assert_eq!(subject("2001:db8:1:2:3:4:5:6"), subject("2001:db8:1:2::1"));
        assert_ne!(subject("2001:db8:1:2::1"), subject("2001:db8:1:3::1"));
    }
}
