"""A project on a database of its own, FreshK's tokens and FreshK's deliveries."""

import datetime as dt
import json
import time

import jwt
import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from rest_framework.test import APIClient
from standardwebhooks import Webhook

ID = 1_000_000_001


class Clock:
    """The second in which a test began: tokens and deliveries are of then, however long the test takes."""

    now = 0


@pytest.fixture(autouse=True)
def now():
    Clock.now = int(time.time())
    return Clock.now


def access_token(whose=ID, *, key=None, **claims):
    """An access token as FreshK signs it; a claim of `None` is left out."""
    issued_at = Clock.now
    payload = {
        "token_type": "access",
        "exp": issued_at + 900,
        "iat": issued_at,
        "jti": "0" * 32,
        "user_id": str(whose),
        "sid": "0" * 32,
        "gen": 0,
        "role": "retailer",
    }
    payload = {name: value for name, value in (payload | claims).items() if value is not None}
    return jwt.encode(payload, key or settings.SECRET_KEY, algorithm="HS256")


def call(token, path="/me/"):
    return APIClient().get(path, HTTP_AUTHORIZATION=f"Bearer {token}")


def user_behind(response):
    """The local user that answered a call."""
    assert response.status_code == 200, response.data
    return get_user_model().objects.get(pk=response.data["pk"])


def iso(seconds):
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event(kind="user.updated", user_id=ID, *, at, **members):
    """An event as the contract has it; of a member that is `...` nothing is told."""
    user = {
        "id": user_id,
        "username": "user_491701234567",
        "phone_number": "+491701234567",
        "role": "retailer",
        "is_active": True,
        "phone_verified": True,
        "date_joined": iso(at),
        "version": 1,
    } | members
    user = {name: value for name, value in user.items() if value is not ...}
    return {"type": kind, "timestamp": iso(at), "data": {"user": user}}


def deleted(user_id=ID, *, at):
    return {"type": "user.deleted", "timestamp": iso(at), "data": {"user": {"id": user_id}}}


def deliver(document, *, secret=None, at=None, **headers):
    """A delivery signed by the reference implementation; of a header that is `None` nothing is sent."""
    body = document if isinstance(document, str) else json.dumps(document)
    at = at or Clock.now
    signed = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(at),
        "webhook-signature": signature_of(body, at, secret),
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    meta = {"HTTP_" + name.upper().replace("-", "_"): value for name, value in signed.items() if value is not None}
    return APIClient(enforce_csrf_checks=True).generic("POST", "/freshk/webhook/", body, "application/json", **meta)


def signature_of(body, at, secret=None):
    instant = dt.datetime.fromtimestamp(at, dt.timezone.utc)
    return Webhook(secret or settings.WEBHOOK_SECRET).sign("msg_1", instant, body)


def local_user(name="asha", **fields):
    """A user that the project made itself."""
    user = get_user_model()(**{get_user_model().USERNAME_FIELD: name}, **fields)
    user.save()
    return user


own_users = pytest.mark.skipif(not settings.OWN_USERS, reason="needs the project's own user model")
plain_users = pytest.mark.skipif(settings.OWN_USERS, reason="needs Django's user model")
