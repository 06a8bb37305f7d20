//! The only caller of the system's generator.
#![expect(clippy::disallowed_methods, reason = "this is the place that the ban on direct calls points to")]

use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};

use crate::domain::{Code, DeliveryId, DeviceId, RunId, SessionId, Timestamp};
use crate::sync::lock;

/// Chance, as an argument: the system's generator in the program, a seeded one in tests.
pub trait Random: Send + Sync + 'static {
    /// Fills `bytes` with chance that nobody can foresee.
    fn fill(&self, bytes: &mut [u8]);

    /// A number drawn uniformly from `0..below`, without modulo bias.
    fn below(&self, below: u32) -> u32;
}

/// The process's cryptographic generator (`ChaCha12`), seeded and reseeded from the operating system's.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }

    fn below(&self, below: u32) -> u32 {
        rand::rng().random_range(0..below)
    }
}

/// The same chance in every run; for tests.
#[derive(Debug)]
pub struct SeededRandom(Mutex<StdRng>);

impl SeededRandom {
    /// Begins at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, StdRng> {
        lock(&self.0)
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        self.lock().fill_bytes(bytes);
    }

    fn below(&self, below: u32) -> u32 {
        self.lock().random_range(0..below)
    }
}

/// Draws a code of `length` digits (at most nine), uniform over all of them.
pub fn code(random: &dyn Random, length: usize) -> Code {
    let length = length.min(9);
    let count = 10u32.pow(u32::try_from(length).unwrap_or(9));
    Code::from_number(random.below(count), length)
}

/// Draws a `jti`: 32 hexadecimal digits.
pub fn jti(random: &dyn Random) -> String {
    data_encoding::HEXLOWER.encode(&drawn::<16>(random))
}

/// What the events of one write are named by.
pub fn event_chance(random: &dyn Random) -> [u8; 16] {
    drawn(random)
}

/// Names a run of a server.
pub fn run_id(random: &dyn Random) -> RunId {
    RunId::new(drawn(random))
}

/// Names the delivery of a code.
pub fn delivery_id(random: &dyn Random) -> DeliveryId {
    DeliveryId::new(drawn(random))
}

/// Names a device whose first login is at `now`.
pub fn device_id(random: &dyn Random, now: Timestamp) -> DeviceId {
    DeviceId::new(now, drawn(random))
}

/// Names a session that begins at `now`.
pub fn session_id(random: &dyn Random, now: Timestamp) -> SessionId {
    SessionId::new(now, drawn(random))
}

fn drawn<const N: usize>(random: &dyn Random) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S1: with 10⁶ codes in 1,000 bins of three leading digits, and again of three trailing ones, chi-square has 999
    /// degrees of freedom; 1,150 is past the 99.9th percentile (1,142.8), and the seed is fixed.
    #[test]
    fn s1_codes_are_uniform() {
        let random = SeededRandom::new(7);
        let (mut head, mut tail) = (vec![0u32; 1000], vec![0u32; 1000]);
        for _ in 0..1_000_000 {
            let code: usize = code(&random, 6).digits().parse().unwrap();
            head[code / 1000] += 1;
            tail[code % 1000] += 1;
        }
        for bins in [head, tail] {
            let chi_square: f64 = bins.iter().map(|n| (f64::from(*n) - 1000.0).powi(2) / 1000.0).sum();
            assert!(chi_square < 1150.0, "{chi_square}");
            assert!(chi_square > 850.0, "too even to be chance: {chi_square}");
        }
    }

    #[test]
    fn s1_the_systems_generator_gives_six_digits() {
        for _ in 0..1000 {
            let code = code(&SystemRandom, 6);
            assert!(Code::parse(code.digits(), 6).is_some());
        }
    }

    #[test]
    fn identifiers_differ() {
        assert_ne!(jti(&SystemRandom), jti(&SystemRandom));
        let now = Timestamp::from_millis(0);
        assert_ne!(session_id(&SystemRandom, now), session_id(&SystemRandom, now));
    }
}
