#!/usr/bin/env python3
"""What the guard costs: processor time of the server for a code, with the guard and without by turns, on a database that
has seen 100,000 logins a week for thirty days.

    cargo build --release
    python3 tools/guard_cost.py target/release/freshk [--turns 8] [--codes 1000]

Codes are asked for by numbers that were verified before, and by new ones: 60 of a hundred through the shared networks of
carriers, the others each from a network of its own; 85 of a hundred give their code before the next ones ask.
"""

import argparse
import asyncio
import contextlib
import http.server
import json
import os
import pathlib
import random
import re
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

BASE = "/api/mobile/auth/production"
DAY = 24 * 3600 * 1000
DAYS = 30
# Logins a week, and of a hundred of them those by new people; of a hundred people those behind carriers, and those who
# give their code.
WEEKLY, NEW, BEHIND_CARRIER, ANSWERED = 100_000, 20, 60, 85
# Of a hundred logins those of each country; the codes go to the first.
SHARES = {"DE": 30, "US": 20, "FR": 15, "GB": 10, "IN": 8, "BR": 7, "ES": 5, "IT": 5}
COUNTRIES = list(SHARES)
AT_ONCE = 8


class Sink(http.server.BaseHTTPRequestHandler):
    """A Twilio that takes every message at once, and remembers the codes."""

    protocol_version = "HTTP/1.1"
    codes = {}

    def do_POST(self):
        form = dict(urllib.parse.parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        Sink.codes[form["To"]] = re.search(r"\b\d{6}\b", form["Body"]).group()
        body = json.dumps({"sid": f"SM{random.getrandbits(128):032x}", "status": "queued"}).encode()
        head = f"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def log_message(self, *_):
        """Nothing: thousands of them come."""


def call(path, address, **fields):
    body = json.dumps(fields)
    head = f"POST {BASE}{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}X-Forwarded-For: {address}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


async def exchange(connection, request):
    reader, writer = connection
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    body = await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
    if head[9:12] != "200":
        sys.exit(f"{request}: {head} {body}")


def processor_nanos(process):
    """Of all threads that live."""
    total = 0
    for task in pathlib.Path(f"/proc/{process.pid}/task").iterdir():
        # A thread may end between the list and the look.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            total += int((task / "schedstat").read_text().split()[0])
    return total


def verified(n):
    return f"+4916{n:08}"


def new_purchase(chance, country, seen):
    """Network, range and standing of a message to a new number."""
    number = COUNTRIES.index(country)
    digits = f"+{1000 + number}{chance.randrange(10**6):06}"
    if chance.randrange(100) < BEHIND_CARRIER:
        return f"10.{number}.{chance.randrange(24)}.0/24", digits, "trusted"
    home = chance.randrange(20_000)
    network = f"64.{number * 16 + home // 2048}.{home % 256}.0/24"
    seen[network] = seen.get(network, 0) + 1
    return network, digits, "trusted" if seen[network] > 2 else "stranger"


def fill(path, codes):
    """Thirty days of messages, and so many numbers that were verified before."""
    chance, now, seen, rows = random.Random(1), int(time.time() * 1000), {}, []
    weights, count = list(SHARES.values()), WEEKLY * DAYS // 7
    for n in range(count):
        at = now - DAYS * DAY + n * DAYS * DAY // count
        country = chance.choices(COUNTRIES, weights)[0]
        network, digits, standing, converted = None, None, "known", None
        if chance.randrange(100) < NEW:
            network, digits, standing = new_purchase(chance, country, seen)
            # Ranges are kept for a day.
            digits = digits if at > now - DAY else None
            converted = at + 20_000 if chance.randrange(100) < ANSWERED else None
        rows.append((n - 10**8, at, country, standing, network, digits, converted))
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        columns = "challenge_id, at, country, standing, network, range, converted_at, cost, charges"
        database.executemany(f"INSERT INTO purchases ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, 0, '')", rows)
        people = [(f"user_{verified(n)[1:]}", verified(n)) for n in range(codes)]
        columns = "username, phone, role, phone_verified, joined_at"
        database.executemany(f"INSERT INTO users ({columns}) VALUES (?, ?, 'retailer', 1, 0)", people)


@contextlib.contextmanager
def serving(freshk, folder, sink, guard):
    """The process, and its port."""
    environment = os.environ | {
        "SECRET_KEY": "a secret of a server that has a guard, or none",
        "DATABASE_URL": f"sqlite://{folder}/freshk.db",
        "TWILIO_ACCOUNT_SID": "AC" + "a" * 32,
        "TWILIO_AUTH_TOKEN": "1" * 32,
        "TWILIO_PHONE_NUMBER": "+15005550006",
        "FRESHK_TWILIO__BASE_URL": f"http://127.0.0.1:{sink.server_port}",
        "FRESHK_SERVER__PUBLIC_URL": "https://api.example.com",
        "FRESHK_SERVER__TRUSTED_PROXIES": "127.0.0.1",
        "FRESHK_OPS__LISTEN": "off",
        "FRESHK_SMS__GUARD": guard,
        "FRESHK_LIMITS__IP": "0",
    }
    log = folder / "log"
    with open(log, "w", encoding="utf-8") as out:
        command = [os.path.abspath(freshk), "serve", "--listen", "127.0.0.1:0"]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out)
    try:
        for _ in range(400):
            lines = [json.loads(line) for line in log.read_text().splitlines() if '"address"' in line]
            if lines:
                break
            time.sleep(0.05)
        else:
            sys.exit(f"the server does not start: {log.read_text()}")
        yield process, int(lines[0]["address"].rsplit(":", 1)[1])
    finally:
        process.terminate()
        process.wait()


async def measure(process, port, codes, seed):
    """Processor nanoseconds for all codes of verified numbers, of new ones, and for what those give back."""
    chance, spent = random.Random(seed), {"verified before": 0, "new": 0, "verify": 0}
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(AT_ONCE)]

    async def timed(what, calls):
        before = processor_nanos(process)
        await asyncio.gather(*map(exchange, connections, calls))
        # What goes on after the answers belongs to them.
        await asyncio.sleep(0.004)
        spent[what] += processor_nanos(process) - before

    for first in range(0, codes, AT_ONCE):
        people, known = [], []
        for n in range(first, first + AT_ONCE):
            known.append(call("/request/", f"172.16.{n >> 8 & 255}.{n & 255}", phone_number=verified(n % codes)))
            carrier, home = f"10.0.{chance.randrange(24)}.{n & 255}", f"100.{n >> 8 & 255}.{n & 255}.7"
            address = carrier if chance.randrange(100) < BEHIND_CARRIER else home
            people.append((address, f"+49151{chance.randrange(10**8):08}"))
        await timed("verified before", known)
        await timed("new", [call("/request/", address, phone_number=phone) for address, phone in people])
        giving = [(address, phone, Sink.codes[phone]) for address, phone in people if chance.randrange(100) < ANSWERED]
        given = [call("/verify/", address, phone_number=phone, otp=code) for address, phone, code in giving]
        await timed("verify", given)
    return spent


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("freshk")
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--codes", type=int, default=1000)
    options = parser.parse_args()
    sink = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    found = {"off": [], "on": []}
    with tempfile.TemporaryDirectory() as name:
        filled = pathlib.Path(name) / "filled"
        filled.mkdir()
        with serving(options.freshk, filled, sink, "off"):
            pass
        fill(filled / "freshk.db", options.codes)
        for turn in range(2 * options.turns):
            guard = ("off", "on", "on", "off")[turn % 4]
            folder = pathlib.Path(name) / str(turn)
            shutil.copytree(filled, folder)
            with serving(options.freshk, folder, sink, guard) as (process, port):
                spent = asyncio.run(measure(process, port, options.codes, turn // 2))
            shutil.rmtree(folder)
            found[guard].append({what: nanos / 1000 / options.codes for what, nanos in spent.items()})
    for what in found["off"][0]:
        off, on = (statistics.median(turn[what] for turn in found[guard]) for guard in ("off", "on"))
        print(f"{what:16} {off:7.0f} µs without the guard, {on:7.0f} µs with it: {100 * (on - off) / off:+.1f} %")


if __name__ == "__main__":
    main()
