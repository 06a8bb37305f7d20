#!/usr/bin/env python3
"""Reports of Twilio by the thousand, repeated, reordered and of messages that are none: at a rate, then as fast as they are
taken.

    cargo build --release
    python3 tools/callbacks.py target/release/freshk [--rate 1000] [--seconds 30] [--connections 32]

Sends messages first, half for each of the two rounds. At the end each message must stand where its last report says,
whatever the order was, and each loss must have been told once.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

BASE = "/api/mobile/auth"
PUBLIC = "https://api.example.com"
REQUEST = f"{BASE}/production/request/"
STATUS = f"{BASE}/sms/twilio/status/"
TOKEN = "1" * 32
# What Twilio reports of a message before its end; the last once more, as it does where an answer comes late.
WAY = ("queued", "sending", "sent", "sent")
# Of so many reports one is of a message that is none.
STRANGE = 10
TICKS = os.sysconf("SC_CLK_TCK")


class Sink(http.server.BaseHTTPRequestHandler):
    """A Twilio that takes every message at once."""

    protocol_version = "HTTP/1.1"
    count, lock = 0, threading.Lock()

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        with Sink.lock:
            Sink.count += 1
            body = json.dumps({"sid": f"SM{Sink.count:032x}", "status": "queued"}).encode()
        head = f"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.wfile.write(head.encode() + body)

    def log_message(self, *_):
        """Nothing: thousands of them come."""


def post(path, body, content_type, headers=""):
    head = f"POST {path} HTTP/1.1\r\nHost: api.example.com\r\nContent-Type: {content_type}\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def report(sid, status):
    fields = {"MessageSid": sid, "MessageStatus": status, "AccountSid": "AC" + "a" * 32, "To": "+12025550123"}
    if status in ("undelivered", "failed"):
        fields["ErrorCode"] = "30003"
    covered = f"{PUBLIC}{STATUS}" + "".join(name + fields[name] for name in sorted(fields))
    signature = base64.b64encode(hmac.digest(TOKEN.encode(), covered.encode(), hashlib.sha1)).decode()
    form = urllib.parse.urlencode(fields)
    return post(STATUS, form, "application/x-www-form-urlencoded", f"X-Twilio-Signature: {signature}\r\n")


async def exchange(reader, writer, call):
    """The status of the answer."""
    writer.write(call)
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    if "content-length: " in head:
        await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
    return int(head[9:12])


async def drive(port, calls, expected, connections, rate=None):
    """How long each call took, from when it was due where there is a rate; and how long all of them."""
    due, took = iter(enumerate(calls)), []
    begun = time.perf_counter()

    async def work():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for n, call in due:
            at = begun + n / rate if rate else time.perf_counter()
            await asyncio.sleep(max(0, at - time.perf_counter()))
            status = await exchange(reader, writer, call)
            if status != expected:
                sys.exit(f"{status} to {call}")
            took.append(time.perf_counter() - at)
        writer.close()

    await asyncio.gather(*(work() for _ in range(connections)))
    return sorted(took), time.perf_counter() - begun


def processor_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def reports_of(sids, chance):
    """All reports of these messages and of strange ones, shuffled, and how each message ends."""
    ends = {sid: chance.choice(("delivered", "delivered", "undelivered", "failed")) for sid in sids}
    told = [(sid, status) for sid, end in ends.items() for status in (*WAY, end, end)]
    told += [(f"SMf{n:031x}", "delivered") for n in range(len(told) // STRANGE)]
    chance.shuffle(told)
    return [report(sid, status) for sid, status in told], ends


def start(freshk, folder, sink):
    environment = os.environ | {
        "SECRET_KEY": "a secret of a server that is told of its messages",
        "DATABASE_URL": f"sqlite://{folder}/freshk.db",
        "ALLOWED_HOSTS": "api.example.com",
        "TWILIO_ACCOUNT_SID": "AC" + "a" * 32,
        "TWILIO_AUTH_TOKEN": TOKEN,
        "TWILIO_PHONE_NUMBER": "+15005550006",
        "FRESHK_TWILIO__BASE_URL": f"http://127.0.0.1:{sink.server_port}",
        "FRESHK_SERVER__PUBLIC_URL": PUBLIC,
        "FRESHK_SERVER__TRUSTED_PROXIES": "127.0.0.1",
        "FRESHK_OPS__LISTEN": "off",
        "FRESHK_SMS__GUARD": "off",
        "FRESHK_LIMITS__IP": "0",
    }
    log = folder / "log"
    with open(log, "w", encoding="utf-8") as out:
        command = [os.path.abspath(freshk), "serve", "--listen", "127.0.0.1:0"]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=out)
    for _ in range(200):
        lines = [json.loads(line) for line in log.read_text().splitlines() if '"address"' in line]
        if lines:
            return process, int(lines[0]["address"].rsplit(":", 1)[1])
        time.sleep(0.05)
    sys.exit(f"the server does not start: {log.read_text()}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("freshk")
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    messages = options.rate * options.seconds // (len(WAY) + 2)
    chance = random.Random(7)
    sink = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        process, port = start(options.freshk, folder, sink)
        try:
            phones = [json.dumps({"phone_number": f"+1999{n:07}"}) for n in range(2 * messages)]
            asking = [
                # Each from an address of its own, or the flood guard would refuse them.
                post(REQUEST, phone, "application/json", f"X-Forwarded-For: 10.0.{n >> 8}.{n & 255}\r\n")
                for n, phone in enumerate(phones)
            ]
            asyncio.run(drive(port, asking, 200, 8))
            database = sqlite3.connect(f"file:{folder}/freshk.db?mode=ro", uri=True)
            sids = [sid for (sid,) in database.execute("SELECT sid FROM messages ORDER BY id")]
            print(f"{'':24} {'reports':>8} {'a second':>9} {'p50 ms':>8} {'p99 ms':>8} {'worst':>8} {'µs each':>8}")
            ends = {}
            at_a_rate = (f"at {options.rate} a second", sids[:messages], options.rate)
            for words, own, rate in (at_a_rate, ("as fast as taken", sids[messages:], None)):
                calls, own_ends = reports_of(own, chance)
                ends |= own_ends
                before = processor_seconds(process)
                took, seconds = asyncio.run(drive(port, calls, 204, options.connections, rate))
                each = (processor_seconds(process) - before) / len(calls) * 1e6
                shown = [1000 * took[at] for at in (len(took) // 2, len(took) * 99 // 100, -1)]
                waits = " ".join(f"{ms:8.2f}" for ms in shown)
                print(f"{words:24} {len(calls):8} {len(calls) / seconds:9.0f} {waits} {each:8.0f}", flush=True)
            stands = dict(database.execute("SELECT sid, state FROM messages"))
            wrong = {sid: (stands[sid], end) for sid, end in ends.items() if stands[sid] != end}
            told = database.execute("SELECT count(*) FROM audit WHERE event = 'sms_undelivered'").fetchone()[0]
            lost = sum(end != "delivered" for end in ends.values())
            if wrong or told != lost:
                sys.exit(f"{len(wrong)} messages do not stand where they ended, and {told} of {lost} losses were told")
            print(f"{len(ends)} messages stand where they ended; {lost} losses were told, each once")
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
