"""A Twilio that is well, fails, hangs or hangs up, and keeps what it was sent."""

import http.server
import json
import re
import threading
import time
import urllib.parse

CODE = re.compile(r"\b(\d{6})\b")
HANGS_FOR = 5


class Sink:
    """`mood` is "well", "failing", "hanging" or "hanging up"."""

    def __init__(self):
        self.mood, self.lock, self.bought = "well", threading.Lock(), {}
        sink = self

        class Answer(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                length = int(self.headers.get("Content-Length", 0))
                sink.answer(self, urllib.parse.parse_qs(self.rfile.read(length).decode()))

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

    def answer(self, call, form):
        phone, text, mood = form["To"][0], form["Body"][0], self.mood
        with self.lock:
            messages = self.bought.setdefault(phone, [])
            # Whoever gets no answer cannot know that it was not sent.
            messages.append((CODE.search(text).group(1), mood))
            number = sum(map(len, self.bought.values()))
        if mood == "hanging":
            time.sleep(HANGS_FOR)
        if mood in ("hanging", "hanging up"):
            call.close_connection = True
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
