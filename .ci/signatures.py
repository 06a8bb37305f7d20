"""Holds the signatures of reports against the packages of PyPI: a thousand random reports of each kind are taken, and each
with one thing changed is refused. Usage: signatures.py ADDRESS TWILIO_TOKEN SENDER_SECRET"""

import http.client
import json
import random
import string
import sys
from datetime import datetime, timezone
from urllib.parse import urlencode

from standardwebhooks import Webhook
from twilio.request_validator import RequestValidator

ADDRESS, TOKEN, SECRET = sys.argv[1:]
PUBLIC = "https://freshk.example/sub"
BASE = "/api/mobile/auth/sms"
CASES = 1000

chance = random.Random(20260101)
connection = http.client.HTTPConnection(ADDRESS, timeout=20)
TEXT = string.ascii_letters + string.digits + " +&=%/?#'\"<>äß€漢🙂\t"


def text(longest):
    return "".join(chance.choice(TEXT) for _ in range(chance.randint(0, longest)))


def post(path, headers, body):
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def twilio(validator):
    path = f"{BASE}/twilio/status/?message={chance.randint(1, 10**9)}"
    fields = {"MessageSid": "SM" + "".join(chance.choices("0123456789abcdef", k=32)), "MessageStatus": "sent"}
    for _ in range(chance.randint(0, 6)):
        fields["X" + "".join(chance.choices(string.ascii_letters, k=8))] = text(20)
    signature = validator.compute_signature(PUBLIC + path, fields)
    headers = {"content-type": "application/x-www-form-urlencoded", "x-twilio-signature": signature}
    good = post(path, headers, urlencode(fields))
    changed = dict(fields, MessageStatus="delivered") if chance.random() < 0.5 else dict(fields, Extra="1")
    return good, post(path, headers, urlencode(changed))


def standard(webhook):
    report = {"message_id": str(chance.randint(1, 10**9)), "status": "delivered", "note": text(40)}
    body, sent = json.dumps(report, ensure_ascii=chance.random() < 0.5), "msg_" + text(8).encode().hex()
    now = datetime.now(timezone.utc)
    headers = {
        "content-type": "application/json",
        "webhook-id": sent,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": webhook.sign(sent, now, body),
    }
    good = post(f"{BASE}/local/status/", headers, body.encode())
    return good, post(f"{BASE}/local/status/", headers, (body + " ").encode())


validator, webhook = RequestValidator(TOKEN), Webhook(SECRET)
for name, case in (("twilio", lambda: twilio(validator)), ("standardwebhooks", lambda: standard(webhook))):
    for number in range(CASES):
        answers = case()
        assert answers == (204, 403), (name, number, answers)
    print(f"{name}: {CASES} reports taken, {CASES} changed ones refused")
