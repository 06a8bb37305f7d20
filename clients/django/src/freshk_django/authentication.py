"""Authentication classes for Django REST framework."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _
from rest_framework.exceptions import APIException
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import AuthenticationFailed, InvalidToken

from freshk_django.facts import MalformedError, is_freshk_token, read_claims

if apps.apps_ready and not apps.is_installed("freshk_django"):
    raise ImproperlyConfigured("freshk_django is not in INSTALLED_APPS; add 'freshk_django' there and run migrate.")

from freshk_django import accounts

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser
    from rest_framework.request import Request
    from rest_framework_simplejwt.tokens import Token

logger = logging.getLogger("freshk_django")


class NotLinked(APIException):
    """An imported user's local user is not linked yet: the operator's to mend, so nobody is logged out for it."""

    status_code = 503
    default_detail = _("This account is being moved. Please try again later.")
    default_code = "account_not_linked"


class _ByIssuer(JWTAuthentication):
    """simplejwt's class, for the tokens of one issuer of two that sign with the same secret."""

    of_freshk: bool

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, Token] | None:  # type: ignore[override]
        """Give the user and the token, or nothing where the request has no token of this issuer."""
        header = self.get_header(request)
        raw = None if header is None else self.get_raw_token(header)
        if raw is None:
            return None
        token = self.get_validated_token(raw)
        if is_freshk_token(token.payload) != self.of_freshk:
            return None
        return self.get_user(token), token


class FreshKAuthentication(_ByIssuer):
    """Accepts FreshK's access tokens; `request.user` is the project's own user, `request.auth` the token.

    The user is found by its link row, and made, with the row, at its first call. A token that FreshK did not issue is
    left to the next authentication class.
    """

    of_freshk = True

    def get_user(self, validated_token: Token) -> AbstractBaseUser:  # type: ignore[override]
        """Find the local user, or make it the first time."""
        try:
            claims = read_claims(validated_token.payload)
        except MalformedError as error:
            raise InvalidToken from error
        try:
            return accounts.user_of(claims)
        except accounts.RefusedError as error:
            raise AuthenticationFailed(str(_("User is inactive")), code="user_inactive") from error
        except accounts.NotLinkedError as error:
            logger.error(  # noqa: TRY400
                "FreshK user %s was imported, and no local user is linked to it. Run: manage.py freshk_link FILE, with "
                "the file that `freshk user export` writes. If FreshK itself gave this id, set FRESHK['FIRST_ID'] to "
                "its users.first_id.",
                claims.user_id,
            )
            raise NotLinked from error


class LocalJWTAuthentication(_ByIssuer):
    """For tokens that this project issues itself beside FreshK's, with simplejwt.

    `JWTAuthentication` would take the `user_id` of a FreshK token for a local primary key; this class leaves such
    a token to the next one.
    """

    of_freshk = False
