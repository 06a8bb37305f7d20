import csv
import datetime as dt
import io
import stat
import uuid

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.test import override_settings

from freshk_django import exporting
from freshk_django.columns import COLUMNS
from freshk_django.models import FreshKAccount
from tests.conftest import local_user, own_users, plain_users

pytestmark = pytest.mark.django_db


def export(*options):
    """The lines, and what the command said."""
    out, told = io.StringIO(), io.StringIO()
    call_command("freshk_export", "-", *options, stdout=out, stderr=told)
    return list(csv.DictReader(io.StringIO(out.getvalue(), newline=""))), told.getvalue()


@plain_users
def test_a_line_says_all_that_freshk_takes():
    joined = dt.datetime(2026, 1, 31, 12, 0, 0, 123_000, dt.timezone.utc)
    local_user(pk=57, first_name="+491701234567", last_name="wholesale", date_joined=joined, is_active=False)
    lines, told = export("--phone-field", "first_name", "--role-field", "last_name", "--all-verified")
    assert lines == [
        {
            "id": "57",
            "username": "asha",
            "phone_number": "+491701234567",
            "role": "wholesale",
            "is_active": "false",
            "phone_verified": "true",
            "date_joined": "2026-01-31T12:00:00.123Z",
        }
    ]
    assert "Users written, in the order of their ids: 1\n" in told


@plain_users
def test_the_order_is_that_of_the_ids(monkeypatch):
    monkeypatch.setattr(exporting, "_PAGE", 3)
    for pk in (30, 2, 100, 7, 57, 1, 8, 9, 10):
        local_user(f"user{pk}", pk=pk, first_name=f"+4917012345{pk:03}")
    lines, _ = export("--phone-field", "first_name")
    assert [line["id"] for line in lines] == ["1", "2", "7", "8", "9", "10", "30", "57", "100"]


@plain_users
def test_roles_are_mapped_and_told():
    for number, role in enumerate(["customer", "customer", "staff", ""]):
        local_user(f"user{number}", first_name=f"+49170123456{number}", last_name=role)
    lines, told = export("--phone-field=first_name", "--role-field=last_name", "--role-map=customer=retailer")
    assert [line["role"] for line in lines] == ["retailer", "retailer", "staff", ""]
    assert "Role 'customer' becomes 'retailer': 2\n" in told
    assert "Role 'staff' becomes 'staff': 1\n" in told
    assert 'roles = ["retailer", "staff"]' in told


@plain_users
def test_a_boolean_can_be_a_role():
    local_user("a", first_name="+491701234561", is_staff=True)
    local_user("b", first_name="+491701234562")
    lines, _ = export("--phone-field=first_name", "--role-field=is_staff", "--role-map=True=staff")
    assert [line["role"] for line in lines] == ["staff", "False"]


@plain_users
def test_a_field_of_everybodys_own_is_no_role(tmp_path):
    for number in range(60):
        local_user(f"user{number}", first_name=f"+4917012345{number:02}")
    file = tmp_path / "users.csv"
    with pytest.raises(CommandError, match="too many different values"):
        call_command("freshk_export", file, "--phone-field=first_name", "--role-field=username")
    assert list(tmp_path.iterdir()) == []


@plain_users
def test_who_cannot_be_taken_is_left_out_and_told_without_the_number():
    for pk, phone in enumerate(["", "0170 1234567", "+49 (170) 123-45.67", "+0170123456789", "+491701234"], 1):
        local_user(f"user{pk}", pk=pk, first_name=phone)
    local_user("user6", pk=6, first_name="+491709999999")
    FreshKAccount.objects.create(pk=6, user_id=1)
    lines, told = export("--phone-field", "first_name")
    assert [(line["id"], line["phone_number"]) for line in lines] == [("3", "+491701234567")]
    assert "Left out, linked to FreshK already: 1\n" in told
    assert "Left out, phone not in international format: 3 (primary keys 2, 4, 5)\n" in told
    assert "Left out, primary key is the FreshK id of another user: 1 (primary keys 6)\n" in told
    assert "170" not in told


@plain_users
def test_users_without_a_phone_are_left_out():
    for number in range(7):
        local_user(f"user{number}", pk=number + 1)
    lines, told = export("--phone-field", "first_name")
    assert lines == []
    assert "Left out, no phone number: 7 (primary keys 1, 2, 3, 4, 5, ...)\n" in told


@plain_users
def test_a_name_that_freshk_does_not_take_is_left_open():
    local_user("a\tb", first_name="+491701234567")
    assert export("--phone-field", "first_name")[0][0]["username"] == ""


def test_a_phone_is_verified_only_where_a_field_says_so():
    _, told = export("--phone-field=password", "--verified-field=last_login")
    assert "No phone is marked" not in told


@plain_users
def test_a_date_of_verification_marks_a_phone_as_verified():
    now = dt.datetime.now(dt.timezone.utc)
    local_user("a", first_name="+491701234561", last_login=now)
    local_user("b", first_name="+491701234562")
    lines, _ = export("--phone-field=first_name", "--verified-field=last_login")
    assert [line["phone_verified"] for line in lines] == ["true", "false"]
    lines, told = export("--phone-field=first_name")
    assert [line["phone_verified"] for line in lines] == ["false", "false"]
    assert "No phone is marked as verified" in told


@own_users
def test_the_mapped_fields_are_the_default_and_uuids_are_numbered():
    joined = dt.datetime(2026, 1, 31, 6, 0, 0)  # noqa: DTZ001 - this project has no time zones
    ids = sorted(uuid.uuid4() for _ in range(3))
    for number, pk in enumerate(ids):
        local_user(
            f"user{number}", pk=pk, phone=f"+49170123456{number}", kind="retailer", phone_is_proven=number == 1,
            joined=joined,
        )  # fmt: skip
    lines, told = export("--joined-field=joined")
    assert [(line["id"], line["username"]) for line in lines] == [("1", "user0"), ("2", "user1"), ("3", "user2")]
    assert {line["role"] for line in lines} == {"retailer"}
    assert [line["phone_verified"] for line in lines] == ["false", "true", "false"]
    assert lines[0]["date_joined"] == "2026-01-31T12:00:00.000Z"
    assert "Role 'retailer' becomes 'retailer': 3\n" in told


@own_users
def test_numbers_go_on_above_those_that_are_linked():
    FreshKAccount.objects.create(pk=41, user=local_user("linked", phone="+491701234560"))
    FreshKAccount.objects.create(pk=1_000_000_007)
    local_user("new", phone="+491701234561")
    assert [line["id"] for line in export()[0]] == ["42"]
    assert [line["id"] for line in export("--first-number=100")[0]] == ["100"]


def test_the_file_is_its_owners_alone_and_whole(tmp_path):
    file = tmp_path / "users.csv"
    file.write_text("older")
    call_command("freshk_export", file, "--phone-field=password")
    assert file.read_bytes() == (",".join(COLUMNS) + "\r\n").encode()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


@plain_users
def test_an_older_file_stays_where_the_export_fails(tmp_path):
    file = tmp_path / "users.csv"
    file.write_text("older")
    with pytest.raises(CommandError, match="not there"):
        call_command("freshk_export", file, "--phone-field=profile__phone")
    assert file.read_text() == "older"
    assert list(tmp_path.iterdir()) == [file]


@plain_users
def test_what_cannot_be_done_is_told_with_what_to_do(tmp_path):
    for options, words in [
        ([], "name it with --phone-field"),
        (["--phone-field=first_name", "--role-map=customer"], "write it as LOCAL=ROLE"),
    ]:
        with pytest.raises(CommandError, match=words):
            call_command("freshk_export", tmp_path / "users.csv", *options)
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("freshk_export", tmp_path / "none" / "users.csv", "--phone-field=first_name")


@own_users
@override_settings(FRESHK={})
def test_a_field_of_the_usual_name_is_found():
    local_user(phone="+491701234567")
    assert len(export()[0]) == 1
    assert get_user_model().objects.count() == 1
