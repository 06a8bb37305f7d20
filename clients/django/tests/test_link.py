import io

import pytest
from django.core.management import CommandError, call_command

from freshk_django import linking
from freshk_django.columns import COLUMNS
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
    user_behind,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def link(tmp_path):
    """Runs the command on these lines, and gives what it said."""

    def run(*lines, options=()):
        file = tmp_path / "freshk.csv"
        file.write_text("".join(line + "\r\n" for line in (",".join(COLUMNS), *lines)))
        told = io.StringIO()
        call_command("freshk_link", file, *options, stdout=told)
        return told.getvalue()

    return run


def line(freshk_id, phone="+491701234567", username="asha"):
    return f"{freshk_id},{username},{phone},retailer,true,true,2026-01-31T12:00:00Z"


PLAIN = ["--phone-field=first_name"]


@plain_users
def test_the_same_key_and_the_same_phone_are_the_same_person(link):
    local = local_user(pk=57, first_name="+49 170 1234567")
    assert link(line(57), options=PLAIN) == "linked: 1\n"
    assert user_behind(call(access_token(57))) == local


@plain_users
def test_the_same_key_alone_is_not(link):
    local_user("a", pk=57, first_name="+491709999999")
    local_user("b", pk=58)
    assert link(line(57), line(58), options=PLAIN) == "another phone number here: 2\n"
    assert not FreshKAccount.objects.exists()
    assert call(access_token(57)).status_code == 503


@plain_users
def test_the_same_phone_alone_is_not(link):
    local_user(pk=57, first_name="+491701234567")
    assert link(line(ID), options=PLAIN) == "no local user: 1\n"


@plain_users
def test_rows_made_with_freshks_ids_can_be_trusted(link):
    local = local_user(pk=ID)
    assert link(line(ID), options=["--trust-ids"]) == "linked: 1\n"
    assert user_behind(call(access_token(ID))) == local


@own_users
def test_uuids_are_found_by_username_and_phone(link):
    local = local_user(phone="+491701234567")
    local_user("other", phone="+491709999999")
    told = link(line(1), line(2, "+491708888888", "other"), line(3, "+491707777777", "nobody"), line(4, username=""))
    assert told == "another phone number here: 1\nlinked: 1\nno local user: 2\n"
    assert user_behind(call(access_token(1))) == local


@own_users
def test_uuids_are_not_freshks_ids(link):
    with pytest.raises(CommandError, match="no numbers"):
        link(line(1), options=["--trust-ids"])


@plain_users
def test_it_can_be_run_again_and_goes_on(link, monkeypatch):
    monkeypatch.setattr(linking, "_PAGE", 2)
    for pk in range(1, 6):
        local_user(f"user{pk}", pk=pk, first_name=f"+49170123456{pk}")
    lines = [line(pk, f"+49170123456{pk}") for pk in range(1, 6)]
    assert link(*lines[:3], options=PLAIN) == "linked: 3\n"
    assert link(*lines, options=PLAIN) == "already linked: 3\nlinked: 2\n"
    assert {account.pk: account.user_id for account in FreshKAccount.objects.all()} == {pk: pk for pk in range(1, 6)}


@plain_users
def test_a_user_is_linked_once(link):
    local = local_user(pk=57, first_name="+491701234567")
    FreshKAccount.objects.create(pk=ID, user=local)
    assert link(line(57), options=PLAIN) == "local user is linked to another FreshK user: 1\n"


@plain_users
def test_what_events_have_told_before_is_kept_and_who_was_deleted_stays_so(link, now):
    deliver(event(user_id=57, at=now, version=4))
    deliver(deleted(58, at=now))
    local_user("a", pk=57, first_name="+491701234567")
    local_user("b", pk=58, first_name="+491701234568")
    told = link(line(57), line(58, "+491701234568"), options=PLAIN)
    assert told == "deleted in FreshK: 1\nlinked: 1\n"
    account = FreshKAccount.objects.get(pk=57)
    assert (account.user_id, account.version, account.phone_number) == (57, 4, "+491701234567")


@plain_users
def test_a_file_that_is_none_is_told(link, tmp_path):
    for bad in (["57,asha"], ["x" + line(57)], [line(57) + ",more"], [line(-1)], ["57\xb2" + line(1)[1:]]):
        with pytest.raises(CommandError, match="is not what"):
            link(*bad, options=PLAIN)
    (tmp_path / "bad.csv").write_text("id,name\r\n")
    with pytest.raises(CommandError, match="first line"):
        call_command("freshk_link", tmp_path / "bad.csv", *PLAIN)
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("freshk_link", tmp_path / "none.csv", *PLAIN)
    with pytest.raises(CommandError, match="not there"):
        link(line(57), options=["--phone-field=nowhere"])
