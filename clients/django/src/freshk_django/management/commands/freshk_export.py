"""`manage.py freshk_export`: the file that `freshk user import` takes, from any user model."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Max

from freshk_django import conf
from freshk_django.exporting import Export, NotARoleError
from freshk_django.models import FreshKAccount
from freshk_django.userfields import first_of, phone_field

if TYPE_CHECKING:
    from collections.abc import Iterator


class Command(BaseCommand):
    """Writes users in the order of their ids, and says on standard error what it did."""

    help = (
        "Write the users as a file for `freshk user import`. Fields are named as in queries: phone, or profile__phone. "
        "Users that are linked to FreshK already, and users without a phone number, are left out. Spaces, hyphens, "
        "dots and parentheses in phone numbers are dropped. The file has phone numbers in full, and its owner alone "
        "can read it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Name the fields, and what stands in for those that the model lacks."""
        add = parser.add_argument
        add("file", help="the file to write; - for standard output")
        add("--phone-field", help="default: the field mapped from phone_number, else phone_number or phone")
        add("--username-field", help="default: the model's USERNAME_FIELD")
        add("--role-field", help="default: the field mapped from role; without one no roles are written")
        add(
            "--role-map",
            action="append",
            default=[],
            metavar="LOCAL=ROLE",
            help="what a value of the role field is called in FreshK, once for each value; others keep their name",
        )
        add("--active-field", help="default: is_active")
        add("--joined-field", help="default: date_joined")
        verified = parser.add_mutually_exclusive_group()
        verified.add_argument(
            "--verified-field",
            help="true, or a date, where the phone was verified; default: the field mapped from phone_verified",
        )
        verified.add_argument("--all-verified", action="store_true", help="every phone was verified")
        add(
            "--first-number",
            type=int,
            metavar="N",
            help="the first id where primary keys are no whole numbers; default: above those that are linked",
        )

    def handle(self, *_args: object, **options: Any) -> None:  # noqa: ANN401
        """Export."""
        fields = _fields(options)
        if "phone_verified" not in fields and not options["all_verified"]:
            self.stderr.write(
                "No phone is marked as verified: name the field with --verified-field, or say --all-verified."
            )
        first_number = options["first_number"] or _first_number()
        export = Export(
            fields,
            _role_map(options["role_map"]),
            all_verified=options["all_verified"],
            first_number=first_number,
        )
        try:
            if options["file"] == "-":
                export.write(cast("TextIO", self.stdout))
            else:
                with _new_file(Path(options["file"])) as file:
                    export.write(file)
        except FieldError as error:
            raise CommandError(f"A field that an option names is not there: {error}") from error
        except NotARoleError as error:
            raise CommandError(
                f"The field {fields['role']} has too many different values for a role; name another with --role-field."
            ) from error
        for line in export.report():
            self.stderr.write(line)


def _fields(options: dict[str, Any]) -> dict[str, str]:
    """Give the field of each column that has one."""
    mapped = conf.load().attributes
    found = {
        "username": options["username_field"] or get_user_model().USERNAME_FIELD,
        "phone_number": phone_field(options["phone_field"]),
        "role": options["role_field"] or mapped.get("role"),
        "is_active": options["active_field"] or first_of("is_active"),
        "phone_verified": None
        if options["all_verified"]
        else options["verified_field"] or mapped.get("phone_verified"),
        "date_joined": options["joined_field"] or first_of("date_joined"),
    }
    return {column: name for column, name in found.items() if name is not None}


def _role_map(pairs: list[str]) -> dict[str, str]:
    roles = {}
    for pair in pairs:
        local, is_pair, role = pair.partition("=")
        if not (is_pair and local and role):
            raise CommandError(f"--role-map {pair}: write it as LOCAL=ROLE.")
        roles[local] = role
    return roles


def _first_number() -> int:
    """Above the ids that were numbered here before; FreshK's own are from another range."""
    ours = FreshKAccount.objects.filter(pk__lt=conf.load().first_id)
    return (ours.aggregate(highest=Max("pk"))["highest"] or 0) + 1


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[TextIO]:
    """Write a file that only its owner can read, and give it its name once it is whole."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}.") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
