"""People who log in at a server, and an outside ledger of what they were told.

Every answer that promises something becomes facts, under the name by which the recording knows the answer. What a fact
says must be in the database whenever the answer has left the server.
"""

import base64
import contextlib
import http.client
import json
import random
import re
import socket
import threading
import time

BASE = "/api/mobile/auth"
PATIENCE = 30
CODE = re.compile(r"--- SMS to (\+\d+)[^\n]*\n[^\n]*code is (\d{6})")


class Ledger:
    """Facts, each with the answer that told it: (answer, fact, whom it concerns, details)."""

    def __init__(self):
        self.facts = []
        self.lock = threading.Lock()

    def note(self, answer, fact, whom, *details):
        with self.lock:
            self.facts.append((answer, fact, whom, *details))


def claims(token):
    """What a JWT says."""
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def until(what, found):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        value = found()
        if value is not None:
            return value
        time.sleep(0.02)
    raise TimeoutError(f"{what}: not within {PATIENCE} s")


class Console:
    """The codes that the server prints."""

    def __init__(self, path):
        self.path = path

    def codes(self, phone):
        with open(self.path, encoding="utf-8") as printed:
            return [code for number, code in CODE.findall(printed.read()) if number == phone]

    def next(self, phone, seen):
        """The code that follows those that were seen."""
        return until("a code", lambda: self.codes(phone)[seen:] or None)[-1]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Client:
    """One connection."""

    def __init__(self, port):
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)

    def call(self, method, path, body=None, access=None):
        """The answer's id, its status and what it says."""
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {access}"} if access else {})
        self.http.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self.http.getresponse()
        return answer.headers["x-request-id"], answer.status, json.loads(answer.read() or b"null")

    def good(self, path, body=None, access=None):
        answer, status, said = self.call("POST", BASE + path, body, access)
        if status != 200:
            raise RuntimeError(f"{path}: {status} {said}")
        return answer, said


class Person:
    """One phone with its sessions: {sid: [access, refresh]}."""

    def __init__(self, phone, client, console, ledger):
        self.phone, self.client, self.console, self.ledger = phone, client, console, ledger
        self.user = None
        self.sessions = {}

    def code(self, path, body=None, access=None, phone=None):
        """Asks for a code and reads it."""
        phone = phone or self.phone
        seen = len(self.console.codes(phone))
        answer, _ = self.client.good(path, body, access)
        self.ledger.note(answer, "code", phone)
        return self.console.next(phone, seen)

    def log_in(self, errs=False):
        code = self.code("/production/request/", {"phone_number": self.phone})
        if errs:
            wrong = f"{(int(code) + 1) % 1_000_000:06}"
            answer, status, said = self.client.call(
                "POST", f"{BASE}/production/verify/", {"phone_number": self.phone, "otp": wrong}
            )
            if status != 400:
                raise RuntimeError(f"a wrong code: {status} {said}")
            self.ledger.note(answer, "guess", self.phone)
        answer, said = self.client.good("/production/verify/", {"phone_number": self.phone, "otp": code})
        told = claims(said["refresh"])
        self.user = said["user"]["id"]
        self.sessions[told["sid"]] = [said["access"], said["refresh"]]
        self.ledger.note(answer, "user", self.user, self.phone)
        self.ledger.note(answer, "session", told["sid"], self.user, told["gen"], said["refresh"])
        return told["sid"]

    def refresh(self, sid):
        answer, said = self.client.good("/token/refresh/", {"refresh": self.sessions[sid][1]})
        self.sessions[sid] = [said["access"], said["refresh"]]
        self.ledger.note(answer, "generation", sid, self.user, claims(said["refresh"])["gen"], said["refresh"])

    def log_out(self, sid):
        answer, _ = self.client.good("/logout/", {"refresh": self.sessions.pop(sid)[1]})
        self.ledger.note(answer, "ended", sid)

    def log_out_everywhere(self, sid):
        answer, _ = self.client.good("/logout/all/", {}, self.sessions[sid][0])
        self.over(answer)

    def change_number(self, sid, phone):
        access = self.sessions[sid][0]
        new = self.code("/account/phone/", {"phone_number": phone}, access, phone)
        current = self.code("/production/resend/", None, access)
        body = {"phone_number": phone, "otp": new, "current_otp": current}
        answer, said = self.client.good("/account/phone/verify/", body, access)
        if said["effective_at"] is not None:
            raise RuntimeError(f"the change waits: {said}")
        self.phone = phone
        self.ledger.note(answer, "phone", self.user, phone)
        self.over(answer, but=sid)

    def delete(self, sid):
        access = self.sessions[sid][0]
        answer, _ = self.client.good(
            "/account/delete/", {"otp": self.code("/production/resend/", None, access)}, access
        )
        self.ledger.note(answer, "deleted", self.user)
        self.sessions.clear()

    def over(self, answer, but=None):
        """All sessions but one are ended by an answer."""
        for sid in [sid for sid in self.sessions if sid != but]:
            self.ledger.note(answer, "ended", sid)
            del self.sessions[sid]

    def live(self, chance, other_phone):
        """What a person does with an app, by chance."""
        here = self.log_in(errs=chance.random() < 0.2)
        for _ in range(chance.randrange(4)):
            self.refresh(here)
        there = self.log_in() if chance.random() < 0.4 else None
        if there and chance.random() < 0.5:
            self.log_out(there)
            there = None
        act = chance.choice(["stay", "out", "everywhere", "number", "delete", "refresh", "again"])
        if act == "out":
            self.log_out(here)
        elif act == "everywhere":
            self.log_out_everywhere(here)
        elif act == "number":
            self.change_number(here, other_phone)
            self.refresh(here)
        elif act == "delete":
            self.delete(here)
        elif act == "refresh":
            self.refresh(here)
        elif act == "again":
            self.log_out_everywhere(here)
            self.log_in()


def run(port, console, ledger, numbers, seed, hands=6):
    """People with these numbers live side by side, `hands` at a time; gives them back when all are done."""
    waiting, people, faults = list(numbers), [], []
    lock = threading.Lock()

    def work():
        client = Client(port)
        while True:
            with lock:
                if not waiting or faults:
                    return
                number = waiting.pop(0)
            person = Person(f"+1{2_020_000_000 + number}", client, console, ledger)
            try:
                person.live(random.Random(f"{seed}:{number}"), f"+1{3_030_000_000 + number}")
            except Exception as fault:
                with lock:
                    faults.append(fault)
                return
            with lock:
                people.append(person)

    threads = [threading.Thread(target=work) for _ in range(hands)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    return people


def is_ready(port):
    """True once the server says so."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        client = Client(port)
        client.http.timeout = 2
        return client.call("GET", "/health/ready")[1] == 200 or None
    return None
