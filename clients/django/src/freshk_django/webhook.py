"""The view that FreshK's `[[webhooks]]` post events to."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from django.http import HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from freshk_django import accounts, conf
from freshk_django.facts import MalformedError, read_event
from freshk_django.signature import BadSignatureError, verify

if TYPE_CHECKING:
    from django.http import HttpRequest

logger = logging.getLogger("freshk_django")

#: Events of FreshK have some 500 bytes.
_BODY_LIMIT = 64 * 1024


@csrf_exempt
@require_POST
def webhook(request: HttpRequest) -> HttpResponse:
    """Take one delivery: 204 once the rows are up to it, also where it does not concern them."""
    secrets = conf.load().webhook_secrets
    if not secrets:
        logger.error("a webhook came, and FRESHK['WEBHOOK_SECRETS'] is empty: set it to the secret of [[webhooks]]")
        return _refuse(503, "unavailable", "This webhook has no secret yet.")
    body = request.body
    if len(body) > _BODY_LIMIT:
        return _refuse(413, "payload_too_large", f"The body has more than {_BODY_LIMIT} bytes.")
    try:
        verify(secrets, request.headers, body, time.time())
        event = read_event(body)
    except BadSignatureError as error:
        logger.warning("a webhook was refused: %s", error)
        return _refuse(403, "bad_signature", f"Refused: {error}.")
    except MalformedError as error:
        logger.error("a webhook has a good signature and cannot be read: %s", error)  # noqa: TRY400
        return _refuse(400, "bad_request", f"Not an event: {error}.")
    if event is not None:
        accounts.record_event(event)
    return HttpResponse(status=204)


def _refuse(status: int, code: str, sentence: str) -> HttpResponse:
    return JsonResponse({"error": sentence, "code": code}, status=status)
