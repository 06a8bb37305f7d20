"""The settings of this package: the dictionary `FRESHK` in the project's settings."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

    from freshk_django.models import FreshKAccount

#: Makes the local user of an account that has none, and saves it.
CreateUser = Callable[["FreshKAccount", Mapping[str, object]], "AbstractBaseUser"]

#: The first id that FreshK gives by itself (`users.first_id`); lower ones came by an import.
FIRST_ID = 1_000_000_001


@dataclass(frozen=True)
class FreshKSettings:
    """The values in force; each key of `FRESHK` is a name from here in capitals."""

    #: Which of the project's user fields takes which of FreshK's facts: `{"role": "role", "phone_number": "phone"}`.
    attributes: Mapping[str, str] = field(default_factory=dict)
    #: The username of a new local user; `{id}` is FreshK's id.
    username: str = "freshk_{id}"
    #: The path of a function that makes a local user, in place of the package's own way.
    create_user: str | None = None
    #: The webhook's secrets (`whsec_...`); a delivery under any of them is good.
    webhook_secrets: tuple[str, ...] = ()
    #: What becomes of the local user when FreshK's user is deleted.
    on_delete: Literal["deactivate", "delete"] = "deactivate"
    #: `users.first_id` of FreshK.
    first_id: int = FIRST_ID

    def user_maker(self) -> CreateUser | None:
        """Import the function that `CREATE_USER` names; raise `ImportError` if there is none."""
        return None if self.create_user is None else cast("CreateUser", import_string(self.create_user))

    def username_for(self, freshk_id: int) -> str:
        """Fill FreshK's id into the pattern of usernames."""
        return self.username.replace("{id}", str(freshk_id))


def load() -> FreshKSettings:
    """Read the settings; raise `ImproperlyConfigured` with all that is wrong with them."""
    found: FreshKSettings | list[str] = read(getattr(settings, "FRESHK", {}))
    if isinstance(found, list):
        raise ImproperlyConfigured(" ".join(found))
    return found


def read(values: object) -> FreshKSettings | list[str]:
    """Read the dictionary `FRESHK`, or say in sentences what is wrong with it."""
    if not isinstance(values, dict):
        return ["FRESHK is not a dictionary."]
    problems: list[str] = []
    good: dict[str, Any] = {}
    for key, value in values.items():
        name = key.lower() if isinstance(key, str) and key.isupper() else ""
        if name not in _FORMS:
            near = difflib.get_close_matches(str(key).upper(), [known.upper() for known in _FORMS], n=1)
            problems.append(f"FRESHK has the unknown key {key!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
            continue
        is_good, expected = _FORMS[name]
        if is_good(value):
            good[name] = tuple(value) if isinstance(value, list) else value
        else:
            problems.append(f"FRESHK[{key!r}] is not {expected}.")
    return problems or FreshKSettings(**good)


def _is_mapping_of_text(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, dict) and all(isinstance(text, str) for pair in value.items() for text in pair)


#: By name, whether a value has the right form, and the words for that form.
_FORMS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "attributes": (_is_mapping_of_text, "a dictionary from FreshK's names to names of user fields"),
    "username": (
        lambda value: isinstance(value, str) and "{id}" in value,
        "a text with {id} in it, such as 'freshk_{id}'",
    ),
    "create_user": (
        lambda value: value is None or (isinstance(value, str) and "." in value),
        "the path of a function, such as 'shop.users.create_user'",
    ),
    "webhook_secrets": (
        lambda value: isinstance(value, list | tuple) and all(isinstance(secret, str) for secret in value),
        "a list of secrets, such as ['whsec_...']",
    ),
    "on_delete": (lambda value: value in ("deactivate", "delete"), "'deactivate' or 'delete'"),
    "first_id": (
        lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 1,
        "a whole number from 1",
    ),
}
