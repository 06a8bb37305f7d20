//! What the guard holds back, in words, and how the budgets for text messages stand.

use serde_json::{Value, json};

use super::Key;
use crate::cli::admin::AdminContext;
use crate::cli::output::Output;
use crate::cli::{CliError, when};
use crate::domain::budget::{Budget, BudgetWindow, Share};
use crate::domain::guard::{Block, GuardMode, Place, Scope};

/// What there is to tell.
pub(super) struct Held {
    blocks: Vec<Block>,
    budgets: Vec<(BudgetWindow, u64, u64)>,
    mode: GuardMode,
}

impl Held {
    /// Of everybody, or of those that concern a key.
    pub(super) fn read(admin: &AdminContext, key: Option<&Key>) -> Result<Self, CliError> {
        let (now, policy) = (admin.now(), admin.config.sms.budgets.clone());
        let (blocks, used) = admin.read(move |view| {
            let mut used = Vec::new();
            for budget in Budget::ALL {
                let Some(limit) = policy.limit(budget) else { continue };
                for share in [Share::All, Share::Verified] {
                    let window = budget.window(share, now);
                    used.push((window, view.budget_used(window)?, limit));
                }
            }
            Ok((view.blocks_after(now)?, used))
        })?;
        let concerns = |block: &Block| block.is_active(now) && key.is_none_or(|key| key.lies_in(block));
        let budgets = if key.is_some() { Vec::new() } else { used };
        let blocks = blocks.into_iter().filter(concerns).collect();
        Ok(Self { blocks, budgets, mode: admin.config.sms.guard.mode })
    }

    /// For scripts.
    pub(super) fn documents(&self) -> (Vec<Value>, Vec<Value>) {
        let blocks = self.blocks.iter().map(|block| block.shown(self.mode)).collect();
        let budget = |(window, used, limit): &(BudgetWindow, u64, u64)| {
            json!({
                "name": window.budget.as_str(),
                "share": window.share.as_str(),
                "used": window.budget.amount_told(*used),
                "limit": window.budget.amount_told(*limit),
                "until": window.until().iso(),
            })
        };
        (blocks, self.budgets.iter().map(budget).collect())
    }

    /// For people, below the table.
    pub(super) fn text(&self, output: &mut Output) -> Result<(), CliError> {
        for (window, used, limit) in &self.budgets {
            let whose = match window.share {
                Share::All => "",
                Share::Verified => " (for numbers verified before, once the first is spent)",
            };
            let (used, limit) = (window.budget.amount(*used), window.budget.amount(*limit));
            let until = when::short(window.until());
            output.sentences(&format!(
                "{}{whose}: {used} of {limit} spent until {until} UTC\n",
                window.budget.key()
            ))?;
        }
        let held_back = if self.mode == GuardMode::Monitor { "would be held back" } else { "held back" };
        for block in &self.blocks {
            let (since, until) = (when::short(block.since), when::short(block.until));
            let longer = block.next_probe().map_or_else(String::new, |probe| {
                let probe = when::short(probe);
                format!(", or until it has been quiet for 15 minutes; one message is let through from {probe} UTC on")
            });
            output.sentences(&format!(
                "{held_back} since {since} until {until} UTC{longer}: {}\n",
                block.in_full()
            ))?;
        }
        Ok(())
    }
}

impl Key {
    /// Whether a block holds the key back.
    fn lies_in(&self, block: &Block) -> bool {
        match (self, block.scope) {
            (_, Scope::World) => true,
            (Self::Address(address), Scope::Network) => Place::network_of(*address) == block.key,
            (Self::Phone(phone), Scope::Range) => Place::range_of(phone) == block.key,
            (Self::Phone(phone), Scope::Country) => Place::country_of(phone) == block.key,
            _ => false,
        }
    }
}
