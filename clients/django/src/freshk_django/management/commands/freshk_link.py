"""`manage.py freshk_link`: after the import, links FreshK's users to the local users that they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import FieldError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import IntegrityError, models

from freshk_django.linking import Link, NotAFileOfUsersError
from freshk_django.userfields import phone_field


class Command(BaseCommand):
    """Reads what `freshk user export` wrote, and says what it linked."""

    help = (
        "Link the users of a file that `freshk user export` wrote to the local users that they were: those with the "
        "same primary key, or username where primary keys are no whole numbers, and the same phone number. It can be "
        "run again."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Name the fields by which users are known again."""
        parser.add_argument("file", help="the file, as CSV")
        parser.add_argument(
            "--phone-field", help="default: the field mapped from phone_number, else phone_number or phone"
        )
        parser.add_argument("--username-field", help="default: the model's USERNAME_FIELD")
        parser.add_argument(
            "--trust-ids",
            action="store_true",
            help="do not compare phone numbers: only where the rows were made with FreshK's ids",
        )

    def handle(self, *_args: object, **options: Any) -> None:  # noqa: ANN401
        """Link."""
        model = get_user_model()
        if options["trust_ids"] and not isinstance(model._meta.pk, models.IntegerField):
            raise CommandError("--trust-ids is for primary keys that are FreshK's ids, and here they are no numbers.")
        phone = None if options["trust_ids"] else phone_field(options["phone_field"])
        link = Link(phone, options["username_field"] or model.USERNAME_FIELD)
        try:
            with Path(options["file"]).open(encoding="utf-8", newline="") as file:
                link.read(file)
        except OSError as error:
            raise CommandError(f"{options['file']} cannot be read: {error.strerror}.") from error
        except NotAFileOfUsersError as error:
            raise CommandError(f"{options['file']} is not what `freshk user export` writes: {error}.") from error
        except IntegrityError as error:
            raise CommandError("A user was linked or made meanwhile: run it again, and it goes on.") from error
        except FieldError as error:
            raise CommandError(f"A field that an option names is not there: {error}") from error
        for outcome, count in sorted(link.counts.items()):
            self.stdout.write(f"{outcome}: {count:,}")
