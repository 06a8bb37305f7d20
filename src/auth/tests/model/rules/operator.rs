//! What the operator does to whoever has a number.

use super::quotas::Whose;
use super::{Ended, Model, Moment};
use crate::auth::tests::model::acts::Deed;

impl Model {
    pub(super) fn operate(&mut self, number: usize, deed: Deed, at: &Moment<'_>) {
        let Some(user) = self.holder(number) else { return };
        match deed {
            Deed::Activate => self.users[user].is_active = true,
            Deed::Deactivate => {
                self.users[user].is_active = false;
                self.end_logins(user, Ended::Deactivated, at.now());
                self.waiting.remove(&user);
                self.end_devices(user, None);
            }
            Deed::SetRole => {
                self.users[user].role = if self.users[user].role == "staff" { "retailer" } else { "staff" }
            }
            Deed::LogOut => self.revoke_logins(user, at.now()),
            Deed::Restore => self.users[user].deletes_at = None,
            Deed::Delete => self.erase(user),
            Deed::SetPhone(to) => {
                let is_own = to == number;
                if is_own || self.holder(to).is_none() {
                    if !is_own {
                        self.renumber(user, to, at.now());
                    }
                    self.revoke_logins(user, at.now());
                }
            }
            Deed::ResetLimits => {
                self.spent.retain(|(_, whose), _| match whose {
                    Whose::Number(of) => *of != number,
                    Whose::User(of) => *of != user,
                    Whose::Device(of) => self.devices[*of].has_ended || self.devices[*of].user != user,
                    Whose::Address(_) => true,
                });
            }
        }
    }
}
