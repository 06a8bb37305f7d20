"""Signatures of Standard Webhooks: HMAC-SHA-256 over id, timestamp and body."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: How far a delivery's timestamp may be from this machine's clock, seconds.
TOLERANCE = 300

_PREFIX = "whsec_"
_KEY_LENGTHS = range(24, 65)


class BadSignatureError(Exception):
    """A delivery that nobody with a secret sent just now; the message says what is wrong."""


def read_secret(text: str) -> bytes:
    """Give the key in a secret of the form `whsec_` and base64; raise `ValueError` with a sentence."""
    if not text.startswith(_PREFIX):
        raise ValueError("it does not begin with whsec_")
    try:
        key = base64.b64decode(text[len(_PREFIX) :], validate=True)
    except binascii.Error as error:
        raise ValueError("what follows whsec_ is not base64") from error
    if len(key) not in _KEY_LENGTHS:
        raise ValueError("it does not hold 24 to 64 bytes")
    return key


def verify(secrets: Iterable[str], headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Check a delivery's headers and body at `now` (Unix seconds); raise `BadSignatureError`."""
    message_id, timestamp, signatures = (headers.get(f"webhook-{name}") for name in ("id", "timestamp", "signature"))
    if not message_id or not timestamp or not signatures:
        raise BadSignatureError("webhook-id, webhook-timestamp or webhook-signature is missing")
    if not re.fullmatch(r"[0-9]{1,12}", timestamp, re.ASCII):
        raise BadSignatureError("webhook-timestamp is not a number of seconds")
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    given = [signature.removeprefix("v1,") for signature in signatures.split() if signature.startswith("v1,")]
    is_good = False
    for secret in secrets:
        digest = hmac.new(read_secret(secret), signed, hashlib.sha256).digest()
        expected = base64.b64encode(digest)
        # Every pair is compared: the time that it takes says nothing of which was near.
        for signature in given:
            is_good |= hmac.compare_digest(expected, signature.encode())
    if not is_good:
        raise BadSignatureError("the signature is not one of this webhook's secrets")
    # Only a sender with a secret learns that the clocks differ.
    if abs(now - int(timestamp)) > TOLERANCE:
        raise BadSignatureError("webhook-timestamp is more than five minutes from this machine's clock")
