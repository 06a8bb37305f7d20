"""People who log in while everything fails now and then, and note what they know: what is told must stay so."""

import collections
import http.client
import random
import threading
import time

import load

SHOWN = 20
REQUEST, VERIFY = "/production/request/", "/production/verify/"


class Ledger:
    """Counts, and faults with what they are of."""

    def __init__(self):
        self.counts, self.faults, self.lock = collections.Counter(), [], threading.Lock()

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def fault(self, what):
        with self.lock:
            self.faults.append(what)
            if len(self.faults) <= SHOWN:
                print(f"FAULT {what}", flush=True)


class Session:
    """What a phone holds. It is live, ended, or in doubt: its end was asked for and not answered."""

    def __init__(self, said):
        self.sid = load.claims(said["refresh"])["sid"]
        self.refresh = said["refresh"]
        self.state = "live"


class Person:
    """One phone."""

    def __init__(self, number, port, sink, clock, ledger):
        self.phone, self.port, self.sink, self.clock, self.ledger = number, port, sink, clock, ledger
        self.client = None
        self.sessions, self.used, self.users = [], [], set()
        self.asked = 0

    def call(self, path, body):
        """Status and answer; none where no answer came."""
        self.client = self.client or load.Client(self.port)
        try:
            _, status, said = self.client.call("POST", load.BASE + path, body)
        except (OSError, http.client.HTTPException, ValueError):
            self.hang_up()
            self.ledger.count("no answer")
            time.sleep(0.2)
            return None, None
        self.ledger.count(f"{path.rstrip('/').rpartition('/')[2]} {status}")
        return status, said

    def hang_up(self):
        """An address has only so many connections."""
        if self.client:
            self.client.http.close()
        self.client = None

    def log_in(self):
        steps = self.clock.steps
        self.asked += 1
        before = len(self.sink.messages(self.phone))
        status, said = self.call(REQUEST, {"phone_number": self.phone})
        messages = self.sink.messages(self.phone)[before:]
        if status == 200 and not messages:
            self.ledger.fault(f"{self.phone} was told of an SMS that was never sent")
        if status not in (200, None, 429) and status < 500:
            self.ledger.fault(f"request/ answers {status}: {said}")
        if status != 200 or not messages:
            return
        code = messages[-1][0]
        status, said = self.call(VERIFY, {"phone_number": self.phone, "otp": code})
        # Whether it was used or not: nobody may use it again once somebody was told.
        if status == 200:
            self.used.append(code)
            self.sessions.append(Session(said))
            self.users.add(said["user"]["id"])
        elif status is not None and status < 500 and self.clock.steps == steps:
            self.ledger.fault(f"the right code of {self.phone} gets {status}: {said}")

    def renew(self, session):
        """A live session is renewed, or the server cannot just now; an ended one is not."""
        status, said = self.call("/token/refresh/", {"refresh": session.refresh})
        if status == 200:
            if session.state == "ended":
                self.ledger.fault(f"session {session.sid} was ended, and is renewed")
            session.state, session.refresh = "live", said["refresh"]
        elif status is not None and status < 500:
            if session.state == "live":
                self.ledger.fault(f"session {session.sid} is live, and is refused: {status} {said}")
            session.state = "ended"
        return status

    def log_out(self, session):
        session.state = "in doubt"
        status, said = self.call("/logout/", {"refresh": session.refresh})
        if status == 200:
            session.state = "ended"
        elif status is not None and status < 500:
            self.ledger.fault(f"session {session.sid} cannot be logged out: {status} {said}")

    def try_again(self, code):
        """A code that was used is refused."""
        status, _ = self.call(VERIFY, {"phone_number": self.phone, "otp": code})
        if status == 200:
            self.ledger.fault(f"a code of {self.phone} was used twice")
        return status

    def live(self, chance, is_over):
        """A few logins, each followed by whatever comes to mind."""
        for _ in range(3):
            if is_over():
                return
            self.log_in()
            for _ in range(chance.randrange(1, 6)):
                if not self.sessions or is_over():
                    break
                session = chance.choice(self.sessions)
                if session.state == "live" and chance.random() < 0.15:
                    self.log_out(session)
                else:
                    self.renew(session)
                time.sleep(chance.random() * 0.1)
            if self.used and chance.random() < 0.2:
                self.try_again(chance.choice(self.used))

    def hold(self):
        """When all is well again: everything is as it was told."""
        for session in self.sessions:
            status = self.renew(session)
            if status is None or status >= 500:
                self.ledger.fault(f"session {session.sid}: the server is well, and answers {status}")
            self.ledger.count(f"held: {session.state}")
        for code in self.used[-3:]:
            if (status := self.try_again(code)) is None or status >= 500:
                self.ledger.fault(f"a used code: the server is well, and answers {status}")
        bought = len(self.sink.messages(self.phone))
        if bought > self.asked:
            self.ledger.fault(f"{bought} SMS to {self.phone}, asked for were {self.asked}")
        self.hang_up()


def crowd(port, sink, clock, ledger, seed, is_over, hands=6):
    """People live side by side until it is over; gives all of them back."""
    people, lock = [], threading.Lock()

    def work():
        while not is_over():
            with lock:
                number = len(people)
                person = Person(f"+1{2_020_000_000 + number}", port, sink, clock, ledger)
                people.append(person)
            person.live(random.Random(f"{seed}:{number}"), is_over)
            person.hang_up()

    threads = [threading.Thread(target=work) for _ in range(hands)]
    for thread in threads:
        thread.start()
    return threads, people
