//! What became of the messages of each sender.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cli::CliError;
use crate::cli::output::Output;
use crate::domain::Channel;
use crate::domain::budget::{BudgetPolicy, money};
use crate::domain::guard::Place;
use crate::domain::message::{Message, MessageState};

/// By sender and what its messages come by.
#[derive(Default)]
pub(super) struct Senders(BTreeMap<(String, &'static str), Figures>);

#[derive(Default)]
struct Figures {
    /// Those that may have gone out.
    sent: u64,
    delivered: u64,
    lost: u64,
    /// Whose code was used.
    verified: u64,
    /// In millionths.
    cost: u64,
}

impl Senders {
    /// Counts a message, and whether its code was used.
    pub(super) fn add(&mut self, message: &Message, is_used: bool, prices: &BudgetPolicy) {
        let Message { via, state, segments, .. } = message;
        let of = self.0.entry((via.sender.clone(), Channel::as_str(via.channel))).or_default();
        of.lost += u64::from(state.is_lost());
        of.delivered += u64::from(*state == MessageState::Delivered);
        of.verified += u64::from(is_used);
        if *state != MessageState::Failed {
            of.sent += 1;
            of.cost += prices.cost(&Place::country_of(&message.to), *segments);
        }
    }

    /// For people; nothing where no message was sent.
    pub(super) fn table(&self, output: &mut Output) -> Result<(), CliError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let rows = self.0.iter().map(|((sender, channel), of)| {
            let cost = if of.cost == 0 { "-".to_owned() } else { money(of.cost) };
            let [sent, delivered, lost, verified] =
                [of.sent, of.delivered, of.lost, of.verified].map(|n| n.to_string());
            [sender.clone(), (*channel).to_owned(), sent, delivered, lost, verified, cost]
        });
        output.table(["sender", "channel", "sent", "delivered", "lost", "verified", "cost"], rows)?;
        Ok(output.text("\n")?)
    }

    /// For scripts.
    pub(super) fn documents(&self) -> Vec<Value> {
        let document = |((sender, channel), of): (&(String, &'static str), &Figures)| {
            json!({
                "sender": sender,
                "channel": channel,
                "sent": of.sent,
                "delivered": of.delivered,
                "lost": of.lost,
                "verified": of.verified,
                "cost": money(of.cost),
            })
        };
        self.0.iter().map(document).collect()
    }
}
