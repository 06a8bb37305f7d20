//! Whom the guard holds back at most, and what a message has in common with others.

use ipnet::IpNet;

use super::Scope;
use crate::domain::{ClientAddress, Country, PhoneNumber};

/// What the guard does with its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardMode {
    /// Refuses.
    On,
    /// Counts and tells, and refuses nothing.
    Monitor,
    /// Looks at nothing.
    Off,
}

/// Whom the guard never holds back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Calls from these networks.
    pub networks: Vec<IpNet>,
    /// Numbers that begin so, with their `+`.
    pub prefixes: Vec<String>,
}

/// What the guard goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardPolicy {
    /// What it does with its verdict.
    pub mode: GuardMode,
    /// Whom it never holds back.
    pub allowed: Allowed,
}

/// What a message has in common with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The address network of the call: `203.0.113.0/24`, `2001:db8:1::/48`.
    pub network: String,
    /// The number without its last three digits.
    pub range: String,
    /// The ISO code of the number's country.
    pub country: String,
}

/// How a message stood when it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The number had been verified before, or the call had the token of a device. Nothing is counted.
    Known,
    /// The number had never been verified; the network was trusted, or is never held back.
    Trusted,
    /// The number had never been verified.
    Stranger,
}

impl GuardMode {
    /// All of them, as the configuration names them.
    pub const WORDS: [&'static str; 3] = ["on", "monitor", "off"];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Monitor => "monitor",
            Self::Off => "off",
        }
    }
}

impl Allowed {
    /// Whether a call is never held back.
    pub fn holds(&self, address: ClientAddress, phone: &PhoneNumber) -> bool {
        let address = address.carried();
        self.networks.iter().any(|network| network.contains(&address))
            || self.prefixes.iter().any(|prefix| phone.as_str().starts_with(prefix))
    }
}

/// The digits by which the numbers of a range differ.
const RANGE_DIGITS: usize = 3;

/// The country of numbers that no country has.
const NOWHERE: &str = "ZZ";

impl Place {
    /// Of a call from an address about a number.
    pub fn of(address: ClientAddress, phone: &PhoneNumber) -> Self {
        Self {
            network: Self::network_of(address),
            range: Self::range_of(phone).to_owned(),
            country: Self::country_of(phone),
        }
    }

    /// The network of an address.
    pub fn network_of(address: ClientAddress) -> String {
        let network = address.network();
        let length = if network.is_ipv4() { 24 } else { 48 };
        format!("{network}/{length}")
    }

    /// The ISO code of a number's country; ZZ for numbers of none.
    pub fn country_of(phone: &PhoneNumber) -> String {
        Country::of(phone).map_or_else(|| NOWHERE.to_owned(), |country| country.as_str().to_owned())
    }

    /// The range of a number.
    pub fn range_of(phone: &PhoneNumber) -> &str {
        let text = phone.as_str();
        &text[..text.len().saturating_sub(RANGE_DIGITS)]
    }

    /// What a block of a scope has as its key; nothing where it holds all back.
    pub fn key(&self, scope: Scope) -> &str {
        match scope {
            Scope::Network => &self.network,
            Scope::Range => &self.range,
            Scope::Country => &self.country,
            Scope::World => "",
        }
    }
}

impl Standing {
    /// The word in rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::Trusted => "trusted",
            Self::Stranger => "stranger",
        }
    }

    /// Reads the word back.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Known, Self::Trusted, Self::Stranger].into_iter().find(|standing| standing.as_str() == word)
    }
}
