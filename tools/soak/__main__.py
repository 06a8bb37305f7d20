"""Serves for months within an hour: people log in at a third of the top rate, and each minute the clock leaps to the next day.

    cargo build --release && cargo build --release --bench soak
    python3 tools/soak target/release/freshk target/release/deps/soak-[0-9a-f]* --hours 1

Both clocks of the server leap together by a library that it is started with (`clock.c`), so that a day has passed for it: sessions
end, rows are deleted, a backup is made, another log file begun, and the certificate is renewed from its files, each day; each week the
configuration is loaded again. At the leap nobody calls. Each ten seconds memory, descriptors, threads, files and the slowest hundredth
of each call are noted; at the end the slope of each over the second half. Exit code 1 where something was answered as it must not be, an
ERROR was written to the log, rows outlive their time, a certificate is not shown, or the database is damaged.
"""

import argparse
import collections
import contextlib
import json
import pathlib
import queue
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "power_loss"))

import load  # noqa: E402
import samples  # noqa: E402
from server import DAY, Server  # noqa: E402

LONGEST_PAUSE = 60
# Of the measurement of the top rate nothing is kept.
MEASURE = 20
SHARE = 3


class People:
    """The load, a program of its own."""

    def __init__(self, program, port):
        self.reports = queue.Queue()
        self.process = subprocess.Popen(
            [program, "--address", f"127.0.0.1:{port}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            self.reports.put(json.loads(line))
        self.reports.put(None)

    def next(self, seconds):
        """What it says within so many seconds, or nothing."""
        with contextlib.suppress(queue.Empty):
            report = self.reports.get(timeout=max(seconds, 0))
            if report is None:
                raise RuntimeError("the load ended")
            return report
        return None

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def pause(self):
        """Until everybody has been served; gives back what was reported since."""
        self.tell("pause")
        until, reports = time.monotonic() + LONGEST_PAUSE, []
        while report := self.next(until - time.monotonic()):
            if report.get("paused"):
                return [*reports, report["now"]]
            reports.append(report)
        raise RuntimeError(f"somebody was not served within {LONGEST_PAUSE} s")


class Soak:
    """What was seen so far."""

    def __init__(self, server, people):
        self.server, self.people = server, people
        self.samples, self.faults, self.began = [], collections.Counter(), time.monotonic()
        self.logged, self.logins, self.late, self.spent = collections.Counter(), 0, 0, None

    def take(self, report):
        """A line of the load, with what the server looks like."""
        self.logins += report["logins"]
        self.late = max(self.late, report["late_ms"])
        for fault, count in report["faults"].items():
            self.faults[fault] += count
        if report["seconds"] < 5:
            return
        sample = samples.read(self.server)
        spent = sample.pop("processor s")
        if self.spent is not None and report["logins"]:
            sample["processor ms a login"] = (spent - self.spent) * 1000 / report["logins"]
        self.spent = spent
        sample["logins a second"] = report["logins"] / report["seconds"]
        for call, took in report["calls"].items():
            sample[f"p99 {call} ms"] = took["p99"] / 1000
        self.samples.append(((time.monotonic() - self.began) / 3600, sample))
        with open(self.server.folder / "samples.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps([self.samples[-1][0], sample, report["faults"]]) + "\n")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.server.ops}/metrics", timeout=10) as metrics:
                metrics.read()
        except OSError as fault:
            self.faults[f"/metrics: {fault}"] += 1

    def listen(self, seconds):
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if report := self.people.next(left):
                self.take(report)

    def day(self, seconds, rate):
        """People come for a while, then the next day begins."""
        server = self.server
        self.people.tell(f"rate {rate}")
        if server.days:
            try:
                load.until("the certificate", server.shows_the_certificate)
            except TimeoutError:
                self.faults["a new certificate was not shown"] += 1
        self.listen(seconds)
        for report in self.people.pause():
            self.take(report)
        for line, count in server.lines().items():
            (self.faults if line.startswith("ERROR") else self.logged)[line] += count
        for table, days in server.kept_too_long(time.time() + server.days * DAY).items():
            self.faults[f"{table}: a row is {days} days old"] += 1
        if server.days % 7 == 6:
            server.reload()
            for words in (["db", "check"], ["stats"], ["audit", "list"]):
                done = server.command(*words)
                if done.returncode:
                    self.faults[f"freshk {' '.join(words)}: {done.returncode} {done.stderr[-300:]}"] += 1
        # What is told to the webhook is no call of the people.
        time.sleep(1)
        server.leap()
        server.renew()


def top_rate(people):
    """Logins a second with nothing to hold them back."""
    people.tell("top")
    until, logins, seconds = time.monotonic() + MEASURE, 0, 0
    while (left := until - time.monotonic()) > 0:
        if report := people.next(left):
            logins, seconds = logins + report["logins"], seconds + report["seconds"]
    for report in people.pause():
        logins, seconds = logins + report["logins"], seconds + report["seconds"]
    return logins / seconds


def main():
    parser = argparse.ArgumentParser(prog="python3 tools/soak", description=__doc__.splitlines()[0])
    parser.add_argument("freshk", help="the program, such as target/release/freshk")
    parser.add_argument("load", help="the load, of cargo build --bench soak")
    parser.add_argument("--hours", type=float, default=1, metavar="N", help="how long, without the measurement before [1]")
    parser.add_argument("--day", type=float, default=60, metavar="N", help="seconds that people come in a day [60]")
    parser.add_argument("--people", type=int, metavar="N", help="how many numbers there are [those of four days]")
    parser.add_argument("--rate", type=float, metavar="N", help="logins a second [a third of what is measured first]")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="freshk-soak-", dir="/var/tmp"))
    port = load.free_port()
    people = People(options.load, port)
    ports = people.next(LONGEST_PAUSE)
    server = Server(options.freshk, folder, port, ports["twilio"], ports["webhook"])
    try:
        load.until("ready", lambda: load.is_ready(server.ops))
        rate = options.rate or top_rate(people) / SHARE
        count = options.people or round(rate * options.day * 4)
        people.tell(f"people {count}")
        print(f"{rate:.0f} logins a second of {count} people; folder: {folder}", flush=True)
        soak = Soak(server, people)
        while time.monotonic() < soak.began + options.hours * 3600:
            soak.day(options.day, rate)
            if soak.samples:
                print(f"day {server.days}: {soak.samples[-1][1]} {dict(soak.faults)}", flush=True)
        rows = server.rows()
        people.tell("stop")
    finally:
        ended = server.close()
        people.process.kill()
    if ended:
        soak.faults[f"it ended with {ended}"] += 1
    with contextlib.closing(sqlite3.connect(server.database)) as database:
        found = database.execute("PRAGMA integrity_check").fetchall()
        if found != [("ok",)]:
            soak.faults[f"integrity_check: {found[:3]}"] += 1
    print(f"\n{options.hours:g} hours, {server.days} days, {soak.logins} logins, {rate:.0f} a second; latest {soak.late} ms late")
    print("\n".join(samples.table(soak.samples)))
    print(f"rows: {rows}")
    for line, count in soak.logged.most_common():
        print(f"logged {count} times: {line}")
    for fault, count in soak.faults.most_common():
        print(f"FAULT {count} times: {fault}")
    print(f"faults: {sum(soak.faults.values())}")
    if soak.faults:
        sys.exit(f"database, log and samples: {folder}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
