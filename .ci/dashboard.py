"""Makes calls on a server whose messages go to a Twilio in here, then asks a Prometheus each query of a Grafana dashboard:
usage: dashboard.py DASHBOARD; .ci/dashboard starts both and sets the ports."""

import http.server
import json
import math
import re
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

API = "http://127.0.0.1:18490/api/mobile/auth"
OPS = "http://127.0.0.1:18491"
PROMETHEUS = "http://127.0.0.1:18493/api/v1"
# How many logins, and how many seconds they take: rates need several scrapes in which something happened.
LOGINS, SECONDS = 20, 10
# Queries that find nothing on a server that is well, each with why.
EMPTY = {"proxy, min ago": "no proxy has ever hidden its clients"}
codes = {}
refused = "+15005550004"


class Twilio(http.server.BaseHTTPRequestHandler):
    """Accepts each message and keeps its code; one number has replied STOP. Takes events, too."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path == "/events/":
            return self.answer(200, {})
        fields = urllib.parse.parse_qs(body)
        phone = fields["To"][0]
        if phone == refused:
            return self.answer(400, {"code": 21610, "message": "unsubscribed", "status": 400})
        codes[phone] = re.search(r"\d{6}", fields["Body"][0]).group()
        sid = f"SM{len(codes):032x}"
        self.answer(201, {"sid": sid, "status": "queued", "num_segments": "1", "error_code": None})

    def answer(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def post(path, **fields):
    request = urllib.request.Request(API + path, json.dumps(fields).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refusal:
        return refusal.code, json.load(refusal)


def until_ready(url):
    for _ in range(300):
        try:
            return urllib.request.urlopen(url, timeout=5).read()
        except OSError:
            time.sleep(0.1)
    sys.exit(f"not ready within 30 s: {url}")


def ask(path, **fields):
    with urllib.request.urlopen(f"{PROMETHEUS}/{path}?{urllib.parse.urlencode(fields)}", timeout=30) as answer:
        return json.load(answer)["data"]


def log_in(phone):
    status, body = post("/production/request/", phone_number=phone)
    assert status == 200, body
    wrong = "000000" if codes[phone] != "000000" else "000001"
    status, body = post("/production/verify/", phone_number=phone, otp=wrong)
    assert status == 400, body
    status, body = post("/production/verify/", phone_number=phone, otp=codes[phone])
    assert status == 200, body
    return body["refresh"]


def calls():
    for number in range(LOGINS):
        refresh = log_in(f"+1202555{number:04}")
        if number % 5 == 0:
            # Two rotations, and the first token again: its session ends.
            status, body = post("/token/refresh/", refresh=refresh)
            assert status == 200, body
            status, body = post("/token/refresh/", refresh=body["refresh"])
            assert status == 200, body
            status, body = post("/token/refresh/", refresh=refresh)
            assert (status, body["code"]) == (401, "token_reused"), (status, body)
            status, body = post("/production/request/", phone_number=refused)
            assert status >= 400, body
            # A third code within the hour is refused: limits.user is 2.
            status = [post("/production/request/", phone_number=f"+1202555{number:04}")[0] for _ in range(2)][-1]
            assert status == 429, status
        time.sleep(SECONDS / LOGINS)


def values(query, instant):
    query = query.replace("$job", "freshk").replace("$__rate_interval", "15s")
    if instant:
        return [sample["value"][1] for sample in ask("query", query=query)["result"]]
    now = time.time()
    series = ask("query_range", query=query, start=now - 12, end=now, step=1)["result"]
    return [value for one in series for _, value in one["values"]]


twilio = http.server.ThreadingHTTPServer(("127.0.0.1", 18492), Twilio)
threading.Thread(target=twilio.serve_forever, daemon=True).start()
until_ready(f"{OPS}/health/ready")
until_ready("http://127.0.0.1:18493/-/ready")
calls()
time.sleep(2)

rules = [rule for group in ask("rules")["groups"] for rule in group["rules"]]
faults = [f"rule {rule['name']}: {rule.get('lastError')}" for rule in rules if rule["health"] != "ok"]
firing = sorted(alert["labels"]["alertname"] for alert in ask("alerts")["alerts"] if alert["state"] == "firing")
print(f"{len(rules)} rules are evaluated; firing: {', '.join(firing) or 'none'}")

found = empty = 0
for panel in json.load(open(sys.argv[1], encoding="utf-8"))["panels"]:
    for target in panel.get("targets", []):
        name = target["legendFormat"]
        data = [value for value in values(target["expr"], target.get("instant")) if not math.isnan(float(value))]
        if name in EMPTY:
            empty += 1
            if data:
                faults.append(f"{panel['title']}, {name}: {EMPTY[name]}, and yet: {data[:3]}")
        elif data:
            found += 1
        else:
            faults.append(f"{panel['title']}, {name}: no data: {target['expr']}")
print(f"{found} queries of the dashboard find data; {empty} find none: {'; '.join(f'{n} ({w})' for n, w in EMPTY.items())}")
if faults:
    sys.exit("\n".join(faults))
