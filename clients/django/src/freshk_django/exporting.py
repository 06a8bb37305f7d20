"""Users of any model as lines of the file that `freshk user import` takes."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from django.contrib.auth import get_user_model

from freshk_django.columns import COLUMNS, HIGHEST_ID, instant, phone_number, truth, username
from freshk_django.models import FreshKAccount

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Users that are in memory at once.
_PAGE = 2_000

#: How many users are named of those that are left out for one reason.
_NAMED = 5

#: A field with more different values than this is no role.
_MOST_ROLES = 50


class NotARoleError(Exception):
    """The role field has a different value for nearly every user."""


class _LeftOutError(Exception):
    """A user that FreshK would refuse; the message says why, of several."""


@dataclass
class _LeftOut:
    count: int = 0
    pks: list[object] = field(default_factory=list)


class Export:
    """One run: what it reads, and what it counts."""

    def __init__(
        self, fields: Mapping[str, str], roles: Mapping[str, str], *, all_verified: bool, first_number: int
    ) -> None:
        """Take the field of each column that has one, and what local roles are called in FreshK."""
        self._fields = fields
        self._roles = roles
        self._all_verified = all_verified
        self._next_number = first_number
        self._written = 0
        self._met_roles: Counter[str] = Counter()
        self._left_out: dict[str, _LeftOut] = {}

    def write(self, file: TextIO) -> None:
        """Write header and lines."""
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(COLUMNS)
        for page in self._pages():
            taken = _ids_of_others([pk for pk, _ in page if isinstance(pk, int)])
            for pk, values in page:
                try:
                    writer.writerow(self._line(pk, values, taken))
                except _LeftOutError as reason:
                    left_out = self._left_out.setdefault(str(reason), _LeftOut())
                    left_out.count += 1
                    if left_out.count <= _NAMED:
                        left_out.pks.append(pk)
                else:
                    self._written += 1

    def report(self) -> Iterator[str]:
        """Say in lines what was written, how roles map, and who was left out."""
        yield f"Users written, in the order of their ids: {self._written:,}"
        if linked := FreshKAccount.objects.filter(user__isnull=False).count():
            yield f"Left out, linked to FreshK already: {linked:,}"
        for reason, left_out in self._left_out.items():
            pks = ", ".join(str(pk) for pk in left_out.pks) + (", ..." if left_out.count > _NAMED else "")
            yield f"Left out, {reason}: {left_out.count:,} (primary keys {pks})"
        for value, count in sorted(self._met_roles.items()):
            yield f"Role {value!r} becomes {self._role(value)!r}: {count:,}"
        if self._met_roles:
            roles = ", ".join(f'"{role}"' for role in sorted({self._role(value) for value in self._met_roles}))
            yield f"FreshK has to know these roles before the import: in freshk.toml, [users] roles = [{roles}]"

    def _pages(self) -> Iterator[list[tuple[Any, dict[str, Any]]]]:
        """Give the users without an account by primary key; each page is a query of its own."""
        users = get_user_model()._default_manager.filter(freshk_account__isnull=True).order_by("pk")
        page = users
        while rows := list(page.values_list("pk", *self._fields.values())[:_PAGE]):
            yield [(row[0], dict(zip(self._fields, row[1:], strict=True))) for row in rows]
            page = users.filter(pk__gt=rows[-1][0])

    def _line(self, pk: object, values: Mapping[str, Any], taken: set[int]) -> list[str]:
        phone = phone_number(values["phone_number"])
        if phone is None:
            raise _LeftOutError("phone not in international format" if values["phone_number"] else "no phone number")
        name = username(values["username"])
        if name is None and not isinstance(pk, int):
            # Without it freshk_link would not find the user again.
            raise _LeftOutError("no username that FreshK takes")
        if isinstance(pk, int):
            if not 1 <= pk <= HIGHEST_ID:
                raise _LeftOutError(f"primary key not from 1 to {HIGHEST_ID}")
            if pk in taken:
                raise _LeftOutError("primary key is the FreshK id of another user")
        role = values.get("role")
        return [
            str(pk if isinstance(pk, int) else self._number()),
            name or "",
            phone,
            self._count_role(str(role)) if role not in (None, "") else "",
            truth(values.get("is_active")),
            truth(self._all_verified or bool(values.get("phone_verified"))),
            instant(values.get("date_joined")),
        ]

    def _number(self) -> int:
        self._next_number += 1
        return self._next_number - 1

    def _role(self, value: str) -> str:
        return self._roles.get(value, value)

    def _count_role(self, value: str) -> str:
        self._met_roles[value] += 1
        if len(self._met_roles) > _MOST_ROLES:
            raise NotARoleError
        return self._role(value)


def _ids_of_others(pks: list[int]) -> set[int]:
    """Which of these numbers are FreshK's ids of users that have another primary key."""
    return set(FreshKAccount.objects.filter(pk__in=pks, user__isnull=False).values_list("pk", flat=True))
