"""A server that has bad days: what fails comes and goes by a plan, while people log in and note what they were told.

    python3 tools/fault_plan target/debug/freshk --minutes 10

The clock leaps (Debian's faketime), the disk is full (a tmpfs, which needs root), descriptors or memory run out, somebody else
has the database locked, the process is stopped, or killed and started again, Twilio and a webhook fail, hang or hang up, and
the network between people and server cuts connections or carries nothing. The seed makes the plan. All the time, and
once more when all is well again: no live session is refused, no ended one is renewed, no code is good twice, nobody
gets an SMS who did not ask for it, and the webhook is told of every new user, or will be. The server has to be ready again by
itself. Exit code 1 where that does not hold.
"""

import argparse
import contextlib
import pathlib
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "power_loss"))

import load  # noqa: E402
from network import Network  # noqa: E402
from people import Ledger, crowd  # noqa: E402
from server import FAKETIME, Server  # noqa: E402
from sink import Sink, Webhook  # noqa: E402

DAY = 86_400
DISK = "256m"
# Not back by more than a refresh token lives: what is opened then says itself that it is over when the clock is right.
LEAPS = (300, -300, 3600, 40 * DAY, -DAY, 800 * DAY)


class Clock:
    """How often the wall clock has leapt."""

    def __init__(self, server):
        self.server, self.steps = server, 0

    def leap(self, seconds):
        self.steps += 1
        self.server.step(seconds)


class Plan:
    """What fails, when, for how long: by chance."""

    def __init__(self, seed, server, places, clock, disk):
        self.chance, self.server, self.clock, self.disk = random.Random(seed), server, clock, disk
        self.sink, self.told, self.between = places
        self.faults = {
            "killed": self.killed,
            "stopped": self.stopped,
            "no descriptors": self.no_descriptors,
            "no memory": self.no_memory,
            "database locked": self.locked,
            "network": self.network,
            "twilio": self.twilio,
            "webhook": self.webhook,
        }
        if FAKETIME.exists():
            self.faults["clock"] = self.leap
        if disk:
            self.faults["disk full"] = self.full
        self.counts = dict.fromkeys(self.faults, 0)

    def run(self, until):
        """Up to two faults at once."""
        while time.monotonic() < until:
            time.sleep(self.chance.uniform(1, 4))
            with contextlib.ExitStack() as now:
                for name in self.chance.sample(sorted(self.faults), self.chance.choice([1, 1, 2])):
                    self.counts[name] += 1
                    now.enter_context(self.faults[name]())
                time.sleep(self.chance.uniform(0.2, 3))

    @contextlib.contextmanager
    def killed(self):
        self.server.kill()
        yield

    @contextlib.contextmanager
    def stopped(self):
        self.server.signal(signal.SIGSTOP)
        yield
        self.server.signal(signal.SIGCONT)

    @contextlib.contextmanager
    def no_descriptors(self):
        before = self.server.descriptors(self.chance.randrange(4))
        yield
        self.server.give_back(before)

    @contextlib.contextmanager
    def no_memory(self):
        before = self.server.memory(self.chance.choice([0, 0, 1 << 16, 1 << 20, 1 << 22]))
        yield
        self.server.give_memory_back(before)

    @contextlib.contextmanager
    def locked(self):
        with contextlib.closing(sqlite3.connect(self.server.database, timeout=1, isolation_level=None)) as other:
            # Where a writer or a migration is at it, or the disk is full, it is not to be had.
            with contextlib.suppress(sqlite3.OperationalError):
                other.execute("BEGIN IMMEDIATE")
            yield

    @contextlib.contextmanager
    def network(self):
        self.between.mood = self.chance.choice(["cutting", "silent"])
        yield
        self.between.mood = "well"

    @contextlib.contextmanager
    def webhook(self):
        self.told.mood = self.chance.choice(["failing", "hanging", "hanging up"])
        yield
        self.told.mood = "well"

    @contextlib.contextmanager
    def twilio(self):
        self.sink.mood = self.chance.choice(["failing", "hanging", "hanging up"])
        yield
        self.sink.mood = "well"

    @contextlib.contextmanager
    def leap(self):
        self.clock.leap(self.chance.choice(LEAPS))
        yield
        self.clock.leap(0)

    @contextlib.contextmanager
    def full(self):
        filler = self.disk / "filler"
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
            while file.write(bytes(1 << 20)):
                pass
        yield
        filler.unlink()


@contextlib.contextmanager
def small_disk(folder):
    """A tmpfs, where this process may mount one."""
    disk = folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", disk], stderr=subprocess.DEVNULL, check=False
    )
    try:
        yield disk, mounted.returncode == 0
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", disk], check=False)


def hold_told(database, webhook, people, ledger):
    """Each new user was told of, or it waits to be; nothing was told that is not so."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        waiting = {user for (user,) in connection.execute(
            "SELECT user_id FROM events JOIN deliveries ON event_id = events.id WHERE state = 'waiting'"
        )}
        there = {user for (user,) in connection.execute("SELECT id FROM users")}
    created = set().union(*(person.users for person in people))
    ledger.counts["events told"], ledger.counts["events waiting"] = len(webhook.told), len(waiting)
    for user in created - set(webhook.told) - waiting:
        ledger.fault(f"the webhook was not told of user {user}, and will not be")
    for user in set(webhook.told) - there:
        ledger.fault(f"the webhook was told of user {user}, who is not there")
    if webhook.forged:
        ledger.fault(f"{webhook.forged} events had a wrong signature")


def main():
    parser = argparse.ArgumentParser(prog="python3 tools/fault_plan", description=__doc__.splitlines()[0])
    parser.add_argument("freshk", help="the program, such as target/debug/freshk")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="chance: of the plan and of the people [1]")
    parser.add_argument("--minutes", type=float, default=1, metavar="N", help="how long things fail [1]")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="freshk-fault-plan-"))
    ledger, sink, webhook = Ledger(), Sink(), Webhook()
    with small_disk(folder) as (disk, is_small):
        server = Server(options.freshk, folder, disk, sink, webhook)
        between = Network(server.port)
        try:
            load.until("ready", lambda: load.is_ready(server.port))
            clock = Clock(server)
            until = time.monotonic() + options.minutes * 60
            threads, people = crowd(between.port, sink, clock, ledger, options.seed, lambda: time.monotonic() >= until)
            plan = Plan(options.seed, server, (sink, webhook, between), clock, disk if is_small else None)
            plan.run(until)
            for thread in threads:
                thread.join()
            starts = server.starts
            try:
                load.until("ready", lambda: load.is_ready(server.port))
            except TimeoutError as fault:
                ledger.fault(f"all is well again, and the server is not ready: {fault}")
            else:
                for person in people:
                    person.hold()
            if server.starts > starts + 1:
                ledger.fault("all is well again, and the server ends by itself")
        finally:
            server.close()
        with contextlib.closing(sqlite3.connect(server.database)) as connection:
            found = connection.execute("PRAGMA integrity_check").fetchall()
            if found != [("ok",)]:
                ledger.fault(f"integrity_check: {found[:3]}")
        hold_told(server.database, webhook, people, ledger)
        if ledger.faults:
            for file in disk.glob("freshk.db*"):
                shutil.copy(file, folder)
    left_out = [name for name in ("clock", "disk full") if name not in plan.counts]
    print(f"seed {options.seed}, {options.minutes:g} minutes: {plan.counts}, left out: {left_out or 'nothing'}")
    print(f"{len(people)} people, {server.starts} starts, {dict(sorted(ledger.counts.items()))}")
    print(f"faults: {len(ledger.faults)}")
    if ledger.faults:
        sys.exit(f"database, and what the server printed: {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
