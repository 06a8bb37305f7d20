"""The rules of who is who: FreshK's user, the link row, the project's own user."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Any, cast

from django.contrib.auth import get_user_model
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, router, transaction

from freshk_django import attributes, conf
from freshk_django.models import FreshKAccount
from freshk_django.userfields import first_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.contrib.auth.models import AbstractBaseUser

    from freshk_django.facts import Claims, Event

logger = logging.getLogger("freshk_django")

#: How many usernames are tried for a new user; all but the first end in chance.
_TRIES = 5


class RefusedError(Exception):
    """The user behind a good token gets in no longer."""


class NotLinkedError(Exception):
    """An imported user, whose local user is not linked yet: a new one would be an empty second account."""


def user_of(claims: Claims) -> AbstractBaseUser:
    """Find the local user of a good token; the first time, make it and its link.

    Raise `RefusedError` for a user that is deactivated or deleted, there or here, and `NotLinkedError`.
    """
    account = FreshKAccount.objects.select_related("user").filter(freshk_id=claims.user_id).first()
    if account is None or account.user is None or account.has_older_facts_than(claims.issued_at):
        account = _record_claims(claims)
    if account.user is None or not account.admits(claims.issued_at) or not account.user.is_active:
        raise RefusedError
    return account.user


def _record_claims(claims: Claims) -> FreshKAccount:
    with transaction.atomic(using=router.db_for_write(FreshKAccount)):
        account = _lock(claims.user_id)
        is_news = account.has_older_facts_than(claims.issued_at)
        if is_news:
            account.take_claims(claims.facts, claims.issued_at)
        if account.user is None:
            if not account.admits(claims.issued_at):
                return account
            if account.freshk_id < conf.load().first_id:
                raise NotLinkedError
            # Of what both tell, the row is the newer.
            account.user = cast("Any", _make_user(account, {**claims.facts, **account.known_facts()}))
        elif is_news:
            _update_user(account, {**claims.facts, **account.known_facts()})
        account.save()
    return account


def record_event(event: Event) -> None:
    """Bring the rows up to an event; one that is older than the rows changes nothing."""
    if event.version is None and not event.is_deletion:
        # It has the id alone: the user is deleted by now, and the event of that comes later.
        return
    with transaction.atomic(using=router.db_for_write(FreshKAccount)):
        account = _lock(event.user_id)
        before = account.known_facts()
        if account.deleted_at is not None:
            return
        if event.is_deletion:
            _delete(account, event.at)
        elif (event.version or 0) >= account.version:
            account.take_event(event)
            _update_user(account, account.known_facts())
            account.save()
        after = account.known_facts()
    _fill_what_became_free(account, before, after)


def _lock(freshk_id: int) -> FreshKAccount:
    """Find or make the row of an account and hold it, so that two first calls at once make one user."""
    rows = FreshKAccount.objects.using(router.db_for_write(FreshKAccount))
    # The first statement writes: SQLite cannot turn a transaction that has read into one that writes.
    rows.bulk_create([FreshKAccount(freshk_id=freshk_id)], ignore_conflicts=True)
    return rows.select_for_update().get(freshk_id=freshk_id)


def _make_user(account: FreshKAccount, facts: Mapping[str, object]) -> AbstractBaseUser:
    settings = conf.load()
    if make := settings.user_maker():
        user = make(account, facts)
        if not isinstance(user, get_user_model()) or user.pk is None:
            raise ImproperlyConfigured(f"{settings.create_user} did not give a saved {get_user_model().__name__}.")
        return user
    name = settings.username_for(account.freshk_id)
    for attempt in range(_TRIES):
        user = get_user_model()()
        setattr(user, user.USERNAME_FIELD, f"{name}_{secrets.token_hex(3)}" if attempt else name)
        user.is_active = True
        user.set_unusable_password()
        is_last = attempt == _TRIES - 1
        if not is_last:
            attributes.apply(user, facts)
        try:
            with transaction.atomic(using=router.db_for_write(type(user))):
                user.save(force_insert=True)
        except IntegrityError:
            # The name, or a value that has to be unique, is another's.
            if is_last:
                raise
        else:
            return user
    raise AssertionError  # the last attempt returns or raises


def _update_user(account: FreshKAccount, facts: Mapping[str, object]) -> None:
    user = account.user
    if user is None:
        return
    changed = attributes.apply(user, facts)
    if changed and not _save(user, changed):
        # The account's own row is right all the same, and decides who gets in.
        user.refresh_from_db()


def _delete(account: FreshKAccount, at: int) -> None:
    user, facts = account.user, account.known_facts()
    account.forget(at)
    account.save()
    if user is None or (conf.load().on_delete == "delete" and _can_delete(user)):
        return
    changed = attributes.clear(user, facts)
    if user.USERNAME_FIELD in changed:
        setattr(user, user.USERNAME_FIELD, conf.load().username_for(account.freshk_id))
    # A model may lack the column; whoever is linked to nobody gets in nowhere all the same.
    if first_of("is_active") is None:
        _save(user, changed)
        return
    user.is_active = False
    if not _save(user, [*changed, "is_active"]):
        user.refresh_from_db()
        user.is_active = False
        user.save(update_fields=["is_active"])


def _can_delete(user: AbstractBaseUser) -> bool:
    """Delete the user, unless rows that need it forbid that."""
    try:
        with transaction.atomic(using=router.db_for_write(type(user))):
            user.delete()
    except IntegrityError as error:
        # Here and below the words of the error may hold a phone number.
        reason = type(error).__name__
        logger.error("local user %s cannot be deleted (%s); it is deactivated instead", user.pk, reason)  # noqa: TRY400
        user.refresh_from_db()
        return False
    return True


def _save(user: AbstractBaseUser, names: list[str]) -> bool:
    """Save these fields, if the project's constraints let them be."""
    try:
        with transaction.atomic(using=router.db_for_write(type(user))):
            user.save(update_fields=names)
    except IntegrityError:
        logger.error("local user %s cannot take %s from FreshK: a constraint forbids it", user.pk, names)  # noqa: TRY400
        return False
    return True


def _fill_what_became_free(account: FreshKAccount, before: Mapping[str, object], after: Mapping[str, object]) -> None:
    """Give a phone number or username to the account that waits for it.

    Events of two users come in any order: the new owner's may have found the value still taken in the project's own
    table, where it has to be unique.
    """
    for name in ("phone_number", "username"):
        value = before.get(name)
        if not value or value == after.get(name):
            continue
        waiting = FreshKAccount.objects.filter(**{name: value}, user__isnull=False).exclude(pk=account.pk)
        for freshk_id in waiting.order_by("-event_at").values_list("freshk_id", flat=True)[:1]:
            with transaction.atomic(using=router.db_for_write(FreshKAccount)):
                other = _lock(freshk_id)
                _update_user(other, other.known_facts())
