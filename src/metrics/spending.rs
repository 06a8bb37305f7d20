//! What is counted of the messages that are bought, and of those that are not.

use super::Metrics;
use super::families::{HeldBack, OfBudget, OfCountry, OfGuard, OfWay, Purchased};

impl Metrics {
    /// Begins to count what these budgets refuse, and blocks of the guard at these settings: what has a zero before its first one
    /// is seen to move by it.
    pub fn begin_spending(
        &self,
        budgets: impl IntoIterator<Item = &'static str>,
        guards: impl IntoIterator<Item = &'static str>,
    ) {
        for budget in budgets {
            drop(self.0.sms.unpaid.get_or_create(&OfBudget { budget }));
            drop(self.0.sms.budget_warnings.get_or_create(&OfBudget { budget }));
        }
        for guard in guards {
            drop(self.0.sms.blocks.get_or_create(&OfGuard { guard }));
        }
    }

    /// A message with a code was bought, to a number never verified before or to another, for so many millionths.
    pub fn sms_bought(&self, country: &str, is_new: bool, cost: u64) {
        let number = if is_new { "new" } else { "known" };
        self.0.sms.bought.get_or_create(&Purchased { country: country.to_owned(), number }).inc();
        #[expect(clippy::cast_precision_loss, reason = "no counter of money has more than fifteen digits")]
        let cost = cost as f64 / 1_000_000.0;
        self.0.sms.cost.get_or_create(&OfCountry { country: country.to_owned() }).inc_by(cost);
    }

    /// A number of a country was verified for the first time.
    pub fn sms_converted(&self, country: &str) {
        self.0.sms.converted.get_or_create(&OfCountry { country: country.to_owned() }).inc();
    }

    /// A message to a country has arrived, which came by this sender and channel.
    pub fn sms_delivered(&self, country: &str, sender: &str, channel: &'static str) {
        self.0.sms.delivered_by.get_or_create(&OfWay { sender: sender.to_owned(), channel }).inc();
        self.0.sms.delivered.get_or_create(&OfCountry { country: country.to_owned() }).inc();
    }

    /// The guard refused a message, or would have.
    pub fn sms_held_back(&self, rule: &'static str, guard: &'static str) {
        self.0.sms.held_back.get_or_create(&HeldBack { rule, guard }).inc();
    }

    /// A message was refused because a budget is spent.
    pub fn sms_unpaid(&self, budget: &'static str) {
        self.0.sms.unpaid.get_or_create(&OfBudget { budget }).inc();
    }

    /// The guard began to hold messages back, or would have.
    pub fn sms_block_begun(&self, guard: &'static str) {
        self.0.sms.blocks.get_or_create(&OfGuard { guard }).inc();
    }

    /// Most of a budget is spent.
    pub fn budget_warned(&self, budget: &'static str) {
        self.0.sms.budget_warnings.get_or_create(&OfBudget { budget }).inc();
    }
}
