//! What the write of a request asks, said beforehand.

use super::CodeIntent;
use crate::auth::audited::AuditedTx;
use crate::auth::{CodeRequest, devices};
use crate::domain::Mode;
use crate::domain::quota::Quota;
use crate::storage::StoreResult;
use crate::storage::ahead::Wanted;

impl CodeIntent {
    /// Has the engine answer at once what is asked of a call that buys a message.
    pub(super) fn read_ahead(&self, tx: &AuditedTx<'_>) -> StoreResult<()> {
        let Self { request: CodeRequest { mode, phone, purpose, .. }, device, keys, policy, .. } = self;
        let (mode, purpose, now) = (*mode, *purpose, tx.at());
        tx.read_ahead(&|| {
            let subject = devices::subject(device.as_ref(), phone, keys);
            let of_address = self.gate.wanted(now);
            // A call that a device makes counts for the phone, too.
            let units = of_address.len() + 1 + usize::from(device.is_some());
            let mut wanted = of_address;
            if mode == Mode::Production {
                wanted.push(Wanted::TestNumber(phone));
            }
            wanted.extend(subject.wanted(Quota::Failures(mode), &[policy.otp.failures()], now));
            wanted.push(Wanted::NewestChallenge { mode, phone, purpose, by_device: device.is_some() });
            wanted.extend(subject.wanted(Quota::User(mode), &policy.limits.codes(), now));
            wanted.push(Wanted::NewIds { units, of_code: true });
            wanted
        })
    }
}
