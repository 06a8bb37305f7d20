"""What FreshK says of a user, in an access token or in an event, checked and with types."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.utils.dateparse import parse_datetime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: Claims that are about the token, not about the user.
_TOKEN_CLAIMS = frozenset(
    (
        "token_type",
        "exp",
        "iat",
        "nbf",
        "jti",
        "iss",
        "aud",
        "user_id",
        "sid",
        "gen",
        "id",
        "is_active",
        "version",
    )
)
_SESSION_ID = re.compile(r"[0-9a-f]{32}")
_USER_ID = re.compile(r"[1-9][0-9]{0,18}")
_HIGHEST_ID = 2**63 - 1

#: The events whose form is known; another one that begins with `user.` is read as far as it has that form.
_USER_EVENTS = frozenset(
    "user." + name
    for name in ("created", "verified", "updated", "phone_changed", "deactivated", "activated", "deleted")
)


class MalformedError(ValueError):
    """A token or an event that does not have the form of FreshK's; the message says why."""


@dataclass(frozen=True)
class Claims:
    """What an access token says."""

    user_id: int
    #: Unix milliseconds.
    issued_at: int
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """What an event says of its user."""

    type: str
    #: When it happened, Unix milliseconds.
    at: int
    user_id: int
    #: `None` where only the id is told: of a deleted user.
    version: int | None = None
    is_active: bool | None = None
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_deletion(self) -> bool:
        """Whether the user is gone for good."""
        return self.type == "user.deleted"


def is_freshk_token(payload: Mapping[str, Any]) -> bool:
    """Whether FreshK issued a token with this payload, rather than simplejwt in this project.

    Both may be signed with the same secret, and their `user_id` means different things.
    """
    session, generation = payload.get("sid"), payload.get("gen")
    return isinstance(session, str) and bool(_SESSION_ID.fullmatch(session)) and _is_integer(generation)


def read_claims(payload: Mapping[str, Any]) -> Claims:
    """Read the payload of an access token of FreshK's; raise `MalformedError`."""
    if payload.get("token_type") != "access":
        raise MalformedError("it is not an access token")
    issued_at = payload.get("iat")
    if not isinstance(issued_at, int) or isinstance(issued_at, bool):
        raise MalformedError("it has no iat")
    facts: dict[str, object] = {}
    for name, value in payload.items():
        if name not in _TOKEN_CLAIMS:
            try:
                facts[name] = _read_fact(name, value)
            except MalformedError:
                continue  # an attribute of the operator's with a name of FreshK's own
    return Claims(_read_id(payload.get("user_id")), issued_at * 1000, facts)


def read_event(body: bytes) -> Event | None:
    """Read the body of a delivery, `None` if it does not concern a user's row; raise `MalformedError`."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedError("the body is not JSON") from error
    kind = document.get("type") if isinstance(document, dict) else None
    if not isinstance(kind, str):
        raise MalformedError("type is missing")
    if not kind.startswith("user."):
        return None
    try:
        return _read_user_event(kind, document)
    except MalformedError:
        if kind in _USER_EVENTS:
            raise
        return None


def _read_user_event(kind: str, document: Mapping[str, Any]) -> Event:
    data = document.get("data")
    user = data.get("user") if isinstance(data, dict) else None
    if not isinstance(user, dict):
        raise MalformedError("data.user is missing")
    version, is_active = user.get("version"), user.get("is_active")
    if version is not None and not _is_integer(version):
        raise MalformedError("data.user.version is not a whole number")
    if is_active is not None and not isinstance(is_active, bool):
        raise MalformedError("data.user.is_active is neither true nor false")
    facts = {name: _read_fact(name, user[name]) for name in _FACTS if name in user}
    at = _read_instant("timestamp", document.get("timestamp"))
    return Event(kind, at, _read_id(user.get("id")), version, is_active, facts)


def _read_id(value: object) -> int:
    # simplejwt 5.5 writes a text, earlier ones a number.
    if isinstance(value, str) and _USER_ID.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _HIGHEST_ID:
        raise MalformedError("the user's id is not a whole number from 1")
    return value


def _read_fact(name: str, value: object) -> object:
    return _FACTS[name](name, value) if name in _FACTS else value


def _read_text(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > 150 or "\0" in value:  # noqa: PLR2004
        raise MalformedError(f"{name} is not a text of at most 150 characters")
    return value


def _read_phone(name: str, value: object) -> str | None:
    # A number that went to somebody else is null.
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch(r"\+[0-9]{1,15}", value, re.ASCII):
        raise MalformedError(f"{name} is not a phone number in international format")
    return value


def _read_boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise MalformedError(f"{name} is neither true nor false")
    return value


def _read_instant(name: str, value: object) -> int:
    try:
        instant = parse_datetime(value) if isinstance(value, str) else None
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise MalformedError(f"{name} is not an ISO 8601 instant such as 2026-01-31T12:00:00Z")
    return round(instant.timestamp() * 1000)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


#: The members of a user that a row can take, each with what reads it.
_FACTS: dict[str, Callable[[str, object], object]] = {
    "username": _read_text,
    "phone_number": _read_phone,
    "role": _read_text,
    "phone_verified": _read_boolean,
    "date_joined": _read_instant,
}
