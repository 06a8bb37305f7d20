"""Links from a file of FreshK's users to the local users that they were before the move."""

from __future__ import annotations

import csv
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, TextIO

from django.contrib.auth import get_user_model
from django.db import models, router, transaction

from freshk_django.columns import COLUMNS, phone_number, username
from freshk_django.models import FreshKAccount

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Lines that are linked in one transaction.
_PAGE = 1_000

#: What became of a line that was linked.
LINKED = "linked"


class NotAFileOfUsersError(Exception):
    """The file is not what `freshk user export` writes; the message says why."""


class Link:
    """One run: whom it links, and what it counts.

    The same number, or name, is not enough: the phone number has to be the same too, unless `phone_field` is `None`,
    which trusts the ids.
    """

    def __init__(self, phone_field: str | None, username_field: str) -> None:
        """Take the fields by which a local user is known again."""
        self._model = get_user_model()
        self._phone_field = phone_field
        self._username_field = username_field
        self.counts: Counter[str] = Counter()

    def read(self, file: TextIO) -> None:
        """Link the users of every line, a page at a time."""
        lines = csv.DictReader(file)
        if tuple(lines.fieldnames or ()) != COLUMNS:
            raise NotAFileOfUsersError(f"its first line is not {','.join(COLUMNS)}")
        try:
            while page := list(islice(lines, _PAGE)):
                with transaction.atomic(using=router.db_for_write(FreshKAccount)):
                    self._link(page)
        except (csv.Error, UnicodeDecodeError) as error:
            raise NotAFileOfUsersError(f"line {lines.line_num}: {error}") from error

    def _link(self, page: list[dict[str, str]]) -> None:
        lines = dict(_numbered(page))
        rows = FreshKAccount.objects.using(router.db_for_write(FreshKAccount))
        accounts = {account.pk: account for account in rows.select_for_update().filter(pk__in=lines).order_by("pk")}
        found = self._local_users(lines)
        linked = set(rows.filter(user__in=[pk for pk, _ in found.values()]).values_list("user", flat=True))
        new, known = [], []
        for freshk_id, line in lines.items():
            account, local = accounts.get(freshk_id), found.get(freshk_id)
            outcome = self._judge(account, line, local, linked)
            self.counts[outcome] += 1
            if outcome != LINKED or local is None:
                continue
            if account is None:
                new.append(FreshKAccount(pk=freshk_id, user_id=local[0]))
            else:
                account.user_id = local[0]
                known.append(account)
        rows.bulk_create(new)
        rows.bulk_update(known, ["user"])

    def _judge(
        self,
        account: FreshKAccount | None,
        line: dict[str, str],
        local: tuple[Any, object] | None,
        linked: set[Any],
    ) -> str:
        if account is not None and account.user_id is not None:
            return "already linked"
        if account is not None and account.deleted_at is not None:
            return "deleted in FreshK"
        if local is None:
            return "no local user"
        pk, phone = local
        if self._phone_field is not None and (phone_number(phone) or "") != line["phone_number"]:
            return "another phone number here"
        if pk in linked:
            return "local user is linked to another FreshK user"
        return LINKED

    def _local_users(self, lines: dict[int, dict[str, str]]) -> dict[int, tuple[Any, object]]:
        """Give the primary key and phone of each line's local user, by FreshK's id."""
        users = self._model._default_manager
        phone = [] if self._phone_field is None else [self._phone_field]
        if isinstance(self._model._meta.pk, models.IntegerField):
            found = users.filter(pk__in=lines).values_list("pk", "pk", *phone)
            by_key: dict[Any, int] = {pk: pk for pk in lines}
        else:
            by_key = {line["username"]: pk for pk, line in lines.items() if username(line["username"])}
            found = users.filter(**{f"{self._username_field}__in": by_key}).values_list(
                self._username_field, "pk", *phone
            )
        return {by_key[row[0]]: (row[1], row[2] if phone else None) for row in found if row[0] in by_key}


def _numbered(page: Iterable[dict[str, str]]) -> Iterator[tuple[int, dict[str, str]]]:
    for line in page:
        text = line["id"] or ""
        if not text.isascii() or not text.isdigit() or None in line or None in line.values():
            raise NotAFileOfUsersError(f"a line with the id {text!r} is not whole")
        yield int(text), line
