"""The link between FreshK's users and the project's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models

if TYPE_CHECKING:
    from collections.abc import Mapping

    from freshk_django.facts import Event

#: A token may be issued by a FreshK node that has not yet heard of a change (2 s at most), milliseconds.
NODE_DELAY = 5_000


class FreshKAccount(models.Model):
    """A user of FreshK, and the local user that stands for the same person.

    FreshK's id and the local primary key are two numbers that have nothing to do with each other. Instants are
    Unix milliseconds, so that they mean the same whatever `USE_TZ` is.
    """

    freshk_id = models.BigIntegerField("FreshK's id", primary_key=True)
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.CASCADE,
        related_name="freshk_account",
        help_text="Empty until the person's first call, and after deletion.",
    )
    username = models.CharField(max_length=150, blank=True, db_index=True)
    phone_number = models.CharField(max_length=16, null=True, blank=True, db_index=True)  # noqa: DJ001
    role = models.CharField(max_length=150, blank=True)
    phone_verified = models.BooleanField(null=True, blank=True)
    date_joined = models.BigIntegerField(null=True, blank=True)
    is_active = models.BooleanField("active in FreshK", default=True)
    version = models.BigIntegerField(default=0, help_text="Of the newest event; 0 before the first.")
    event_at = models.BigIntegerField(null=True, blank=True, help_text="When the newest event happened.")
    claims_at = models.BigIntegerField(null=True, blank=True, help_text="When the newest token was issued.")
    not_before = models.BigIntegerField(null=True, blank=True, help_text="Tokens issued earlier are refused.")
    deleted_at = models.BigIntegerField(null=True, blank=True, help_text="When FreshK's user was deleted.")

    class Meta:
        """Names for people."""

        verbose_name = "FreshK account"

    def __str__(self) -> str:
        """Name the account by its id; a phone number is not shown."""
        return f"FreshK user {self.freshk_id}"

    def admits(self, issued_at: int) -> bool:
        """Whether a token issued at `issued_at` opens anything."""
        return self.deleted_at is None and self.is_active and (self.not_before is None or issued_at > self.not_before)

    def has_older_facts_than(self, issued_at: int) -> bool:
        """Whether a token issued at `issued_at` knows more than this row."""
        return (self.claims_at is None or issued_at > self.claims_at) and (
            self.event_at is None or issued_at > self.event_at + NODE_DELAY
        )

    def take_claims(self, facts: Mapping[str, object], issued_at: int) -> None:
        """Note what a token says. FreshK issues none to a deactivated user."""
        self._take(facts)
        self.is_active = True
        self.claims_at = issued_at

    def take_event(self, event: Event) -> None:
        """Note what an event says, except a role older than the newest token's."""
        facts = dict(event.facts)
        if self.claims_at is not None and event.at < self.claims_at:
            facts.pop("role", None)
        self._take(facts)
        if event.is_active is not None:
            self.is_active = event.is_active
        if not self.is_active:
            self.not_before = max(self.not_before or 0, event.at)
        self.version = event.version or 0
        self.event_at = max(self.event_at or 0, event.at)

    def forget(self, at: int) -> None:
        """Keep the id alone: a token that is still good must not make the user again."""
        self.user = None
        self.username, self.phone_number, self.role = "", None, ""
        self.phone_verified = self.date_joined = None
        self.is_active, self.deleted_at = False, at

    def known_facts(self) -> dict[str, object]:
        """Give what is known of the user, without what no token or event has said yet."""
        facts: dict[str, object] = {}
        if self.username:
            facts["username"] = self.username
        if self.phone_number or self.version:
            facts["phone_number"] = self.phone_number
        if self.role:
            facts["role"] = self.role
        if self.phone_verified is not None:
            facts["phone_verified"] = self.phone_verified
        if self.date_joined is not None:
            facts["date_joined"] = self.date_joined
        return facts

    def _take(self, facts: Mapping[str, object]) -> None:
        for name in ("username", "phone_number", "role", "phone_verified", "date_joined"):
            if name in facts:
                setattr(self, name, facts[name])
