#!/usr/bin/env python3
"""Holds what a real server asks of Twilio, by every kind of sender, against Twilio's own description, with Prism.

    npm install --prefix /tmp/prism @stoplight/prism-cli@5.14.2
    git clone --depth 1 https://github.com/twilio/twilio-oai /tmp/twilio-oai
    cargo build
    python3 tools/twilio_requests.py target/debug/freshk /tmp/prism/node_modules/.bin/prism \\
        /tmp/twilio-oai/spec/json/twilio_api_v2010.json

Prism stands between the server and a stand-in for Twilio, and refuses what breaks the description: requests of ours and
answers of the stand-in. Two servers send: one that Twilio reports to, with an Auth Token, and one that asks after its
messages, with an API key. Each sends from a number, by a messaging service, by WhatsApp and by a call, and tells of the
codes that were used.
"""

import http.server
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

ACCOUNT = "AC" + "a" * 32
PLACES = "/2010-04-01/Accounts/{AccountSid}"
# What is sent, by the country of the number: the sender, and its words in the configuration.
SENDERS = {
    "US": ("number", 'kind = "twilio"'),
    "FR": ("service", f'kind = "twilio"\nmessaging_service_sid = "MG{"b" * 32}"'),
    "IN": ("chat", f'kind = "whatsapp"\ncontent_sid = "HX{"c" * 32}"\nfrom = "+15005550009"'),
    "DE": ("call", 'kind = "voice"'),
}
PHONES = {"US": "+12025550123", "FR": "+33612345678", "IN": "+919876543210", "DE": "+4915112345678"}
# The two servers, by their words in the configuration.
SERVERS = {
    "reported": {"server": 'server.public_url = "https://api.example.com"', "twilio": f'auth_token = "{"1" * 32}"'},
    "asking": {"server": "", "twilio": f'api_key_sid = "SK{"d" * 32}"\napi_key_secret = "{"2" * 32}"'},
}
# How many requests of each kind come at least.
EXPECTED = {
    r"POST \S+/Messages": 6,
    r"POST \S+/Calls": 2,
    r"POST \S+/Messages/\w+/Feedback": 4,
    r"GET \S+/Messages/\w+": 3,
    r"GET \S+/Calls/\w+": 1,
}
# Requests that break the description.
FAULTS = ("Body=Hi", "To=%2B12025550123&MessagingServiceSid=none")
# Seconds.
PATIENCE = 30


class StandIn:
    """A Twilio that takes everything and has delivered it, and answers with the examples of the description."""

    def __init__(self, description):
        self.description, self.lock = description, threading.Lock()
        self.requests, self.unknown = [], []
        stand_in = self

        class Answer(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                stand_in.answer(self, self.rfile.read(int(self.headers["Content-Length"])).decode())

            def do_GET(self):
                stand_in.answer(self, "")

            def log_message(self, *_):
                """Nothing: what came is printed at the end."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, call, body):
        path, form = call.path.removesuffix(".json"), dict(urllib.parse.parse_qsl(body))
        with self.lock:
            self.requests.append((call.command, path, form))
            number = len(self.requests)
        words, sid = path.split("/")[4:], f"{number:032x}"
        if words == ["Messages"]:
            kind, answer = "Messages", {"sid": f"SM{sid}", "status": "queued", "to": form["To"]}
        elif words == ["Calls"]:
            kind, answer = "Calls", {"sid": f"CA{sid}", "status": "queued", "to": form["To"]}
        elif words[2:] == ["Feedback"]:
            kind, answer = "Messages/{MessageSid}/Feedback", {"message_sid": words[1], "outcome": form["Outcome"]}
        else:
            kind = words[0] + "/{Sid}"
            answer = {"sid": words[1], "status": "completed" if words[0] == "Calls" else "delivered"}
        operation = self.description["paths"][f"{PLACES}/{kind}.json"][call.command.lower()]
        self.note_unknown_fields(operation, form)
        status, example = first_example(operation)
        body = json.dumps(example | answer).encode()
        call.send_response(status)
        call.send_header("Content-Type", "application/json")
        call.send_header("Content-Length", str(len(body)))
        call.end_headers()
        call.wfile.write(body)

    def note_unknown_fields(self, operation, form):
        """Prism reads the fields that are described, and looks at no other one."""
        if form:
            described = operation["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"]["properties"]
            self.unknown += sorted(form.keys() - described.keys())

    def count(self, pattern):
        with self.lock:
            return sum(bool(re.fullmatch(pattern, f"{method} {path}")) for method, path, _ in self.requests)

    def code(self, phone):
        with self.lock:
            form = next(form for _, _, form in reversed(self.requests) if form.get("To", "").endswith(phone))
        return re.search(r"\b\d{6}\b", form["Body"]).group()


def first_example(operation):
    """The status of a success, and the first example of its body."""
    status, response = next(iter(operation["responses"].items()))
    examples = response["content"]["application/json"].get("examples", {"none": {"value": {}}})
    return int(status), next(iter(examples.values()))["value"]


def post(url, fields, headers=()):
    """The status and the body of the answer."""
    request = urllib.request.Request(url, fields, dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def until(holds, what):
    for _ in range(PATIENCE * 10):
        if found := holds():
            return found
        time.sleep(0.1)
    sys.exit(f"not within {PATIENCE} s: {what}")


class Program:
    """A program that prints into a file; it ends with this one."""

    def __init__(self, folder, name, command):
        self.printed = folder / name
        with open(self.printed, "w", encoding="utf-8") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)

    def finds(self, pattern):
        return re.search(pattern, self.printed.read_text(encoding="utf-8"))

    def errors(self):
        """What Prism says of requests and answers that it has let through no further."""
        return re.findall(r"terminated with error: (.*)", self.printed.read_text(encoding="utf-8"))

    def end(self):
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait()


def configuration(folder, name, base_url, words):
    senders = "\n".join(
        f'[senders.{sender}]\ncountries = ["{country}"]\n{settings}' for country, (sender, settings) in SENDERS.items()
    )
    path = folder / f"{name}.toml"
    path.write_text(f"""
secret_key = "the requests to Twilio, held against its description"
database.url = "sqlite://{folder}/{name}.db"
ops.listen = "off"
limits.ip = 0
{words["server"]}
[sms]
provider = "twilio"
guard = "off"
senders = [{", ".join(f'"{sender}"' for sender, _ in SENDERS.values())}]
[twilio]
account_sid = "{ACCOUNT}"
phone_number = "+15005550006"
base_url = "{base_url}"
feedback = true
{words["twilio"]}
{senders}
""")
    return path


def send_and_verify(address, stand_in):
    """One code by each sender; those that came by text message are given back."""
    base = f"http://{address}/api/mobile/auth/production"
    for country, phone in PHONES.items():
        headers = {"Content-Type": "application/json"}
        asked = post(f"{base}/request/", json.dumps({"phone_number": phone}).encode(), headers)
        if asked[0] != 200:
            sys.exit(f"{country}: the request for a code was answered {asked}")
        if country in ("US", "FR"):
            fields = {"phone_number": phone, "otp": stand_in.code(phone)}
            verified = post(f"{base}/verify/", json.dumps(fields).encode(), headers)
            if verified[0] != 200:
                sys.exit(f"{country}: the code was answered {verified}")


def used(source):
    """The part of the description that we use."""
    description = json.loads(pathlib.Path(source).read_text(encoding="utf-8"))
    paths = re.compile(re.escape(PLACES) + r"/(Messages|Calls)(/{\w+}(/Feedback)?)?\.json")
    description["paths"] = {path: item for path, item in description["paths"].items() if paths.fullmatch(path)}
    return description


def check_that_faults_are_noticed(prism, stand_in):
    """A description that is not read would find nothing."""
    for fields in FAULTS:
        headers = {"Authorization": "Basic QUM6dA==", "Content-Type": "application/x-www-form-urlencoded"}
        status, answer = post(f"{prism}/2010-04-01/Accounts/{ACCOUNT}/Messages.json", fields.encode(), headers)
        if status != 422 or stand_in.requests:
            sys.exit(f"Prism answers {status} to {fields}, which breaks the description: {answer}")


def drive(freshk, url, stand_in, folder, programs):
    """Has both servers ask for everything."""
    for name, words in SERVERS.items():
        path = configuration(folder, name, url, words)
        server = Program(folder, name, [freshk, "--config", str(path), "serve", "--listen", "127.0.0.1:0"])
        programs.append(server)
        listens = until(lambda: server.finds(r'"address":"(127\.0\.0\.1:\d+)"'), f"the server {name} listens")
        send_and_verify(listens.group(1), stand_in)
    for pattern, count in EXPECTED.items():
        until(lambda: stand_in.count(pattern) >= count, f"{count} times {pattern}")


def main():
    freshk, prism, source = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder, description = pathlib.Path(name), used(source)
        (folder / "description.json").write_text(json.dumps(description))
        stand_in = StandIn(description)
        command = [prism, "proxy", "--errors", "--port", "0", str(folder / "description.json"), stand_in.url]
        between = Program(folder, "prism", command)
        programs = [between]
        try:
            listens = until(lambda: between.finds(r"listening on (http://127\.0\.0\.1:\d+)"), "Prism listens")
            check_that_faults_are_noticed(listens.group(1), stand_in)
            drive(freshk, listens.group(1), stand_in, folder, programs)
        finally:
            for program in reversed(programs):
                program.end()
        errors = between.errors()[len(FAULTS) :]
    for method, path, form in stand_in.requests:
        print(method, path.split(ACCOUNT)[1], " ".join(sorted(form)))
    errors += [f"{name} is no field of the description" for name in stand_in.unknown]
    if errors:
        sys.exit("\n".join(errors))
    print(f"{len(stand_in.requests)} requests and their answers: no violation")


if __name__ == "__main__":
    main()
