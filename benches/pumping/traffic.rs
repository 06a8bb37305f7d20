//! A week of honest logins after a week of history, and the attacks on top of it.

use std::time::Duration;

use freshk::domain::Timestamp;
use freshk::random::{Random as _, SeededRandom};

pub(crate) const COUNTRIES: usize = 8;

pub(crate) const MINUTE: u64 = 60_000;
pub(crate) const HOUR: u64 = 60 * MINUTE;
pub(crate) const DAY: u64 = 24 * HOUR;
pub(crate) const WEEK: u64 = 7 * DAY;

/// The share of logins that each country has, and how many of its new people give the code; the last begins on day 4.
const SHARES: [u32; COUNTRIES] = [30, 20, 15, 10, 8, 7, 5, 5];
const CONVERSION: [u32; COUNTRIES] = [90, 85, 80, 75, 70, 65, 60, 75];

/// Of a hundred logins so many are of new people; the others were verified before.
const NEW: u32 = 20;

/// Of a hundred people so many are behind the shared addresses of a carrier.
const BEHIND_CARRIER: u32 = 60;

/// Of a hundred people with a code that was not given so many ask once more.
const ASK_AGAIN: u32 = 50;

/// From how many networks an attacker comes who has verified two numbers in each.
const PREPARED: u32 = 50;

/// Who asks for a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Somebody who has not logged in before.
    New,
    /// Somebody who has.
    Known,
    /// The attacker, for a number of somebody else's.
    Attacker,
    /// The attacker, for a number of the attacker's own, whose code is given.
    Own,
}

/// One request for a code.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Milliseconds after the start.
    pub(crate) at: u64,
    pub(crate) who: Who,
    pub(crate) country: usize,
    /// The digits behind the country's calling code.
    pub(crate) number: u64,
    /// An IPv4 address, or the /64 of an IPv6 one.
    pub(crate) address: Address,
    /// Whether the network of the address had nobody verified before.
    pub(crate) is_fresh: bool,
    pub(crate) asked_before: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    V4(u32),
    /// The /48, and the /64 in it.
    V6(u32, u16),
}

/// What an attacker does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attack {
    None,
    Sequence,
    Spread,
    Addresses,
    Site,
    Drip,
    Alternating,
    Prepared,
    CarrierNat,
    Knowing,
}

impl Attack {
    pub(crate) const ALL: [Self; 10] = [
        Self::None,
        Self::Sequence,
        Self::Spread,
        Self::Addresses,
        Self::Site,
        Self::Drip,
        Self::Alternating,
        Self::Prepared,
        Self::CarrierNat,
        Self::Knowing,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Sequence => "one block in sequence",
            Self::Spread => "spread over a country's blocks",
            Self::Addresses => "10,000 addresses, all countries",
            Self::Site => "an IPv6 /48",
            Self::Drip => "slow drip over the week",
            Self::Alternating => "alternating with 100 own numbers",
            Self::Prepared => "from 50 networks with two own numbers each, verified the day before",
            Self::CarrierNat => "through carriers' own NAT",
            Self::Knowing => "by somebody who knows the thresholds",
        }
    }

    /// Over how long its requests are spread; hours after the third day's morning, or the whole week.
    const fn length(self) -> u64 {
        match self {
            Self::Drip | Self::Knowing => WEEK,
            _ => 4 * HOUR,
        }
    }

    /// When it begins.
    pub(crate) const fn start(self) -> u64 {
        match self {
            Self::Drip | Self::Knowing => WEEK,
            _ => WEEK + 2 * DAY + 10 * HOUR,
        }
    }
}

/// Chance, the same in every run.
pub(crate) struct Dice(SeededRandom);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SeededRandom::new(seed))
    }

    pub(crate) fn below(&self, below: u32) -> u32 {
        self.0.below(below)
    }

    pub(crate) fn percent(&self, percent: u32) -> bool {
        self.below(100) < percent
    }

    fn millis(&self, below: u64) -> u64 {
        u64::from(self.below(u32::try_from(below / 10).unwrap())) * 10
    }
}

/// The instant so many milliseconds after the start.
pub(crate) fn instant(at: u64) -> Timestamp {
    Timestamp::from_millis(1_767_225_600_000) + Duration::from_millis(at)
}

/// A time of the day: few at night, most in the evening.
fn time_of_day(dice: &Dice) -> u64 {
    const BUSY: [u32; 24] =
        [20, 15, 15, 15, 15, 20, 30, 45, 60, 70, 75, 80, 85, 80, 80, 80, 85, 90, 95, 100, 95, 80, 60, 35];
    loop {
        let at = dice.millis(DAY);
        if dice.percent(BUSY[usize::try_from(at / HOUR).unwrap()]) {
            return at;
        }
    }
}

fn country(dice: &Dice) -> usize {
    let mut left = dice.below(100);
    for (country, share) in SHARES.iter().enumerate() {
        if left < *share {
            return country;
        }
        left -= share;
    }
    0
}

/// Somebody's address: behind one of three carriers of eight /24 with sixteen shared addresses each, or at home, in one of
/// 20,000 /24 or 40,000 /48.
fn home(dice: &Dice, country: usize) -> (Address, bool) {
    let country = u32::try_from(country).unwrap();
    if dice.percent(BEHIND_CARRIER) {
        (carrier(dice, country), false)
    } else if dice.percent(60) {
        let network = (country << 15) + dice.below(20_000);
        (Address::V4(0x4000_0000 + (network << 8) + dice.below(250)), true)
    } else {
        (Address::V6((country << 16) + dice.below(40_000), u16::try_from(dice.below(4)).unwrap()), true)
    }
}

fn carrier(dice: &Dice, country: u32) -> Address {
    Address::V4(0x0a00_0000 + (((country << 5) + dice.below(24)) << 8) + dice.below(16))
}

fn somebody(dice: &Dice) -> u64 {
    u64::from(dice.below(1_000_000_000))
}

/// The honest logins of two weeks, so many each; the second is measured.
pub(crate) fn honest(dice: &Dice, logins: u32) -> Vec<Request> {
    let mut requests = Vec::new();
    for week in 0..2u64 {
        for _ in 0..logins {
            let country = country(dice);
            let day = u64::from(dice.below(7));
            let at = week * WEEK + day * DAY + time_of_day(dice);
            if country == COUNTRIES - 1 && (week == 0 || day < 3) {
                continue;
            }
            let who = if dice.percent(NEW) { Who::New } else { Who::Known };
            let (address, is_fresh) = home(dice, country);
            let number = somebody(dice);
            requests.push(Request { at, who, country, number, address, is_fresh, asked_before: false });
        }
    }
    requests
}

/// The requests of an attack.
pub(crate) fn attack(dice: &Dice, attack: Attack, count: u32) -> Vec<Request> {
    if attack == Attack::None {
        return Vec::new();
    }
    let ranges: Vec<u64> = (0..200).map(|_| u64::from(dice.below(1_000_000)) * 1000).collect();
    // Addresses of home networks all over the world, some seven in each /24.
    let botnet = |size: u32| Address::V4(0x8000_0000 + dice.below(size) * 37);
    let make = |n: u32| {
        let at = attack.start() + u64::from(n) * attack.length() / u64::from(count) + dice.millis(200);
        let mut request = Request {
            at,
            who: Who::Attacker,
            country: 0,
            number: somebody(dice),
            address: botnet(20_000),
            is_fresh: true,
            asked_before: false,
        };
        match attack {
            Attack::Sequence => request.number = 777_000_000 + u64::from(n % 1000),
            Attack::Spread => {
                let range = usize::try_from(dice.below(200)).unwrap();
                request.number = ranges[range] + u64::from(dice.below(1000));
            }
            Attack::Addresses => {
                request.country = usize::try_from(dice.below(8)).unwrap();
                request.address = botnet(10_000);
            }
            Attack::Site => {
                request.address = Address::V6(0x7000_0000, u16::try_from(dice.below(65_536)).unwrap());
            }
            Attack::Alternating => {
                let network = 0xc000_0000 + (dice.below(10) << 8);
                request.address = Address::V4(network + dice.below(250));
                if n.is_multiple_of(2) {
                    request.who = Who::Own;
                    request.number = 900_000_000 + u64::from(n / 2 % 100) * 31_000;
                }
            }
            Attack::Prepared => {
                let network = if n < 2 * PREPARED { n / 2 } else { dice.below(PREPARED) };
                request.address = Address::V4(0xc000_0000 + (network << 8) + dice.below(250));
                if n < 2 * PREPARED {
                    request.at = attack.start() - 26 * HOUR + u64::from(n) * MINUTE;
                    request.who = Who::Own;
                    request.number = 900_000_000 + u64::from(n) * 31_000;
                }
            }
            Attack::CarrierNat => request.address = carrier(dice, 0),
            Attack::Knowing => {
                // Nineteen a day in each country, each from a network of its own.
                request.country = usize::try_from(n % 8).unwrap();
                request.at = WEEK + u64::from(n / 152) * DAY + u64::from(n % 152 / 8) * 70 * MINUTE;
                request.address = Address::V4(0x9000_0000 + n * 256);
            }
            Attack::None | Attack::Drip => {}
        }
        request
    };
    let count = if attack == Attack::Knowing { count.min(7 * 152) } else { count };
    (0..count).map(make).collect()
}

/// What a person makes of a code that was sent: gives it after so long, asks once more, or gives up.
pub(crate) enum Next {
    Verify(u64),
    AskAgain(u64),
    GiveUp,
}

pub(crate) fn next(dice: &Dice, request: &Request, is_known: bool) -> Next {
    let converts = match request.who {
        Who::Attacker => 0,
        Who::Own => 100,
        Who::New | Who::Known if is_known => 97,
        Who::New | Who::Known => CONVERSION[request.country],
    };
    if dice.percent(converts) {
        Next::Verify(8000 + dice.millis(50_000))
    } else if !matches!(request.who, Who::Attacker) && !request.asked_before && dice.percent(ASK_AGAIN) {
        Next::AskAgain(40_000 + dice.millis(120_000))
    } else {
        Next::GiveUp
    }
}
