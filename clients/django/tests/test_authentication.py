import logging
import threading
import uuid

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import override_settings
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.test import APIClient, APIRequestFactory
from rest_framework.views import APIView
from rest_framework_simplejwt import authentication as simplejwt
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken, UntypedToken

from freshk_django import accounts
from freshk_django.authentication import FreshKAuthentication, LocalJWTAuthentication
from freshk_django.facts import Claims
from freshk_django.models import FreshKAccount
from tests.conftest import ID, access_token, call, deliver, event, local_user, own_users, plain_users, user_behind

pytestmark = pytest.mark.django_db


def test_the_first_call_makes_user_and_link_and_the_second_finds_them():
    first = user_behind(call(access_token()))
    second = user_behind(call(access_token()))
    assert first == second
    assert get_user_model().objects.count() == 1
    assert FreshKAccount.objects.get().user == first
    assert first.freshk_account.freshk_id == ID


def test_the_user_is_the_projects_own_and_has_no_password():
    user = user_behind(call(access_token()))
    assert user._meta.label == settings.AUTH_USER_MODEL
    assert user.get_username() == f"freshk_{ID}"
    assert not user.has_usable_password()
    assert user.is_active


def test_two_ids_are_two_users():
    assert user_behind(call(access_token(ID))) != user_behind(call(access_token(ID + 1)))


@plain_users
def test_a_local_user_with_the_number_of_freshks_id_is_somebody_else():
    local = local_user(pk=ID)
    user = user_behind(call(access_token(ID)))
    assert user != local
    assert user.freshk_account.freshk_id == ID


@plain_users
def test_a_local_user_whose_key_is_another_users_freshk_id_gets_no_part_of_it():
    user = user_behind(call(access_token(ID)))
    assert user.pk != ID
    local = local_user(pk=ID)
    assert user_behind(call(access_token(ID))) == user
    assert not hasattr(local, "freshk_account")


@own_users
def test_a_user_with_a_uuid_is_found_by_its_link():
    user = user_behind(call(access_token()))
    assert isinstance(user.pk, uuid.UUID)
    assert user_behind(call(access_token())) == user


def test_a_local_user_with_the_name_of_a_new_one_is_not_taken_for_it():
    local = local_user(f"freshk_{ID}")
    user = user_behind(call(access_token()))
    assert user != local
    assert user.get_username().startswith(f"freshk_{ID}_")


def test_a_user_that_is_inactive_here_is_refused():
    user = user_behind(call(access_token()))
    user.is_active = False
    user.save()
    response = call(access_token())
    assert (response.status_code, response.data["code"]) == (401, "user_inactive")


def test_no_setting_of_simplejwts_lets_an_inactive_user_in(monkeypatch):
    monkeypatch.setattr(simplejwt.api_settings, "CHECK_USER_IS_ACTIVE", False, raising=False)
    user = user_behind(call(access_token()))
    type(user).objects.update(is_active=False)
    assert call(access_token()).status_code == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"key": "another secret that nobody else knows, 32 bytes"},
        {"exp": 1},
        {"exp": None},
        {"token_type": "refresh"},
        {"token_type": "device"},
        {"token_type": None},
        {"iat": None},
        {"iat": "1"},
        {"iat": True},
        {"jti": None},
        {"user_id": None},
        {"user_id": ""},
        {"user_id": "0"},
        {"user_id": "-1"},
        {"user_id": "01"},
        {"user_id": " 1"},
        {"user_id": "1\n"},
        {"user_id": "\N{ARABIC-INDIC DIGIT ONE}"},
        {"user_id": "1.0"},
        {"user_id": "admin"},
        {"user_id": str(2**63)},
        {"user_id": {"id": ID}},
        {"user_id": [ID]},
        {"user_id": 0},
        {"user_id": True},
        {"user_id": 1.5},
        {"user_id": 2**63},
        {"sid": None},
        {"sid": 1},
        {"sid": "0" * 31},
        {"sid": "0" * 32 + "\n"},
        {"gen": None},
        {"gen": True},
        {"gen": "0"},
    ],
    ids=str,
)
def test_any_other_token_opens_nothing_and_makes_nothing(claims):
    key = claims.get("key")
    claims = {name: value for name, value in claims.items() if name != "key"}
    assert call(access_token(key=key, **claims)).status_code == 401
    assert not get_user_model().objects.exists()
    assert not FreshKAccount.objects.exists()


def test_no_setting_of_simplejwts_makes_another_kind_of_token_good(monkeypatch):
    monkeypatch.setattr(simplejwt.api_settings, "AUTH_TOKEN_CLASSES", [UntypedToken])
    assert call(access_token()).status_code == 200
    assert call(access_token(token_type="device")).status_code == 401


def test_an_id_written_as_a_number_is_the_same_id():
    assert user_behind(call(access_token(user_id=ID))) == user_behind(call(access_token(user_id=str(ID))))
    assert get_user_model().objects.count() == 1


def test_a_call_without_a_token_is_anonymous():
    response = APIClient().get("/me/")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


@plain_users
def test_a_token_that_this_project_issued_is_not_taken_for_freshks():
    local = local_user(pk=57)
    assert call(AccessToken.for_user(local)).status_code == 401
    assert call(RefreshToken.for_user(local)).status_code == 401
    assert not FreshKAccount.objects.exists()


@plain_users
@pytest.mark.parametrize("order", [1, -1])
def test_tokens_of_both_issuers_are_each_their_own(order):
    class Both(APIView):
        authentication_classes = [FreshKAuthentication, LocalJWTAuthentication][::order]
        permission_classes = [IsAuthenticated]

        def get(self, request):
            return Response({"pk": request.user.pk})

    def ask(token):
        return Both.as_view()(APIRequestFactory().get("/", HTTP_AUTHORIZATION=f"Bearer {token}"))

    local = local_user(pk=ID)
    assert user_behind(ask(AccessToken.for_user(local))) == local
    theirs = user_behind(ask(access_token(ID)))
    assert theirs != local
    assert theirs.freshk_account.freshk_id == ID


def test_an_imported_user_without_a_link_waits_and_gets_no_second_account(caplog):
    response = call(access_token(57))
    assert (response.status_code, response.data["detail"].code) == (503, "account_not_linked")
    assert "freshk_link" in caplog.text
    assert not get_user_model().objects.exists()
    assert not FreshKAccount.objects.exists()


def test_an_imported_user_is_found_by_its_link():
    local = local_user()
    FreshKAccount.objects.create(pk=57, user=local)
    assert user_behind(call(access_token(57))) == local


def test_ids_that_freshk_gave_are_taken_where_first_id_says_so():
    with override_settings(FRESHK={"FIRST_ID": 1}):
        assert user_behind(call(access_token(57))).freshk_account.freshk_id == 57


def test_a_token_of_the_future_is_good_within_the_leeway(now):
    assert call(access_token(iat=now + 5)).status_code == 200
    assert call(access_token(iat=now + 60)).status_code == 401


@own_users
def test_what_the_token_says_is_in_the_mapped_fields():
    user = user_behind(call(access_token(role="retailer", shop="Main St")))
    assert (user.kind, user.shop) == ("retailer", "Main St")
    assert user.phone is None


@own_users
def test_a_newer_token_changes_the_mapped_fields_and_an_older_one_does_not(now):
    call(access_token(iat=now - 60, role="customer", shop="A"))
    assert user_behind(call(access_token(iat=now - 30, role="retailer", shop="B"))).shop == "B"
    user = user_behind(call(access_token(iat=now - 45, role="customer", shop="C")))
    assert (user.kind, user.shop, user.freshk_account.role) == ("retailer", "B", "retailer")


@own_users
def test_a_value_that_a_field_cannot_take_leaves_no_older_one_there(now, caplog):
    call(access_token(iat=now - 60, shop="A"))
    user = user_behind(call(access_token(iat=now - 30, shop="x" * 21)))
    assert user.shop == ""
    assert "shop" in caplog.text


def test_a_claim_never_makes_a_superuser():
    user = user_behind(call(access_token(is_superuser=True, is_staff=True, pk=1, password="x")))
    assert not user.is_staff
    assert not user.has_usable_password()


@plain_users
@override_settings(FRESHK={"CREATE_USER": "tests.test_authentication.create_user"})
def test_the_projects_own_function_makes_the_user():
    assert user_behind(call(access_token(role="retailer"))).first_name == "retailer"


def create_user(account, facts):
    return get_user_model().objects.create_user(f"member-{account.freshk_id}", first_name=facts["role"])


def test_a_known_user_costs_one_query_and_no_write(django_assert_num_queries):
    token = access_token()
    call(token)
    claims = Claims(ID, FreshKAccount.objects.get().claims_at)
    with django_assert_num_queries(1):
        accounts.user_of(claims)


def test_of_two_first_calls_that_both_saw_nobody_one_makes_the_user(now):
    first = accounts._record_claims(Claims(ID, now * 1000))
    second = accounts._record_claims(Claims(ID, now * 1000))
    assert first.user == second.user
    assert get_user_model().objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_many_first_calls_at_once_make_one_user(caplog):
    caplog.set_level(logging.ERROR)
    token, together, answers = access_token(), threading.Barrier(8), []

    def ask():
        together.wait()
        answers.append(call(token))
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * 8
    assert get_user_model().objects.count() == 1
    assert FreshKAccount.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_many_users_first_called_at_once_are_as_many_users():
    together, answers = threading.Barrier(8), []

    def ask(number):
        together.wait()
        answers.append(call(access_token(ID + number)).data["pk"])
        connection.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(answers)) == 8


def test_a_user_that_was_deleted_here_is_made_anew():
    user = user_behind(call(access_token()))
    user.delete()
    assert not FreshKAccount.objects.exists()
    assert user_behind(call(access_token())).freshk_account.freshk_id == ID


def test_a_token_from_before_the_deactivation_stays_refused_after_it(now):
    old = access_token(iat=now - 100)
    assert call(old).status_code == 200
    deliver(event("user.deactivated", at=now - 60, is_active=False, version=2))
    assert call(old).status_code == 401
    deliver(event("user.activated", at=now - 30, version=3))
    assert call(old).status_code == 401
    assert call(access_token(iat=now - 20)).status_code == 200
