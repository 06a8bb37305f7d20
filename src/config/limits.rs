//! `[limits]`: quotas and the flood guard.

use super::key::{Key, Kind, Section};
use super::reader::Reader;
use crate::domain::policy::LimitPolicy;

/// `[limits]`
#[derive(Clone, Debug)]
pub struct Limits {
    /// The quotas, which the ledger keeps.
    pub policy: LimitPolicy,
    /// Requests a second that the flood guard lets an address send for good; 0 turns it off.
    pub flood_per_second: u32,
    /// Requests that an address may send at once before the guard counts.
    pub flood_burst: u32,
}

const MOST: u64 = 1_000_000;

static IP: Key = Key::new(
    "limits.ip",
    Kind::Number { min: 0, max: MOST },
    "5",
    "Calls of one endpoint by one address in any window; 0 turns the limit off.",
);
static USER: Key = Key::new(
    "limits.user",
    Kind::Number { min: 0, max: MOST },
    "3",
    "Codes for one phone in any window; 0 turns the limit off.",
);
static USER_PER_DAY: Key = Key::new(
    "limits.user_per_day",
    Kind::Number { min: 0, max: MOST },
    "10",
    "Codes for one phone in any day; 0 turns the limit off.",
);
static WINDOW: Key = Key::new(
    "limits.window",
    Kind::Duration { min: "1s", max: "1d" },
    "1h",
    "The sliding window of limits.ip and limits.user.",
);
static IP_SCOPE: Key = Key::new(
    "limits.ip_scope",
    Kind::Choice(&["endpoint", "shared"]),
    "endpoint",
    "Whether request, verify and resend each have a quota per address (endpoint), or one together (shared).",
);
static FLOOD_PER_SECOND: Key = Key::new(
    "limits.flood_per_second",
    Kind::Number { min: 0, max: MOST },
    "50",
    "Requests a second by one address, over all endpoints; 0 turns the guard off.",
);
static FLOOD_BURST: Key = Key::new(
    "limits.flood_burst",
    Kind::Number { min: 1, max: MOST },
    "100",
    "Requests that one address may send at once before that rate counts.",
);
static NETWORKS: Key = Key::new(
    "limits.networks",
    Kind::Networks,
    "",
    "Networks with a number of their own in place of limits.ip, such as { \"100.64.0.0/10\" = 50 } for a carrier's \
     shared addresses; the narrowest that holds an address decides. In the environment: 100.64.0.0/10=50 and so on, \
     with commas between.",
);

pub(super) const SECTION: Section = Section {
    name: "limits",
    doc: "Quotas over sliding windows, and the flood guard.",
    keys: &[&IP, &USER, &USER_PER_DAY, &WINDOW, &IP_SCOPE, &FLOOD_PER_SECOND, &FLOOD_BURST, &NETWORKS],
};

/// What turns each limit off.
pub(super) const OFF: [(&Key, &str); 4] =
    [(&IP, "0"), (&USER, "0"), (&USER_PER_DAY, "0"), (&FLOOD_PER_SECOND, "0")];

pub(super) fn read(reader: &mut Reader<'_>) -> Limits {
    Limits {
        policy: LimitPolicy {
            ip: reader.number(&IP),
            user: reader.number(&USER),
            user_per_day: reader.number(&USER_PER_DAY),
            window: reader.duration(&WINDOW),
            ip_shared: reader.choice(&IP_SCOPE) == "shared",
            networks: reader.networks(&NETWORKS),
        },
        flood_per_second: reader.number(&FLOOD_PER_SECOND),
        flood_burst: reader.number(&FLOOD_BURST),
    }
}
