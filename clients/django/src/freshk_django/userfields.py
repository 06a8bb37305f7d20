"""Fields of the project's user model, found by the names that they usually have."""

from __future__ import annotations

import contextlib

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.core.management.base import CommandError

from freshk_django import conf


def first_of(*names: str) -> str | None:
    """Give the first of these names that is a field of the user model."""
    for name in names:
        with contextlib.suppress(FieldDoesNotExist):
            get_user_model()._meta.get_field(name)
            return name
    return None


def phone_field(named: str | None) -> str:
    """Give the field of the phone number: the one that an option names, the mapped one, or the usual one."""
    found = named or conf.load().attributes.get("phone_number") or first_of("phone_number", "phone")
    if found is None:
        label = get_user_model()._meta.label
        raise CommandError(f"{label} has no field phone_number or phone: name it with --phone-field.")
    return found
