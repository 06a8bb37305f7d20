//! What people do next.

use super::super::acts::{Act, Deed, Fate, Token};
use super::{NUMBERS, Raw, World, at};
use crate::domain::DeviceId;

/// Kinds of steps; the last of them wait for a moment.
const KINDS: u32 = 128;
const LAST_MOMENTS: u32 = 123;

impl Raw {
    /// Whether the step waits for the moment at which something ends.
    pub(super) const fn waits(&self) -> bool {
        self.kind % KINDS >= LAST_MOMENTS
    }
}

impl World {
    /// What a step does; none: a server ends.
    pub(super) fn choose(&self, raw: &Raw) -> Option<Act> {
        let number = at(raw.first, NUMBERS);
        let fate = match raw.third % 8 {
            0 => Fate::Refused,
            1 => Fate::Lost,
            _ => Fate::Accepted,
        };
        let device = self.device(raw.second);
        let request = Act::Request { number, device: device.clone(), fate };
        let recent = |tokens: &[Token]| {
            let place = tokens.len().checked_sub(1 + at(raw.second, tokens.len().clamp(1, 3)))?;
            Some(tokens[place].clone())
        };
        let any =
            |tokens: &[Token]| (!tokens.is_empty()).then(|| tokens[at(raw.second, tokens.len())].clone());
        let access = recent(&self.accesses);
        let verify = |digits| Act::Verify { number, digits, device: device.clone(), key: raw.third };
        let act = match raw.kind % KINDS {
            // Where a day has few guesses its last one is come by.
            30..=43 if self.settings.failures < 10 => self.towards_last_guess(raw),
            0..=15 => Some(request.clone()),
            16..=34 => self.mail(number, 0, false).map(verify),
            35..=37 => self.mail(number, 1 + at(raw.third, 3), false).map(verify),
            38..=43 => Some(verify(self.wrong(number, raw.third))),
            44..=46 => self.latest.clone(),
            47..=55 => recent(&self.refreshes).map(|token| Act::Refresh { token }),
            56 | 57 => any(&self.refreshes).map(|token| Act::Refresh { token }),
            58..=60 => self.any_of_latest(raw.third).map(|token| Act::Refresh { token }),
            61..=64 => access.map(|access| Act::Status { access }),
            65 | 66 => any(&self.accesses).map(|access| Act::Status { access }),
            67 | 68 => any(&self.refreshes).map(|token| Act::LogOut { token }),
            69 => access.map(|access| Act::LogOutEverywhere { access, device }),
            70 => access
                .zip(any(&self.refreshes))
                .map(|(access, token)| Act::EndSession { access, session: token.session }),
            71..=73 => access.map(|access| Act::Resend { access, device, fate }),
            74..=77 => access.map(|access| Act::AskChange { access, number, fate }),
            78..=82 => access.map(|access| {
                let none = || self.wrong(number, raw.third);
                let new = self.mail(number, 0, false).unwrap_or_else(none);
                let own = self.own(&access).and_then(|own| self.mail(own, 0, false)).unwrap_or_else(none);
                Act::Prove { access, number, new, current: raw.third.is_multiple_of(2).then_some(own) }
            }),
            83 | 84 => {
                let digits = self.mail(number, 0, true).filter(|_| !raw.third.is_multiple_of(4));
                Some(Act::CancelByCode {
                    number,
                    digits: digits.unwrap_or_else(|| self.wrong(number, raw.third)),
                })
            }
            85 => access.map(|access| Act::KeepPhone { access }),
            86..=88 => access.map(|access| {
                let digits = self.own(&access).and_then(|own| self.mail(own, 0, false));
                Act::Delete {
                    access,
                    digits: digits.unwrap_or_else(|| self.wrong(number, raw.third)),
                    device,
                }
            }),
            89..=94 => Some(Act::Operate { number, deed: deed(raw) }),
            95 | 96 => Some(Act::Maintain),
            97..=99 => return None,
            100.. if self.flight.is_some() => return self.while_under_way(raw),
            100..=113 => self.towards_change(raw),
            114 | 115 => self.towards_deletion(raw),
            // One of the last moments that could not be waited for is a guess as well.
            _ => self.towards_last_guess(raw),
        };
        Some(act.unwrap_or(request))
    }

    /// The number of a token's user, as far as it is known.
    fn own(&self, token: &Token) -> Option<usize> {
        let model = self.models.first()?;
        let login = model.logins.iter().find(|login| login.id.as_ref() == Some(&token.session))?;
        model.users[login.user].number
    }

    /// A refresh token of the session that was renewed last, of whatever generation.
    fn any_of_latest(&self, drawn: u32) -> Option<Token> {
        let latest = self.refreshes.last()?;
        let own = self.refreshes.iter().filter(|token| token.session == latest.session).collect::<Vec<_>>();
        Some(own[at(drawn, own.len())].clone())
    }

    pub(super) fn device(&self, drawn: u32) -> Option<DeviceId> {
        let known = self.people.devices.keys().collect::<Vec<_>>();
        if known.is_empty() || drawn.is_multiple_of(2) {
            return None;
        }
        Some(known[at(drawn / 2, known.len())].clone())
    }

    /// What a message to a number says: the latest, or one before it.
    fn mail(&self, number: usize, before: usize, is_notice: bool) -> Option<String> {
        let mut mails =
            self.mails.iter().rev().filter(|mail| mail.number == number && mail.is_notice == is_notice);
        mails.nth(before).map(|mail| mail.digits.clone())
    }

    /// What no message to a number says.
    pub(super) fn wrong(&self, number: usize, drawn: u32) -> String {
        let mut guess = drawn % 1_000_000;
        while self.mails.iter().any(|mail| mail.number == number && mail.digits.parse() == Ok(guess)) {
            guess = (guess + 1) % 1_000_000;
        }
        format!("{guess:06}")
    }
}

fn deed(raw: &Raw) -> Deed {
    match raw.second % 16 {
        0..=3 => Deed::Deactivate,
        4..=8 => Deed::Activate,
        9 | 10 => Deed::SetRole,
        11 => Deed::LogOut,
        12 => Deed::Restore,
        13 => Deed::Delete,
        14 => Deed::SetPhone(at(raw.third, NUMBERS)),
        _ => Deed::ResetLimits,
    }
}
