"""The file of `freshk user import` and `freshk user export`: its columns, and what FreshK takes in them."""

from __future__ import annotations

import datetime as dt
import re

from django.utils import timezone

#: In the order in which `freshk user export` writes them.
COLUMNS = ("id", "username", "phone_number", "role", "is_active", "phone_verified", "date_joined")

#: Beyond this a number in JSON is not exact everywhere, and FreshK takes none.
HIGHEST_ID = 2**53 - 1

_LONGEST_NAME = 150
#: What people put between the digits: spaces, and the visual separators of RFC 3966.
_SEPARATORS = re.compile(r"[\s().\-]")
_PHONE = re.compile(r"\+[1-9][0-9]{9,14}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def phone_number(value: object) -> str | None:
    """Give a phone number without separators, or nothing if it is not in international format."""
    bare = _SEPARATORS.sub("", str(value)) if value else ""
    return bare if _PHONE.fullmatch(bare) else None


def username(value: object) -> str | None:
    """Give a username, or nothing if FreshK takes none like it."""
    text = str(value) if value else ""
    return text if 0 < len(text) <= _LONGEST_NAME and not _CONTROL.search(text) else None


def truth(value: object) -> str:
    """Write a boolean; where there is none, FreshK's default holds."""
    return "" if value is None else "true" if value else "false"


def instant(value: object) -> str:
    """Write an instant as ISO 8601 in UTC; a naive one is in the project's time zone."""
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime.combine(value, dt.time(tzinfo=dt.timezone.utc))
    if not isinstance(value, dt.datetime):
        return ""
    aware = timezone.make_aware(value) if timezone.is_naive(value) else value
    return aware.astimezone(dt.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
