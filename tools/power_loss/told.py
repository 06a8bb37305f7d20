"""What answers have promised, held against the rows of a database."""

import collections


class Fault(Exception):
    """What a power loss must not leave."""


class Told:
    """What the answers up to some point have promised, and what was ever asked for."""

    def __init__(self, facts):
        self.by_answer = collections.defaultdict(list)
        self.owner, self.latest = {}, {}
        self.may_end, self.may_go, self.may_stop, self.may_move = set(), set(), set(), set()
        self.numbers = collections.defaultdict(set)
        for answer, fact, whom, *details in facts:
            self.by_answer[answer].append((fact, whom, details))
            if fact == "session":
                self.owner[whom] = details[0]
            if fact in ("session", "generation"):
                self.latest[whom] = details[1]
            elif fact == "ended":
                self.may_end.add(whom)
            elif fact == "deleted":
                self.may_go.add(whom)
            elif fact == "inactive":
                self.may_stop.add(whom)
            elif fact in ("user", "phone"):
                self.numbers[whom].add(details[0])
            if fact == "phone":
                self.may_move.add(whom)
        self.generation, self.token, self.ended, self.gone, self.inactive = {}, {}, set(), set(), set()
        self.users, self.codes, self.guesses = {}, collections.Counter(), collections.Counter()
        self.moved = set()
        self.count = 0

    def answer(self, name):
        """An answer leaves; false if it is none of the ledger."""
        facts = self.by_answer.get(name, [])
        for fact, whom, details in facts:
            if fact in ("session", "generation"):
                _, self.generation[whom], self.token[whom] = details
            elif fact == "ended":
                self.ended.add(whom)
            elif fact == "deleted":
                self.gone.add(whom)
            elif fact == "inactive":
                self.inactive.add(whom)
            elif fact in ("user", "phone"):
                self.users[whom] = details[0]
                if fact == "phone":
                    self.moved.add(whom)
            elif fact == "code":
                self.codes[whom] += 1
            elif fact == "guess":
                self.guesses[whom] += 1
        self.count += len(facts)
        return bool(facts)

    def hold(self, rows):
        """Compares with the rows of a database."""
        for sid, least in self.generation.items():
            user = self.owner[sid]
            row = rows.sessions.get(sid)
            if row is None:
                demand(user in self.may_go, f"the session {sid} of user {user} is lost")
                continue
            _, generation, ended = row
            demand(generation >= least, f"session {sid} is at generation {generation}, told was {least}")
            demand(ended or sid not in self.ended, f"session {sid} was ended, and lives again")
            # The codes of a number go with its user.
            demand(
                sid in rows.used or user in self.may_go | self.may_move,
                f"the code that opened session {sid} is not used",
            )
        for sid, (user, generation, ended) in rows.sessions.items():
            demand(self.owner.get(sid) == user, f"session {sid} of user {user} was never opened")
            demand(generation <= self.latest[sid], f"session {sid} is at generation {generation}, never asked for")
            demand(not ended or sid in self.may_end or user in self.may_stop, f"session {sid} was ended by nobody")
            demand(user not in self.gone, f"session {sid} of the deleted user {user} is back")
        for user, phone in self.users.items():
            row = rows.users.get(user)
            if row is None:
                demand(user in self.may_go, f"user {user} is lost")
                continue
            demand(user not in self.gone, f"user {user} was deleted, and is back")
            demand(row[0] in self.numbers[user], f"user {user} has a number that nobody asked for")
            demand(user not in self.moved or row[0] == phone, f"user {user} has the number of before")
            demand(not row[1] or user not in self.inactive, f"user {user} was deactivated, and is active")
        gone = {number for user in self.may_go | self.may_move for number in self.numbers[user]}
        for phone, count in (self.codes - rows.codes).items():
            demand(phone in gone, f"{count} of the codes for {phone} are lost")
        for phone, count in (self.guesses - rows.guesses).items():
            demand(phone in gone, f"{count} wrong guesses at {phone} are lost")


def demand(holds, what):
    if not holds:
        raise Fault(what)


class Rows:
    """What is looked at in a database."""

    def __init__(self, connection):
        def ask(query):
            return connection.execute(query).fetchall()

        self.sessions = {sid: rest for sid, *rest in ask("SELECT id, user_id, generation, ended_at FROM sessions")}
        self.users = {user: rest for user, *rest in ask("SELECT id, phone, is_active FROM users")}
        self.used = {sid for (sid,) in ask("SELECT session_id FROM challenges WHERE state = 'used'")}
        counts = ask("SELECT phone, count(*), sum(attempts) FROM challenges GROUP BY phone")
        self.codes = collections.Counter({phone: count for phone, count, _ in counts})
        self.guesses = collections.Counter({phone: attempts for phone, _, attempts in counts})
