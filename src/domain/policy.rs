//! The numbers that the flows obey; `config` fills them in.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::domain::PhonePolicy;
use crate::domain::budget::BudgetPolicy;
use crate::domain::guard::GuardPolicy;
use crate::domain::quota::{DAY, EXPORTS, Endpoint, Limit, Quota};
use crate::domain::session::Lifetimes;

/// Everything that the flows must obey.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Codes.
    pub otp: OtpPolicy,
    /// Quotas.
    pub limits: LimitPolicy,
    /// Tokens and sessions.
    pub lifetimes: Lifetimes,
    /// How long after its rotation a refresh token may be asked with again.
    pub reuse_grace: Duration,
    /// How many live sessions one user has at most; the oldest ends.
    pub max_sessions: usize,
    /// Whether session and user of each Bearer are read from the database, whatever memory has.
    pub reads_every_bearer: bool,
    /// How many live devices one user has at most; the one whose login is the longest ago ends.
    pub max_devices: usize,
    /// The role of a user who has just registered.
    pub default_role: String,
    /// Phone numbers.
    pub phones: PhonePolicy,
    /// Whether known and unknown numbers must look alike.
    pub conceal_accounts: bool,
    /// How long a change of number waits that the number before has not proven.
    pub phone_change_delay: Duration,
    /// How many text messages are bought at most.
    pub budgets: BudgetPolicy,
    /// How the guard against SMS pumping goes about.
    pub guard: GuardPolicy,
    /// How long maintenance keeps what is no longer needed.
    pub retention: Retention,
}

/// `[otp]`
#[derive(Clone, Debug)]
pub struct OtpPolicy {
    /// Digits of a code.
    pub length: usize,
    /// How long a code is good.
    pub ttl: Duration,
    /// Wrong guesses that one code takes.
    pub max_attempts: u32,
    /// Wrong guesses that one phone takes in a day.
    pub max_failures_per_day: u32,
    /// The least time between two codes for one phone.
    pub resend_cooldown: Duration,
    /// How many codes of one phone may be good at once.
    pub live_codes: usize,
}

/// `[limits]`
#[derive(Clone, Debug)]
pub struct LimitPolicy {
    /// Calls per address and window.
    pub ip: u32,
    /// Codes per phone and window.
    pub user: u32,
    /// Codes per phone in a day.
    pub user_per_day: u32,
    /// The sliding window of the calls and of the codes.
    pub window: Duration,
    /// Whether the endpoints share one quota per address.
    pub ip_shared: bool,
    /// Networks with a number of their own.
    pub networks: Vec<(IpNet, u32)>,
}

/// How long rows are kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Events that every webhook has taken, or that were dropped.
    pub events: Duration,
    /// Audit rows.
    pub audit: Duration,
    /// Users who never verified.
    pub unverified: Duration,
    /// Users who asked for their deletion.
    pub deletion_grace: Duration,
    /// The number of an account that nobody uses: after that a login is a new person's. Zero for ever.
    pub dormant_after: Duration,
    /// Whether tokens of the system before are good: their use is seen by nobody here.
    pub takes_foreign_tokens: bool,
}

/// How many times what one IPv6 /64 has a whole /48 has.
const SITE_FACTOR: u32 = 10;

impl Limit {
    /// That of the /48 around an IPv6 address which has this one.
    #[must_use]
    pub const fn of_site(self) -> Self {
        Self { units: self.units.saturating_mul(SITE_FACTOR), ..self }
    }
}

impl LimitPolicy {
    /// The quota that a call of `endpoint` costs, and how much of it `address` has: the number of the narrowest network
    /// that holds the address, else `limits.ip`.
    pub fn for_address(&self, endpoint: Endpoint, address: IpAddr) -> (Quota, Limit) {
        let quota = if self.ip_shared { Quota::IpShared } else { Quota::Ip(endpoint) };
        let units = self.narrowest(address).map_or(self.ip, |(_, units)| *units);
        (quota, Limit { units, window: self.window })
    }

    /// Whether a network within the /48 of an IPv6 address has a number of its own.
    pub fn is_within_site(&self, address: IpAddr) -> bool {
        address.is_ipv6() && self.narrowest(address).is_some_and(|(network, _)| network.prefix_len() > 48)
    }

    fn narrowest(&self, address: IpAddr) -> Option<&(IpNet, u32)> {
        let holding = self.networks.iter().filter(|(network, _)| network.contains(&address));
        holding.max_by_key(|(network, _)| network.prefix_len())
    }

    /// How long a unit of a quota counts: the longest window that looks back at it.
    pub const fn window_of(&self, quota: Quota) -> Duration {
        match quota {
            // No window is longer than a day.
            Quota::User(_) | Quota::PhoneChanges if self.user_per_day > 0 => DAY,
            Quota::Ip(_) | Quota::IpShared | Quota::User(_) | Quota::PhoneChanges => self.window,
            Quota::Failures(_) | Quota::Refunds(_) => DAY,
            Quota::Export => EXPORTS.window,
        }
    }

    /// How many codes a phone may have, or a device, and a user for changes of number: in a window, and in a day.
    pub const fn codes(&self) -> [Limit; 2] {
        [Limit { units: self.user, window: self.window }, Limit { units: self.user_per_day, window: DAY }]
    }
}

impl OtpPolicy {
    /// How many wrong guesses a phone has in a day, or a device.
    pub const fn failures(&self) -> Limit {
        Limit { units: self.max_failures_per_day, window: DAY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_network_decides() {
        let limits = LimitPolicy {
            ip: 5,
            user: 3,
            user_per_day: 10,
            window: Duration::from_hours(1),
            ip_shared: false,
            networks: vec![("10.0.0.0/8".parse().unwrap(), 50), ("10.1.0.0/16".parse().unwrap(), 7)],
        };
        let units = |address: &str| limits.for_address(Endpoint::Request, address.parse().unwrap()).1.units;
        assert_eq!(units("203.0.113.1"), 5);
        assert_eq!(units("10.9.9.9"), 50);
        assert_eq!(units("10.1.2.3"), 7);
        let quota = |limits: &LimitPolicy| limits.for_address(Endpoint::Request, [10, 1, 2, 3].into()).0;
        assert_eq!(quota(&limits), Quota::Ip(Endpoint::Request));
        assert_eq!(quota(&LimitPolicy { ip_shared: true, ..limits }), Quota::IpShared);
    }

    #[test]
    fn a_network_longer_than_48_is_apart_from_its_site() {
        let networks = ["2001:db8:7:1::/64", "2001:db8:8::/48", "10.1.2.0/24"];
        let limits = LimitPolicy {
            ip: 5,
            user: 3,
            user_per_day: 10,
            window: Duration::from_hours(1),
            ip_shared: false,
            networks: networks.map(|network| (network.parse().unwrap(), 50)).to_vec(),
        };
        let is_apart = |address: &str| limits.is_within_site(address.parse().unwrap());
        assert!(is_apart("2001:db8:7:1::1") && !is_apart("2001:db8:7:2::1"));
        assert!(!is_apart("2001:db8:8:1::1") && !is_apart("10.1.2.3"));
    }

    #[test]
    fn a_unit_of_the_codes_counts_for_a_day_where_the_day_is_limited() {
        let limits = LimitPolicy {
            ip: 5,
            user: 3,
            user_per_day: 10,
            window: Duration::from_hours(1),
            ip_shared: false,
            networks: vec![],
        };
        let user = Quota::User(crate::domain::Mode::Production);
        assert_eq!(limits.window_of(user), DAY);
        assert_eq!(limits.window_of(Quota::IpShared), Duration::from_hours(1));
        assert_eq!(LimitPolicy { user_per_day: 0, ..limits }.window_of(user), Duration::from_hours(1));
    }

    /// The chance that a guesser who spends every guess of every day of a year finds a code of six digits, where so many
    /// wrong guesses are judged a day.
    fn found_in_a_year(guesses_a_day: u32) -> f64 {
        1.0 - (1.0 - f64::from(guesses_a_day) / 1_000_000.0).powi(365)
    }

    #[test]
    fn s6_the_day_of_failures_keeps_guessing_for_a_year_under_0_6_percent_and_with_a_stolen_device_under_1_2()
    {
        let otp = OtpPolicy {
            length: 6,
            ttl: Duration::from_mins(10),
            max_attempts: 5,
            max_failures_per_day: 15,
            resend_cooldown: Duration::ZERO,
            live_codes: 1,
        };
        let day = otp.failures().units;
        // Without the day: three codes an hour, five guesses each.
        assert!(found_in_a_year(3 * 5 * 24) > 0.12);
        assert!(found_in_a_year(day) < 0.006);
        // The phone's own day, and that of one device beside it.
        assert!(found_in_a_year(day + day) < 0.012);
        // Codes enough for the guesses: with fewer, the arithmetic above would not be what bounds them.
        assert!(10 * otp.max_attempts >= day);
    }
}
