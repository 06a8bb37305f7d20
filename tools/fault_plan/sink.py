"""A Twilio and a webhook that are well, fail, hang or hang up, and keep what they were sent."""

import base64
import hashlib
import hmac
import http.server
import json
import re
import threading
import time
import urllib.parse

CODE = re.compile(r"\b(\d{6})\b")
HANGS_FOR = 5


class Place:
    """Answers calls; `mood` is "well", "failing", "hanging" or "hanging up"."""

    def __init__(self):
        self.mood, self.lock = "well", threading.Lock()
        place = self

        class Answer(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                place.answer(self, self.rfile.read(int(self.headers.get("Content-Length", 0))))

            def log_message(self, *_):
                """Nothing: thousands of them come."""

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, request, client_address):
                """Nothing: a server that is killed hangs up."""

        self.server = Server(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def is_away(self, call, mood):
        """Whether there is no answer."""
        if mood == "hanging":
            time.sleep(HANGS_FOR)
        if mood in ("hanging", "hanging up"):
            call.close_connection = True
            return True
        return False


class Sink(Place):
    """Twilio."""

    def __init__(self):
        self.bought = {}
        super().__init__()

    def answer(self, call, body):
        form = urllib.parse.parse_qs(body.decode())
        phone, text, mood = form["To"][0], form["Body"][0], self.mood
        with self.lock:
            messages = self.bought.setdefault(phone, [])
            # Whoever gets no answer cannot know that it was not sent.
            messages.append((CODE.search(text).group(1), mood))
            number = sum(map(len, self.bought.values()))
        if self.is_away(call, mood):
            return
        status = 201 if mood == "well" else 503
        body = json.dumps({"sid": f"SM{number:032x}", "status": "queued", "to": phone}).encode()
        call.send_response(status)
        call.send_header("Content-Type", "application/json")
        call.send_header("Content-Length", str(len(body)))
        call.end_headers()
        call.wfile.write(body)

    def messages(self, phone):
        with self.lock:
            return list(self.bought.get(phone, []))


class Webhook(Place):
    """A program that is told what happens to users; it keeps of whom it was told, and what came with a wrong signature."""

    key = bytes(range(32))

    def __init__(self):
        self.told, self.forged = {}, 0
        super().__init__()

    def answer(self, call, body):
        signed = ".".join((call.headers["webhook-id"], call.headers["webhook-timestamp"], body.decode()))
        proof = base64.b64encode(hmac.digest(self.key, signed.encode(), hashlib.sha256)).decode()
        event = json.loads(body)
        mood = self.mood
        with self.lock:
            self.forged += f"v1,{proof}" not in call.headers["webhook-signature"].split()
            if mood != "failing":
                self.told.setdefault(event["data"]["user"]["id"], []).append(event["type"])
        if self.is_away(call, mood):
            return
        call.send_response(204 if mood == "well" else 500)
        call.send_header("Content-Length", "0")
        call.end_headers()
