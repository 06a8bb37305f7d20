import base64
import json

import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import IntegrityError
from django.test import override_settings
from rest_framework.test import APIClient

from freshk_django.models import FreshKAccount
from tests.conftest import (
    ID,
    access_token,
    call,
    deleted,
    deliver,
    event,
    local_user,
    own_users,
    plain_users,
    signature_of,
    user_behind,
)

pytestmark = pytest.mark.django_db

OTHER_SECRET = "whsec_" + base64.b64encode(b"another secret of 32 bytes here!").decode()


def account(freshk_id=ID):
    return FreshKAccount.objects.get(pk=freshk_id)


def test_an_event_brings_the_account_up_to_date(now):
    assert deliver(event("user.created", at=now)).status_code == 204
    assert (account().phone_number, account().role, account().version) == ("+491701234567", "retailer", 1)


def test_the_local_user_is_made_at_the_first_call_and_knows_what_came_before(now):
    deliver(event("user.created", at=now))
    assert not get_user_model().objects.exists()
    user = user_behind(call(access_token()))
    assert user.freshk_account.phone_number == "+491701234567"


@own_users
def test_what_an_event_says_is_in_the_mapped_fields(now):
    deliver(event("user.created", at=now - 60, date_joined="2026-01-31T12:00:00Z"))
    user = user_behind(call(access_token()))
    assert (user.phone, user.kind, user.phone_is_proven) == ("+491701234567", "retailer", True)
    assert user.joined.isoformat() == "2026-01-31T06:00:00"  # Django's TIME_ZONE, America/Chicago
    deliver(event(at=now, role="customer", phone_number="+491709999999", version=2))
    user.refresh_from_db()
    assert (user.phone, user.kind) == ("+491709999999", "customer")


def test_an_older_event_changes_nothing_and_the_same_one_changes_nothing_twice(now):
    deliver(event(at=now, phone_number="+491700000003", version=3))
    deliver(event(at=now - 60, phone_number="+491700000002", version=2))
    assert (account().phone_number, account().version) == ("+491700000003", 3)
    deliver(event(at=now, phone_number="+491700000003", version=3))
    assert (account().phone_number, account().version) == ("+491700000003", 3)


@own_users
def test_a_replayed_event_fills_a_field_that_was_mapped_meanwhile(now):
    with override_settings(FRESHK=settings.FRESHK | {"ATTRIBUTES": {}}):
        user = user_behind(call(access_token(iat=now - 60)))
        deliver(event(at=now))
    deliver(event(at=now))
    user.refresh_from_db()
    assert user.phone == "+491701234567"


@own_users
def test_a_new_user_has_what_is_newer_of_event_and_token(now):
    deliver(event("user.created", at=now - 10, role="customer"))
    user = user_behind(call(access_token(iat=now - 60, role="retailer", shop="A")))
    assert (user.kind, user.shop) == ("customer", "A")


def test_a_user_deactivated_in_freshk_is_refused_here_and_let_in_again(now):
    call(access_token(iat=now - 60))
    deliver(event("user.deactivated", at=now - 50, is_active=False, version=2))
    assert call(access_token(iat=now - 55)).status_code == 401
    deliver(event("user.activated", at=now - 40, version=3))
    assert call(access_token()).status_code == 200


def test_freshks_word_does_not_wake_a_user_that_is_inactive_here(now):
    user = user_behind(call(access_token(iat=now - 60)))
    type(user).objects.update(is_active=False)
    deliver(event("user.deactivated", at=now - 50, is_active=False, version=2))
    deliver(event("user.activated", at=now - 40, version=3))
    assert call(access_token()).status_code == 401


def test_a_deactivated_user_whom_django_has_never_seen_is_not_made(now):
    deliver(event("user.deactivated", at=now, is_active=False, version=2))
    assert call(access_token(iat=now - 10)).status_code == 401
    assert not get_user_model().objects.exists()


def test_a_token_from_well_after_the_deactivation_shows_that_it_is_over(now):
    """FreshK issues none to a deactivated user: an event that was lost keeps nobody out."""
    deliver(event("user.deactivated", at=now - 60, is_active=False, version=2))
    assert call(access_token(iat=now - 56)).status_code == 401
    assert call(access_token(iat=now - 50)).status_code == 200


@own_users
def test_an_event_does_not_bring_back_a_role_that_a_newer_token_has_ended(now):
    call(access_token(iat=now - 10, role="customer"))
    deliver(event(at=now - 60, role="retailer", version=2))
    assert (account().role, account().user.kind, account().version) == ("customer", "customer", 2)


@own_users
def test_a_token_does_not_bring_back_a_role_that_a_newer_event_has_ended(now):
    call(access_token(iat=now - 60, role="retailer"))
    deliver(event(at=now - 30, role="customer", version=2))
    user = user_behind(call(access_token(iat=now - 40, role="retailer")))
    assert user.kind == "customer"
    # Another node may sign with the older role for a moment.
    assert user_behind(call(access_token(iat=now - 27, role="retailer"))).kind == "customer"
    assert user_behind(call(access_token(iat=now - 20, role="retailer"))).kind == "retailer"


@own_users
def test_two_numbers_that_change_hands_in_any_order_end_where_they_belong(now):
    first, second = user_behind(call(access_token(ID))), user_behind(call(access_token(ID + 1)))
    deliver(event(at=now, phone_number="+491700000001", version=1))
    # The new owner's event comes before the old owner's.
    assert deliver(event(at=now, user_id=ID + 1, phone_number="+491700000001", version=1)).status_code == 204
    second.refresh_from_db()
    assert second.phone is None
    assert account(ID + 1).phone_number == "+491700000001"
    deliver(event("user.phone_changed", at=now, phone_number="+491700000002", version=2))
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.phone, second.phone) == ("+491700000002", "+491700000001")


@own_users
def test_a_number_that_a_local_user_has_is_not_taken_from_it_and_locks_nobody_out(now):
    local = local_user(phone="+491701234567")
    deliver(event("user.created", at=now))
    user = user_behind(call(access_token()))
    local.refresh_from_db()
    assert (local.phone, user.phone) == ("+491701234567", None)


@own_users
def test_a_number_that_cannot_be_written_keeps_no_other_change_from_being(now):
    local_user(phone="+491700000002")
    user = user_behind(call(access_token(iat=now - 60, role="retailer")))
    deliver(event(at=now - 30, phone_number="+491700000001", version=1))
    deliver(event(at=now, phone_number="+491700000002", role="customer", version=2))
    user.refresh_from_db()
    assert (user.phone, user.kind) == (None, "customer")


@own_users
def test_a_number_that_went_to_somebody_else_is_none(now):
    call(access_token())
    deliver(event(at=now, version=1))
    deliver(event(at=now, phone_number=None, username=f"user_recycled_{ID}", version=2))
    assert account().phone_number is None
    assert account().user.phone is None


def test_a_deleted_user_is_deactivated_here_and_its_token_opens_nothing(now):
    deliver(event(at=now - 60))
    user = user_behind(call(access_token()))
    assert deliver(deleted(at=now)).status_code == 204
    user.refresh_from_db()
    assert not user.is_active
    assert call(access_token()).status_code == 401
    assert call(access_token(iat=now + 5)).status_code == 401
    assert get_user_model().objects.count() == 1
    assert (account().user, account().phone_number, account().username) == (None, None, "")


@own_users
def test_a_deleted_users_number_is_kept_nowhere_and_is_free(now):
    deliver(event(at=now - 60))
    call(access_token())
    deliver(deleted(at=now))
    assert get_user_model().objects.get().phone is None
    deliver(event("user.created", user_id=ID + 1, at=now))
    assert user_behind(call(access_token(ID + 1))).phone == "+491701234567"


@plain_users
def test_a_deleted_users_name_does_not_keep_the_digits_of_its_number(now):
    with override_settings(FRESHK=settings.FRESHK | {"ATTRIBUTES": {"username": "username"}}):
        deliver(event(at=now - 60))
        user = user_behind(call(access_token()))
        assert user.username == "user_491701234567"
        deliver(deleted(at=now))
    user.refresh_from_db()
    assert user.username == f"freshk_{ID}"


def test_a_deleted_user_is_deleted_here_where_that_is_set(now):
    with override_settings(FRESHK=settings.FRESHK | {"ON_DELETE": "delete"}):
        call(access_token())
        deliver(deleted(at=now))
        assert not get_user_model().objects.exists()
        assert call(access_token()).status_code == 401
    assert not get_user_model().objects.exists()


@own_users
def test_a_deleted_user_that_other_rows_need_is_deactivated(now):
    with override_settings(FRESHK=settings.FRESHK | {"ON_DELETE": "delete"}):
        user = user_behind(call(access_token()))
        apps.get_model("people.Order").objects.create(person=user)
        assert deliver(deleted(at=now)).status_code == 204
    user.refresh_from_db()
    assert not user.is_active


def test_a_deletion_is_final(now):
    deliver(deleted(at=now))
    for late in (event(at=now, version=99), event("user.activated", at=now, version=100), deleted(at=now)):
        assert deliver(late).status_code == 204
    assert call(access_token()).status_code == 401
    assert not get_user_model().objects.exists()
    assert account().known_facts() == {}


def test_a_waiting_event_of_a_deleted_user_makes_no_row(now):
    assert deliver({**deleted(at=now), "type": "user.updated"}).status_code == 204
    assert not FreshKAccount.objects.exists()


@pytest.mark.parametrize(
    "document",
    [
        {"type": "session.created", "timestamp": "2026-01-31T12:00:00Z", "data": {"user": {"id": ID, "version": 1}}},
        {"type": "sms.budget_warning", "data": {}},
        {"type": "user.of_the_future", "timestamp": "2026-01-31T12:00:00Z", "data": {"user": "somebody"}},
        {"type": "user.of_the_future"},
        {"type": "something.else", "more": [1, 2]},
    ],
    ids=lambda document: document["type"],
)
def test_an_event_of_another_kind_is_accepted_and_changes_nothing(document):
    assert deliver(document).status_code == 204
    assert not FreshKAccount.objects.exists()


def test_a_kind_of_the_future_in_the_known_form_is_followed(now):
    deliver(event("user.of_the_future", at=now, version=7))
    assert account().version == 7


def test_members_of_the_future_change_nothing(now):
    assert deliver(event(at=now, email="a@b.example", tags=[1])).status_code == 204


def test_members_that_are_missing_keep_what_was_known(now):
    deliver(event(at=now, version=1))
    deliver(event(at=now, phone_number=..., role=..., is_active=..., version=2))
    assert (account().phone_number, account().role, account().is_active) == ("+491701234567", "retailer", True)


@pytest.mark.parametrize(
    "document",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        "[" * 5000,
        '{"type": 1}',
        {"type": "user.updated"},
        {"type": "user.updated", "data": {}},
        {"type": "user.updated", "timestamp": "2026-01-31T12:00:00Z", "data": {"user": {}}},
        {"type": "user.updated", "timestamp": "2026-01-31T12:00:00Z", "data": {"user": {"id": "x"}}},
        {"type": "user.deleted", "timestamp": "2026-01-31T12:00:00Z", "data": {"user": {"id": None}}},
        event(at=0) | {"timestamp": None},
        event(at=0) | {"timestamp": "2026-01-31T12:00:00"},
        event(at=0) | {"timestamp": "2026-13-31T12:00:00Z"},
        event(at=0, id=True),
        event(at=0, id=0),
        event(at=0, version="1"),
        event(at=0, version=True),
        event(at=0, is_active="false"),
        event(at=0, phone_verified=1),
        event(at=0, phone_number=491701234567),
        event(at=0, phone_number="+49 170"),
        event(at=0, role=None),
        event(at=0, role="x" * 151),
        event(at=0, username="a\0b"),
        event(at=0, date_joined="yesterday"),
    ],
    ids=lambda document: str(document)[:60],
)
def test_what_is_signed_and_no_event_is_refused_and_changes_nothing(document):
    response = deliver(document)
    assert (response.status_code, response.json()["code"]) == (400, "bad_request")
    assert not FreshKAccount.objects.exists()


@pytest.mark.parametrize(
    "fault",
    [
        {"secret": OTHER_SECRET},
        {"webhook_id": None},
        {"webhook_timestamp": None},
        {"webhook_signature": None},
        {"webhook_id": "msg_2"},
        {"webhook_timestamp": "1"},
        {"webhook_timestamp": "now"},
        {"webhook_timestamp": "\N{ARABIC-INDIC DIGIT ONE}"},
        {"webhook_signature": "v1,"},
        {"webhook_signature": "v1"},
        {"webhook_signature": ""},
        {"webhook_signature": "v1,AAAA"},
        {"webhook_signature": "v1,\N{LATIN SMALL LETTER E WITH ACUTE}"},
        {"webhook_signature": "v2,AAAA v1a,AAAA"},
        {"seconds": -1_000_000_000},
        {"seconds": -310},
        {"seconds": 400},
    ],
    ids=str,
)
def test_a_delivery_without_a_good_signature_of_now_changes_nothing(fault, now):
    at = now + fault.get("seconds", 0)
    fault = {name: value for name, value in fault.items() if name != "seconds"}
    response = deliver(event(at=now), at=at, **fault)
    assert (response.status_code, response.json()["code"]) == (403, "bad_signature")
    assert not FreshKAccount.objects.exists()


def test_a_changed_body_is_refused(now):
    assert deliver(event(at=now), at=now, webhook_signature=signature_of("{}", now)).status_code == 403


@pytest.mark.parametrize("seconds", [-240, 290])
def test_clocks_may_differ_by_five_minutes(seconds, now):
    assert deliver(event(at=now), at=now + seconds).status_code == 204


def test_while_a_secret_is_exchanged_both_are_good(now):
    with override_settings(FRESHK={"WEBHOOK_SECRETS": [OTHER_SECRET, settings.WEBHOOK_SECRET]}):
        assert deliver(event(at=now)).status_code == 204
        assert deliver(event(at=now), secret=OTHER_SECRET).status_code == 204


def test_one_good_signature_of_several_is_enough(now):
    document = event(at=now)
    several = f"v1,AAAA v2,AAAA {signature_of(json.dumps(document), now)}"
    assert deliver(document, at=now, webhook_signature=several).status_code == 204


@override_settings(FRESHK={})
def test_without_a_secret_nothing_is_taken_and_freshk_tries_again(now, caplog):
    assert deliver(event(at=now)).status_code == 503
    assert "WEBHOOK_SECRETS" in caplog.text
    assert not FreshKAccount.objects.exists()


def test_only_posts_of_bearable_size_are_read(now):
    assert APIClient().get("/freshk/webhook/").status_code == 405
    assert deliver(event(at=now, more="x" * 70_000)).status_code == 413


@own_users
def test_a_constraint_of_the_projects_own_stops_no_event_and_logs_no_number(now, caplog, monkeypatch):
    """PostgreSQL quotes the value in its error."""
    user = user_behind(call(access_token()))

    def refuse(*_args, **_kwargs):
        raise IntegrityError("Key (phone)=(+491701234567) already exists.")

    with monkeypatch.context() as patch:
        patch.setattr(get_user_model(), "save", refuse)
        patch.setattr(get_user_model(), "delete", refuse)
        assert deliver(event("user.deactivated", at=now, is_active=False)).status_code == 204
    user.refresh_from_db()
    assert (user.phone, account().phone_number, account().is_active) == (None, "+491701234567", False)
    assert "constraint" in caplog.text
    with override_settings(FRESHK=settings.FRESHK | {"ON_DELETE": "delete"}), monkeypatch.context() as patch:
        patch.setattr(get_user_model(), "delete", refuse)
        assert deliver(deleted(at=now)).status_code == 204
    user.refresh_from_db()
    assert not user.is_active
    assert "1234567" not in caplog.text


def test_no_phone_number_is_logged(now, caplog):
    caplog.set_level(0, "freshk_django")
    if settings.OWN_USERS:
        local_user(phone="+491701234567")
    call(access_token())
    deliver(event(at=now))
    deliver(event(at=now, phone_number="+49 170 1234567", version=2))
    deliver(deleted(at=now))
    assert "1234567" not in caplog.text
