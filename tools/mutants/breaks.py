"""The flows broken on purpose, one promise at a time, to see whether the model of all flows finds it, and how soon."""

import re

# What is broken, in which file, which text, and what takes its place while the break is on.
BREAKS = [
    ('a call costs its address no unit', 'src/auth/gate.rs',
     'let Some(AddressQuota { quota, shares }) = &self.0 else { return Ok(()) };',
     'let Some(AddressQuota { quota, shares }) = &self.0 else { return Ok(()) }; if ON { return Ok(()); }'),
    ('a used code is good again', 'src/auth/proof.rs',
     'tx.update_challenge(&mut challenge.clone().consumed(used))',
     'if ON { Ok(()) } else { tx.update_challenge(&mut challenge.clone().consumed(used)) }'),
    ('a login leaves the other codes of its number good', 'src/auth/proof.rs',
     'tx.update_challenge(&mut other.clone().superseded())?;',
     'if ON {} else { tx.update_challenge(&mut other.clone().superseded())?; }'),
    ('the last guess of a day is tried against two codes', 'src/auth/proof.rs',
     '.chain(used).take(left).collect();', '.chain(used).take(if ON { left + 1 } else { left }).collect();'),
    ('wrong guesses are forgotten when a crash leaves the fate of a message open', 'src/domain/challenge.rs',
     'self.settle(ChallengeState::Unknown, settled)',
     'if ON { Self { attempts: 0, ..self.settle(ChallengeState::Unknown, settled) } } else { self.settle(ChallengeState::Unknown, settled) }'),
    ('a wrong guess from a device does not count against the number', 'src/auth/proof.rs',
     'count(self.tx, quota, phone.as_str(), &limits)?;', 'if ON {} else { count(self.tx, quota, phone.as_str(), &limits)?; }'),
    ('a code is good at the moment when it expires', 'src/domain/challenge.rs',
     '!self.is_open() || expires_at <= now', 'if ON { !self.is_open() || expires_at < now } else { !self.is_open() || expires_at <= now }'),
    ('a message whose answer was lost gives its unit back', 'src/auth/settle.rs',
     'let fate = lose(tx, challenge, live_codes, settled)?;',
     'if ON { refund(tx, &challenge, &self.keys)?; } let fate = lose(tx, challenge, live_codes, settled)?;'),
    ('a refresh token two generations behind is good', 'src/domain/session.rs',
     'self.present_older(generation + 1 == self.generation, rotated_away, presentation)',
     'self.present_older(if ON { generation + 2 >= self.generation } else { generation + 1 == self.generation }, rotated_away, presentation)'),
    ('a refresh token that was used outside the rules leaves its session', 'src/auth/presenter.rs',
     'end(tx, Session { replays_untold: 0, ..session }, EndReason::Reuse)?;',
     'if ON {} else { end(tx, Session { replays_untold: 0, ..session }, EndReason::Reuse)?; }'),
    ('a change of number leaves the other sessions', 'src/auth/phone_change.rs',
     'end(tx, session, EndReason::PhoneChanged)?;', 'if ON {} else { end(tx, session, EndReason::PhoneChanged)?; }'),
    ('a change of number leaves the devices', 'src/auth/renumber.rs',
     'devices::end_all(tx, user.id, None)?;', 'if ON {} else { devices::end_all(tx, user.id, None)?; }'),
    ('a login leaves a change of number that waits', 'src/auth/phone_change.rs',
     'cancel(tx, user, Cancelled::Login)?;', 'if ON {} else { cancel(tx, user, Cancelled::Login)?; }'),
    ('a deletion that waits leaves the sessions', 'src/auth/deletion.rs',
     'end_all(tx, user.id, *live_at, EndReason::Deletion)?;',
     'if ON {} else { end_all(tx, user.id, *live_at, EndReason::Deletion)?; }'),
    ('a deletion gives the spent units back', 'src/auth/erasure.rs',
     'spends = bequeath(tx, phone, keys)?;',
     'if ON { tx.reset_limits(phone.as_str())?; } spends = bequeath(tx, phone, keys)?;'),
    ('a deactivation leaves the sessions', 'src/auth/operator.rs',
     'let ended = self.end_all(user, EndReason::Deactivated)?;',
     'let ended = if ON { Default::default() } else { self.end_all(user, EndReason::Deactivated)? };'),
]

# Where a break is found there is nothing to learn from the shortest schedule.
MODEL = ('src/auth/tests/model.rs', 'shorten(seed, place, steps, found)', 'found')
TEST = 'auth::tests::model::no_schedule_breaks_a_promise_on_sqlite'
FOUND = re.compile(r'^schedule (\d+) \(', re.MULTILINE)


def broken(name, source):
    """A source file with the breaks that are in it, each of them off."""
    patches = [(old, new.replace('ON', f'crate::mutant::breaks({number})', 1))
               for number, (_, file, old, new) in enumerate(BREAKS, 1) if file == name]
    for old, new in patches + ([MODEL[1:]] if name == MODEL[0] else []):
        if source.count(old) != 1:
            raise SystemExit(f'{name} has changed, so that it cannot be broken: {old}')
        source = source.replace(old, new)
    return source


def files():
    return {file for _, file, _, _ in BREAKS} | {MODEL[0]}
