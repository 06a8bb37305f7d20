//! When the authority wants a certificate to be renewed (RFC 9773): it may want that early, before it takes certificates back,
//! and spreads ordinary renewals over days.

use std::time::Duration;

use instant_acme::CertificateIdentifier;
use serde::{Deserialize, Serialize};

use crate::certificate::Pair;
use crate::domain::Timestamp;

/// The shortest time between two looks, whatever the authority asks for.
const SHORTEST: Duration = Duration::from_mins(1);

/// The longest.
const LONGEST: Duration = Duration::from_hours(24);

/// The next look after one that failed.
const AFTER_FAILURE: Duration = Duration::from_hours(6);

/// From when until when an authority wants a certificate to be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its begin.
    pub start: Timestamp,
    /// Its end.
    pub end: Timestamp,
}

/// A certificate, as the authority knows it: `<key of the authority>.<serial number>` (RFC 9773 section 4.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateId(String);

/// What an authority has said of one certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    certificate: CertificateId,
    /// In Unix milliseconds, as all instants here; nothing where it says nothing.
    window: Option<(i64, i64)>,
    look_at: i64,
}

impl CertificateId {
    /// That of a certificate; `None` of one that names no key of an authority, such as one that signed itself.
    pub(super) fn of(pair: &Pair) -> Option<Self> {
        let key = pair.key();
        let id = CertificateIdentifier::try_from(key.cert.first()?).ok()?;
        Some(Self(id.to_string()))
    }

    /// The same for the client of ACME.
    pub(super) fn identifier(&self) -> Option<CertificateIdentifier<'static>> {
        let (key, serial) = self.0.split_once('.')?;
        Some(CertificateIdentifier {
            authority_key_identifier: key.to_owned().into(),
            serial: serial.to_owned().into(),
        })
    }

    /// A number between 0 and 1 that is always the same for this certificate. Serial numbers are random, so these are evenly
    /// spread over all certificates; and all servers that share one agree (FNV-1a, mixed once more for the upper half).
    fn fraction(&self) -> f64 {
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let hash = self.0.bytes().fold(0xcbf2_9ce4_8422_2325, hash);
        let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        f64::from(u32::try_from(hash >> 32).unwrap_or_default()) / f64::from(u32::MAX)
    }
}

impl Kept {
    /// The authority has said it, and asks for the next look after `wait`.
    pub(super) fn told(certificate: CertificateId, window: Window, wait: Duration, now: Timestamp) -> Self {
        let look_at = (now + wait.clamp(SHORTEST, LONGEST)).as_millis();
        let window = (window.start.as_millis(), window.end.as_millis().max(window.start.as_millis()));
        Self { certificate, window: Some(window), look_at }
    }

    /// It has said nothing now; what it said `before` of the same certificate still counts.
    pub(super) fn untold(certificate: CertificateId, before: Option<Self>, now: Timestamp) -> Self {
        let window = before.filter(|kept| kept.certificate == certificate).and_then(|kept| kept.window);
        Self { certificate, window, look_at: (now + AFTER_FAILURE).as_millis() }
    }

    /// Whether it is of this certificate.
    pub(super) fn is_of(&self, certificate: &CertificateId) -> bool {
        self.certificate == *certificate
    }

    /// Whether the authority is to be asked again.
    pub(super) fn is_stale(&self, now: Timestamp) -> bool {
        now.as_millis() >= self.look_at
    }

    /// The window, if the authority has named one.
    pub(super) fn window(&self) -> Option<Window> {
        let (start, end) = self.window?;
        Some(Window { start: Timestamp::from_millis(start), end: Timestamp::from_millis(end) })
    }

    /// The instant within the window at which this certificate is to be renewed.
    fn at(&self) -> Option<Timestamp> {
        let Window { start, end } = self.window()?;
        Some(start + start.until(end).mul_f64(self.certificate.fraction()))
    }
}

/// Whether a certificate is to be renewed: when the authority wants it, but not later than when a sixth of its time is left; and
/// where the authority says nothing, when a third is left.
pub(super) fn is_due(pair: &Pair, kept: Option<&Kept>, now: Timestamp) -> bool {
    match kept.and_then(Kept::at) {
        Some(at) => now >= at || pair.is_urgent(now),
        None => pair.is_due(now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::Renewal;

    const DAY: Duration = Duration::from_hours(24);

    fn id(text: &str) -> CertificateId {
        CertificateId(text.to_owned())
    }

    fn pair() -> Pair {
        let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
        Renewal::parse(&format!("{}{}", made.signing_key.serialize_pem(), made.cert.pem())).unwrap()
    }

    #[test]
    fn a_certificate_is_due_when_the_authority_wants_it_and_never_too_late() {
        let mut pair = pair();
        pair.begins = pair.ends - 90 * DAY;
        let window = |from: u32, until: u32| Window {
            start: pair.begins + from * DAY,
            end: pair.begins + until * DAY,
        };
        let kept = |window| Kept::told(id("a.b"), window, DAY, pair.begins);
        let due = |kept: &Kept, day: u32| is_due(&pair, Some(kept), pair.begins + day * DAY);
        // Early, because the authority takes certificates back; ordinary; and one that is of no use.
        let early = kept(window(10, 12));
        assert!(!due(&early, 9) && due(&early, 12), "{early:?}");
        let later = kept(window(65, 70));
        assert!(!due(&later, 64) && due(&later, 70), "a third of its time is no rule then");
        let never = kept(window(1000, 1001));
        assert!(!due(&never, 75) && due(&never, 77), "a sixth of its time is left for attempts");
        let none = Kept::untold(id("a.b"), None, pair.begins);
        assert!(!due(&none, 59) && due(&none, 60), "two thirds of its time");
        assert!(is_due(&pair, None, pair.begins + 60 * DAY) && !is_due(&pair, None, pair.begins + 59 * DAY));
    }

    #[test]
    fn each_certificate_has_its_own_instant_within_the_window_and_always_the_same() {
        let begin = Timestamp::from_millis(1_767_225_600_000);
        let window = Window { start: begin, end: begin + 2 * DAY };
        let at = |serial: u32| Kept::told(id(&format!("key.{serial}")), window, DAY, begin).at().unwrap();
        let instants: Vec<_> = (0..1000).map(at).collect();
        assert!(instants.iter().all(|at| (window.start..=window.end).contains(at)));
        let first_half = instants.iter().filter(|at| **at < begin + DAY).count();
        assert!((400..600).contains(&first_half), "{first_half} of 1000 in the first half");
        assert_eq!(at(7), at(7));
        // One that ends before it begins is one instant.
        let upside_down = Window { start: begin + DAY, end: begin };
        assert_eq!(Kept::told(id("a.b"), upside_down, DAY, begin).at().unwrap(), begin + DAY);
    }

    #[test]
    fn looks_are_as_far_apart_as_the_authority_asks_within_reason() {
        let now = Timestamp::from_millis(1_767_225_600_000);
        let window = Window { start: now, end: now + DAY };
        for (asked, wait) in [
            (Duration::ZERO, Duration::from_mins(1)),
            (Duration::from_hours(6), Duration::from_hours(6)),
            (100 * DAY, DAY),
        ] {
            let kept = Kept::told(id("a.b"), window, asked, now);
            assert!(
                !kept.is_stale(now + wait - Duration::from_secs(1)) && kept.is_stale(now + wait),
                "{asked:?}"
            );
        }
        let kept = Kept::told(id("a.b"), window, DAY, now);
        let failed = Kept::untold(id("a.b"), Some(kept.clone()), now + DAY);
        assert_eq!(failed.window(), kept.window(), "what it said once still counts");
        assert!(failed.is_stale(now + DAY + AFTER_FAILURE) && !failed.is_stale(now + DAY));
        assert_eq!(Kept::untold(id("a.c"), Some(kept), now).window(), None, "of another certificate");
    }

    #[test]
    fn a_certificate_that_signed_itself_is_no_authoritys() {
        assert_eq!(CertificateId::of(&pair()), None);
        assert_eq!(id("key.serial").identifier().unwrap().to_string(), "key.serial");
    }
}
