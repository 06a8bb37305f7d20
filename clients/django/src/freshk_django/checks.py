"""System checks: what would go wrong, told by `manage.py check` before it does."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004
from django.core.exceptions import FieldDoesNotExist
from django.db import connections, models, router
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.settings import api_settings as drf_settings
from rest_framework_simplejwt import authentication as simplejwt
from rest_framework_simplejwt import settings as simplejwt_settings

from freshk_django import conf
from freshk_django.authentication import FreshKAuthentication
from freshk_django.models import FreshKAccount
from freshk_django.signature import read_secret
from freshk_django.webhook import webhook

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.apps import AppConfig

#: FreshK refuses a shorter secret, bytes.
_SHORTEST_KEY = 32

#: More would keep expired tokens alive.
_LONGEST_LEEWAY = dt.timedelta(seconds=60)

#: The algorithms of `tokens.algorithm` that have a public key.
_PUBLIC_KEY_ALGORITHMS = ("EdDSA", "ES256", "RS256")

#: Fields that no text from elsewhere may set: they decide who may do what.
_PROTECTED_FIELDS = ("password", "is_active", "is_staff", "is_superuser", "last_login")

_FRESHK_CLASS = "freshk_django.authentication.FreshKAuthentication"
_LOCAL_CLASS = "freshk_django.authentication.LocalJWTAuthentication"


@register(Tags.security)
def check_tokens(app_configs: Sequence[AppConfig] | None, **_kwargs: object) -> list[CheckMessage]:
    """Check that simplejwt reads FreshK's tokens."""
    if app_configs is not None:
        return []
    jwt, found = simplejwt_settings.api_settings, list[CheckMessage]()
    if jwt.ALGORITHM == "HS256":
        found += _check_secret(jwt.SIGNING_KEY)
    elif jwt.ALGORITHM not in _PUBLIC_KEY_ALGORITHMS:
        found.append(
            Error(
                f"SIMPLE_JWT['ALGORITHM'] is {jwt.ALGORITHM!r}, which FreshK never signs with.",
                hint="Set it to FreshK's tokens.algorithm: HS256, or EdDSA, ES256 or RS256.",
                id="freshk.E001",
            )
        )
    elif not jwt.JWK_URL and not jwt.VERIFYING_KEY:
        found.append(
            Error(
                f"SIMPLE_JWT has no public key for {jwt.ALGORITHM}.",
                hint="Set SIMPLE_JWT['JWK_URL'] to https://<FreshK>/.well-known/jwks.json.",
                id="freshk.E002",
            )
        )
    names = {"USER_ID_CLAIM": "user_id", "TOKEN_TYPE_CLAIM": "token_type", "JTI_CLAIM": "jti"}
    found += [
        Error(
            f"SIMPLE_JWT[{key!r}] is {getattr(jwt, key)!r}, and FreshK's tokens have {name!r}.",
            hint=f"Take {key} out of SIMPLE_JWT.",
            id="freshk.E003",
        )
        for key, name in names.items()
        if getattr(jwt, key) != name
    ]
    return [*found, *_check_leeway(jwt.LEEWAY)]


def _check_secret(key: object) -> Iterator[CheckMessage]:
    if not isinstance(key, str | bytes) or len(key.encode() if isinstance(key, str) else key) < _SHORTEST_KEY:
        yield Error(
            f"SIMPLE_JWT['SIGNING_KEY'] is shorter than {_SHORTEST_KEY} bytes, and FreshK takes no such secret.",
            hint="Make one with `freshk key generate`, and give it to FreshK as SECRET_KEY.",
            id="freshk.E004",
        )
    elif key != settings.SECRET_KEY:
        yield Warning(
            "SIMPLE_JWT['SIGNING_KEY'] is not SECRET_KEY: every token is refused unless FreshK has this key.",
            hint="Take SIGNING_KEY out of SIMPLE_JWT; or, if FreshK's secret_key is this key, add 'freshk.W005' to "
            "SILENCED_SYSTEM_CHECKS.",
            id="freshk.W005",
        )


def _check_leeway(value: object) -> Iterator[CheckMessage]:
    leeway = dt.timedelta(seconds=value) if isinstance(value, int | float) else value
    if not isinstance(leeway, dt.timedelta) or not leeway:
        yield Warning(
            "SIMPLE_JWT['LEEWAY'] is not set: where FreshK's clock is a second ahead, new tokens are refused.",
            hint="Set SIMPLE_JWT['LEEWAY'] = 10 (seconds).",
            id="freshk.W006",
        )
    elif leeway > _LONGEST_LEEWAY:
        yield Warning(
            "SIMPLE_JWT['LEEWAY'] is more than a minute: expired tokens are accepted for so long.",
            hint="Set SIMPLE_JWT['LEEWAY'] = 10 (seconds), and keep both clocks right with NTP.",
            id="freshk.W007",
        )


@register(Tags.security)
def check_authentication(app_configs: Sequence[AppConfig] | None, **_kwargs: object) -> list[CheckMessage]:
    """Check that no view takes FreshK's id for a local primary key."""
    if app_configs is not None:
        return []
    defaults = cast("list[type]", list(drf_settings.DEFAULT_AUTHENTICATION_CLASSES))
    users = [("REST_FRAMEWORK['DEFAULT_AUTHENTICATION_CLASSES']", defaults)]
    for view in _views():
        classes = list(getattr(view, "authentication_classes", ()))
        if classes != defaults:
            users.append((f"{view.__module__}.{view.__qualname__}", classes))
    found = [message for where, classes in users for each in classes for message in _check_class(where, each)]
    if not any(issubclass(each, FreshKAuthentication) for _, classes in users for each in classes):
        found.append(
            Warning(
                "FreshKAuthentication is used nowhere.",
                hint=f"Set REST_FRAMEWORK['DEFAULT_AUTHENTICATION_CLASSES'] = ['{_FRESHK_CLASS}'].",
                id="freshk.W010",
            )
        )
    return found


def _check_class(where: str, each: type) -> Iterator[CheckMessage]:
    if not issubclass(each, simplejwt.JWTAuthentication):
        return
    name = f"{each.__module__}.{each.__qualname__}"
    if issubclass(each, simplejwt.JWTStatelessUserAuthentication):
        yield Warning(
            f"{where} has {name}: request.user is no row there, and its id is FreshK's, not a primary key.",
            hint=f"Use '{_FRESHK_CLASS}'.",
            id="freshk.W009",
        )
    elif each.get_user is simplejwt.JWTAuthentication.get_user and each.authenticate is (
        simplejwt.JWTAuthentication.authenticate
    ):
        yield Error(
            f"{where} has {name}, which takes FreshK's user_id for a local primary key: one person's token opens "
            "another person's account.",
            hint=f"Use '{_FRESHK_CLASS}'; for tokens that this project issues itself, '{_LOCAL_CLASS}' after it.",
            id="freshk.E008",
        )


def _views() -> Iterator[type]:
    for pattern in _patterns():
        view = getattr(pattern.callback, "cls", None) or getattr(pattern.callback, "view_class", None)
        if isinstance(view, type):
            yield view


def _patterns() -> Iterator[URLPattern]:
    waiting: list[Any] = [get_resolver()] if getattr(settings, "ROOT_URLCONF", None) else []
    while waiting:
        pattern = waiting.pop()
        if isinstance(pattern, URLResolver):
            waiting += pattern.url_patterns
        elif isinstance(pattern, URLPattern):
            yield pattern


@register(Tags.security)
def check_settings(app_configs: Sequence[AppConfig] | None, **_kwargs: object) -> list[CheckMessage]:
    """Check the dictionary `FRESHK`, and that the user model can do what it asks."""
    if app_configs is not None:
        return []
    read = conf.read(getattr(settings, "FRESHK", {}))
    if isinstance(read, list):
        hint = "The settings are in the README of freshk-django."
        return [Error(problem, hint=hint, id="freshk.E011") for problem in read]
    return [*_check_attributes(read), *_check_new_users(read), *_check_webhook(read)]


def _check_attributes(read: conf.FreshKSettings) -> Iterator[CheckMessage]:
    model = get_user_model()
    for source, name in read.attributes.items():
        where = f"FRESHK['ATTRIBUTES'][{source!r}]"
        try:
            field = model._meta.get_field(name)
        except FieldDoesNotExist:
            field = None
        if not isinstance(field, models.Field) or field.is_relation:
            yield Error(
                f"{where} names {name!r}, which is not a plain field of {model._meta.label}.",
                hint="Name a field that holds a text, number, boolean or date.",
                id="freshk.E012",
            )
        elif field.primary_key or name in _PROTECTED_FIELDS:
            yield Error(
                f"{where} names {name!r}, which decides who may do what and is never set from outside.",
                hint="Take it out. FreshK's own is_active is kept in the account, and obeyed.",
                id="freshk.E013",
            )
        elif field.unique and not field.null and name != model.USERNAME_FIELD:
            yield Error(
                f"{where} names {name!r}, which is unique and cannot be null: of two users whose value is not known "
                "yet, the second could not be made.",
                hint=f"Give {name} null=True.",
                id="freshk.E014",
            )


def _check_new_users(read: conf.FreshKSettings) -> Iterator[CheckMessage]:
    model = get_user_model()
    try:
        maker = read.user_maker()
    except ImportError:
        maker = None
        yield Error(
            f"FRESHK['CREATE_USER'] names {read.create_user!r}, which cannot be imported.",
            hint="Name a function as 'module.function'.",
            id="freshk.E015",
        )
    if maker is not None or read.create_user is not None:
        return
    longest = getattr(model._meta.get_field(model.USERNAME_FIELD), "max_length", None)
    # Another's name gets an ending of chance: an underscore and six digits.
    length = len(read.username_for(conf.FIRST_ID)) + len("_123456")
    if longest is not None and length > longest:
        yield Error(
            f"FRESHK['USERNAME'] makes names of {length} characters, and {model.USERNAME_FIELD} takes {longest}.",
            hint="Set a shorter one with {id} in it, such as '{id}'; or set FRESHK['CREATE_USER'].",
            id="freshk.E016",
        )
    for field in model._meta.concrete_fields:
        if field.name == model.USERNAME_FIELD or _has_own_value(field):
            continue
        if field.unique and field.name in read.attributes.values():
            # E014 tells of it.
            continue
        yield Error(
            f"{model._meta.label}.{field.name} needs a value, which new users do not have: they cannot be made.",
            hint="Give it null=True or a default, or set FRESHK['CREATE_USER'] to a function that makes users.",
            id="freshk.E017",
        )


def _has_own_value(field: models.Field[Any, Any]) -> bool:
    """Whether a second row can be saved without a word on this field."""
    if field.primary_key or field.null or field.has_default() or getattr(field, "generated", False):
        return True
    if getattr(field, "db_default", models.NOT_PROVIDED) is not models.NOT_PROVIDED:
        return True
    if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
        return True
    return field.empty_strings_allowed and not field.unique and not field.is_relation


def _check_webhook(read: conf.FreshKSettings) -> Iterator[CheckMessage]:
    for secret in read.webhook_secrets:
        try:
            read_secret(secret)
        except ValueError as error:
            yield Error(
                f"A secret in FRESHK['WEBHOOK_SECRETS'] cannot be used: {error}.",
                hint="Give the secret of FreshK's [[webhooks]] as it stands there: whsec_ and base64.",
                id="freshk.E018",
            )
    is_routed = any(pattern.callback is webhook for pattern in _patterns())
    if is_routed and not read.webhook_secrets:
        yield Error(
            "The webhook has a URL, and FRESHK['WEBHOOK_SECRETS'] is empty: every event is refused.",
            hint="Set it to a list with the secret of FreshK's [[webhooks]].",
            id="freshk.E019",
        )
    if read.webhook_secrets and not is_routed:
        yield Warning(
            "FRESHK['WEBHOOK_SECRETS'] is set, and the webhook has no URL.",
            hint="Add path('freshk/', include('freshk_django.urls')) to the URLs.",
            id="freshk.W020",
        )


@register(Tags.database)
def check_ids(
    app_configs: Sequence[AppConfig] | None, databases: Sequence[str] | None = None, **_kwargs: object
) -> list[CheckMessage]:
    """Check that local primary keys stay away from FreshK's ids (`check --database default`, and `migrate`)."""
    model, read = get_user_model(), conf.read(getattr(settings, "FRESHK", {}))
    alias = router.db_for_read(model)
    if app_configs is not None or alias not in (databases or ()) or isinstance(read, list):
        return []
    tables = {model._meta.db_table, FreshKAccount._meta.db_table}
    if not isinstance(model._meta.pk, models.IntegerField):
        return []
    connection = connections[alias]
    with connection.cursor() as cursor:
        if not tables.issubset(connection.introspection.table_names(cursor)):
            return []
    reaching = model._base_manager.using(alias).filter(pk__gte=read.first_id)
    unlinked = reaching.exclude(freshk_account__freshk_id=models.F("pk")).order_by("pk")
    first = unlinked.values_list("pk", flat=True).first()
    if first is None:
        return []
    return [
        Warning(
            f"{model._meta.label} has the primary key {first}, and FreshK's own ids begin at {read.first_id}: whatever "
            "takes one for the other opens another person's account.",
            hint="If these rows were made with FreshK's ids, link them with `manage.py freshk_link FILE --trust-ids`. "
            "Else set users.first_id in freshk.toml, and FRESHK['FIRST_ID'], far above the highest primary key.",
            id="freshk.W021",
        )
    ]
