#!/usr/bin/env python3
"""A sender of kind http for FreshK, in Python's standard library: replace `hand_over` by your provider's call.

    SENDER_SECRET=whsec_... python3 python.py 8010
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = base64.b64decode(os.environ["SENDER_SECRET"].removeprefix("whsec_"))
SEEN: dict[str, str] = {}  # what was answered to each idempotency key; keep it in a database
LOCK = threading.Lock()


def hand_over(message: dict) -> str:
    """Gives the message to the provider: accepted, invalid_number, refused or try_later."""
    if message["to"].startswith("+999"):
        return "invalid_number"
    print(f"{message['to']}: template {message['template']} in {message['language']}", flush=True)
    return "accepted"


def is_signed(headers, body: bytes) -> bool:
    sent, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not stamp.isdigit() or abs(time.time() - int(stamp)) > 300:
        return False
    tag = hmac.new(SECRET, f"{sent}.{stamp}.".encode() + body, hashlib.sha256).digest()
    right = "v1," + base64.b64encode(tag).decode()
    return any(hmac.compare_digest(right, one) for one in headers.get("webhook-signature", "").split(" "))


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if not is_signed(self.headers, body):
            self.answer(401, {"error": "bad signature"})
            return
        message = json.loads(body)
        key = message["idempotency_key"]
        with LOCK:
            if key not in SEEN:
                SEEN[key] = hand_over(message)
        self.answer(200, {"status": SEEN[key]})

    def answer(self, status: int, document: dict):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
