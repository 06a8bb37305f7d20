//! The guard against SMS pumping, inside the write that would buy a message: who is held back, and what that begins.

use std::sync::Arc;
use std::time::Duration;

use super::audited::AuditedTx;
use super::error::FlowError;
use super::{AuthError, happened};
use crate::domain::Timestamp;
use crate::domain::audit::{Actor, AuditDetail, AuditEvent};
use crate::domain::clock::AHEAD;
use crate::domain::guard::{
    BURST, Block, Counts, Excess, FIRST_BLOCK, GuardMode, HOUR, MEMORY, Passage, Place, Rule, Scope, Sends,
    Standing, Usual, is_trusted, judge,
};
use crate::domain::quota::DAY;
use crate::storage::StoreResult;
use crate::storage::guard::Horizons;

/// How often one looks anew at a block that another server changes meanwhile.
const MOST_LOOKS: u32 = 3;

/// What the guard must know of a call before its write.
pub(super) struct Guard {
    pub(super) mode: GuardMode,
    pub(super) place: Place,
    /// What is usual in the country, and in all.
    pub(super) usual: [Usual; 2],
    /// Whether the call is never held back.
    pub(super) is_allowed: bool,
}

/// A message was held back, or would have been.
#[derive(Clone, Copy)]
pub(super) struct HeldBack {
    /// By which rule.
    pub(super) rule: Rule,
    /// Whether the block begins with it.
    pub(super) begins: bool,
}

/// What came of judging a message.
#[derive(Default)]
pub(super) struct Judged {
    /// It was held back, or would have been.
    pub(super) held_back: Option<HeldBack>,
    /// Wide blocks that let it through: as they are now, and as they were.
    passed: Vec<(Block, Block)>,
    /// When it counts as sent, where its own time lies before the end of a block that is over.
    not_before: Option<Timestamp>,
}

impl Judged {
    /// Whether wide blocks let the message through.
    pub(super) const fn is_let_through(&self) -> bool {
        !self.passed.is_empty()
    }

    /// When the message counts as sent: with all others after a block that is over, though its own time be a little earlier. By that
    /// time it would count for nobody, and nobody would for it.
    pub(super) fn sent_at(&self, at: Timestamp) -> Timestamp {
        self.not_before.map_or(at, |end| end.max(at))
    }

    /// Has the blocks that let the message through be as they were: nothing is sent.
    pub(super) fn take_back(&mut self, tx: &mut AuditedTx<'_>) -> StoreResult<()> {
        for (next, before) in self.passed.drain(..) {
            tx.replace_block(Some(&next), &before)?;
        }
        Ok(())
    }

    /// Puts a block in the place of the one that lets the message through; false where another server was first.
    fn pass(&mut self, tx: &mut AuditedTx<'_>, before: &Block, next: Block) -> StoreResult<bool> {
        let is_first = tx.replace_block(Some(before), &next)?;
        if is_first {
            self.passed.push((next, before.clone()));
        }
        Ok(is_first)
    }
}

impl Guard {
    /// How a message to a number stands that was never verified; refuses it where it is held back, or would be: by which rule
    /// goes into `judged`.
    pub(super) fn judge(&self, tx: &mut AuditedTx<'_>, judged: &mut Judged) -> Result<Standing, FlowError> {
        if self.is_allowed {
            return Ok(Standing::Trusted);
        }
        if self.mode == GuardMode::Off {
            return Ok(Standing::Stranger);
        }
        let mut looks = 0..MOST_LOOKS;
        let (block, begins) = loop {
            match self.look(tx, judged)? {
                Ok(standing) => return Ok(standing),
                Err((block, begins)) if looks.next().is_none() || self.stands(tx, &block)? => {
                    break (block, begins);
                }
                Err(_) => {}
            }
        };
        let now = tx.at();
        judged.held_back = Some(HeldBack { rule: block.excess.rule, begins });
        tx.note_refused_attempt(block.scope, &block.key, now)?;
        match self.mode {
            GuardMode::On => Err(AuthError::RateLimited(now.until(block.retry_at())).into()),
            GuardMode::Monitor | GuardMode::Off => Ok(Standing::Stranger),
        }
    }

    /// Whether a block is still the one that it was. Another server may have ended it between the reading of it and of what it let
    /// through, which then looks as if nobody answered.
    fn stands(&self, tx: &AuditedTx<'_>, block: &Block) -> StoreResult<bool> {
        let blocks = tx.blocks_at(&self.place)?;
        Ok(blocks.iter().any(|now| (now.scope, now.since) == (block.scope, block.since)))
    }

    /// How the message stands, or what holds it back, and whether that begins with it.
    fn look(
        &self,
        tx: &mut AuditedTx<'_>,
        judged: &mut Judged,
    ) -> StoreResult<Result<Standing, (Block, bool)>> {
        let now = tx.at();
        let blocks = tx.blocks_at(&self.place)?;
        let last = |scope: Scope| blocks.iter().find(|block| block.scope == scope);
        let active = |scope| last(scope).filter(|block| block.is_active(now));
        if let Some(block) = active(Scope::Network) {
            return Ok(Err((block.clone(), false)));
        }
        let is_over = |block: &&Block| block.is_believed(now) && !block.is_active(now);
        judged.not_before = blocks.iter().filter(is_over).map(|block| block.until).max();
        let sent_at = judged.sent_at(now);
        let counts = self.counts(tx, &blocks, sent_at)?;
        if is_trusted(&counts) {
            return Ok(Ok(Standing::Trusted));
        }
        if let Some(block) = active(Scope::Range) {
            return Ok(Err((block.clone(), false)));
        }
        // One block lets nothing through that another refuses: each is asked before any is written.
        let mut passing = Vec::new();
        for (scope, usual) in [Scope::Country, Scope::World].into_iter().zip(self.usual) {
            let Some(block) = active(scope) else { continue };
            match self.pass(tx, block, usual)? {
                Passage::Over(next) => passing.push((block, next, true)),
                Passage::Probe(next) => passing.push((block, next, false)),
                Passage::Refused(prolonged) => {
                    let next = prolonged.as_ref().unwrap_or(block).of_day(&counts).or(prolonged);
                    return refuse(tx, block, next);
                }
            }
        }
        let mut is_probe = false;
        for (block, next, is_over) in passing {
            if judged.pass(tx, block, next)? {
                is_probe = true;
            } else if !is_over {
                // One is let through, and not one for each server.
                judged.take_back(tx)?;
                return Ok(Err((block.clone(), false)));
            }
        }
        let [country, world] = self.usual;
        let Some(excess) = judge(&counts, country, world).filter(|_| !is_probe) else {
            return Ok(Ok(Standing::Stranger));
        };
        let before = last(excess.rule.scope());
        if let (Some(before), Some(resumed)) = (before, Block::resumed(before, excess, now)) {
            return match self.pass(tx, &resumed, country)? {
                Passage::Over(next) | Passage::Probe(next) => {
                    let is_first = judged.pass(tx, before, next)?;
                    Ok(if is_first { Ok(Standing::Stranger) } else { Err((resumed, false)) })
                }
                Passage::Refused(next) => refuse(tx, before, Some(next.unwrap_or(resumed))),
            };
        }
        let block = self.begin(tx, before, excess, sent_at)?;
        let block = block.of_day(&counts).unwrap_or(block);
        let begins = tx.replace_block(before, &block)?;
        if begins {
            self.tell(tx, &block)?;
        }
        Ok(Err((block, begins)))
    }

    /// What is known at `now`; what lies before the end of the last block of a scope counts no longer.
    fn counts(&self, tx: &AuditedTx<'_>, blocks: &[Block], now: Timestamp) -> StoreResult<Counts> {
        let ended = |scope| {
            let block = blocks.iter().find(|block| block.scope == scope && block.is_believed(now));
            // What goes out at the instant of the end counts.
            block.map_or(Timestamp::from_millis(0), |block| (block.until - Duration::from_millis(1)).min(now))
        };
        let since = |scope, window| ended(scope).max(now - window);
        // The day of a country is long, and where the guard refuses nothing, a block says the same of each message.
        let is_told = self.mode == GuardMode::Monitor && blocks.iter().any(|block| block.is_active(now));
        let day = if is_told { now } else { now - DAY };
        let horizons = Horizons {
            known: now - MEMORY,
            known_longer: now - DAY,
            network: since(Scope::Network, DAY),
            range: since(Scope::Range, DAY),
            country: [since(Scope::Country, BURST), since(Scope::Country, HOUR), day],
            world: [since(Scope::World, BURST), since(Scope::World, HOUR)],
            until: now + AHEAD,
        };
        let counts = tx.guard_counts(&self.place, &horizons)?;
        Ok(Counts {
            network_was_blocked: ended(Scope::Network) > now - DAY,
            range_was_blocked: ended(Scope::Range) > now - DAY,
            ..counts
        })
    }

    /// What a block of the country, or of all, makes of the message. While the guard refuses nothing, it lets nothing through
    /// either: everything goes out.
    fn pass(&self, tx: &AuditedTx<'_>, block: &Block, usual: Usual) -> StoreResult<Passage> {
        let (now, is_on) = (tx.at(), self.mode == GuardMode::On);
        let probes = if is_on {
            tx.sent_to_strangers(block.country(), block.since, now + AHEAD)?
        } else {
            Sends::default()
        };
        let attempts = block
            .wants_attempts(now)
            .then(|| tx.refused_attempts(block.scope, &block.key, now - FIRST_BLOCK, now + AHEAD))
            .transpose()?;
        Ok(match block.pass(probes, attempts, usual, now) {
            Passage::Probe(next) if !is_on => Passage::Refused(Some(next)),
            passage => passage,
        })
    }

    /// A block that begins. What a wide one lets through is told by its time from what was sent before, also where another server's
    /// clock, a little ahead, has dated that.
    fn begin(
        &self,
        tx: &AuditedTx<'_>,
        before: Option<&Block>,
        excess: Excess,
        sent_at: Timestamp,
    ) -> StoreResult<Block> {
        let block = Block::begin(before, &self.place, excess, sent_at);
        if !block.scope.is_wide() {
            return Ok(block);
        }
        let latest = tx.latest_to_strangers(block.country(), sent_at + AHEAD)?;
        Ok(Block { since: latest.map_or(sent_at, |latest| latest.max(sent_at)), ..block })
    }

    /// Tells that a block has begun.
    fn tell(&self, tx: &mut AuditedTx<'_>, block: &Block) -> StoreResult<()> {
        // Nobody in particular did it.
        let line = Arc::new(Actor::system(tx.at())).did(AuditEvent::SmsBlocked);
        let until = block.until;
        tx.record(line.detail(AuditDetail::Blocked { what: block.to_string(), until, mode: self.mode }));
        happened::blocked(tx, block, self.mode)
    }
}

/// A wide block refuses a message, and goes on as given where anything of it changes.
fn refuse(
    tx: &mut AuditedTx<'_>,
    block: &Block,
    next: Option<Block>,
) -> StoreResult<Result<Standing, (Block, bool)>> {
    let Some(next) = next else { return Ok(Err((block.clone(), false))) };
    tx.replace_block(Some(block), &next)?;
    Ok(Err((next, false)))
}
