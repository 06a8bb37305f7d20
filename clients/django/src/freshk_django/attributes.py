"""What FreshK says of a user, written into the project's own fields as `FRESHK["ATTRIBUTES"]` maps them."""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import models
from django.utils import timezone

from freshk_django import conf

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from django.contrib.auth.models import AbstractBaseUser

logger = logging.getLogger("freshk_django")


def apply(user: AbstractBaseUser, facts: Mapping[str, object]) -> list[str]:
    """Set the mapped fields, and give the names of those that changed; nothing is saved.

    A value that a field cannot take empties the field: what it held before is known to be wrong.
    """
    changed = []
    for source, name in conf.load().attributes.items():
        if source not in facts:
            continue
        field = _field(user, name)
        value = _fit(user, field, facts[source])
        if getattr(user, field.attname) != value:
            setattr(user, field.attname, value)
            changed.append(name)
    return changed


def clear(user: AbstractBaseUser, sources: Iterable[str]) -> list[str]:
    """Empty the fields that hold what FreshK said of a user, and give their names; nothing is saved."""
    mapped = conf.load().attributes
    names = [mapped[source] for source in sources if source in mapped]
    for name in names:
        field = _field(user, name)
        setattr(user, field.attname, _empty(user, field))
    return names


def _field(user: AbstractBaseUser, name: str) -> models.Field[Any, Any]:
    field = user._meta.get_field(name)
    if not isinstance(field, models.Field):
        raise FieldDoesNotExist(name)
    return field


def _fit(user: AbstractBaseUser, field: models.Field[Any, Any], value: object) -> object:
    """Give the value as the field takes it, or the field's empty value where it does not."""
    if value is None:
        return _empty(user, field)
    if isinstance(field, models.DateTimeField) and isinstance(value, int):
        value = _instant(value)
    try:
        fitting = field.to_python(value)
        field.run_validators(fitting)
    except (ValidationError, TypeError, ValueError) as error:
        # The words of the error may hold the value, which may be a phone number.
        logger.error("user field %s does not take what FreshK says (%s)", field.name, type(error).__name__)  # noqa: TRY400
        return _empty(user, field)
    if not field.unique or fitting in field.empty_values or fitting == getattr(user, field.attname):
        return fitting
    if type(user)._base_manager.exclude(pk=user.pk).filter(**{field.name: fitting}).exists():
        logger.error("user field %s cannot take what FreshK says: another user has it", field.name)
        return _empty(user, field)
    return fitting


def _empty(user: AbstractBaseUser, field: models.Field[Any, Any]) -> object:
    if field.null:
        return None
    if field.unique:
        # There is one empty value for all: what stands there stays.
        return getattr(user, field.attname)
    return field.get_default()


def _instant(milliseconds: int) -> dt.datetime:
    instant = dt.datetime.fromtimestamp(milliseconds / 1000, tz=dt.timezone.utc)
    return instant if settings.USE_TZ else timezone.make_naive(instant)
