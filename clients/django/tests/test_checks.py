import datetime as dt

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.checks import run_checks
from django.db import models
from django.test import override_settings
from django.urls import include, path
from rest_framework.decorators import api_view, authentication_classes
from rest_framework.views import APIView
from rest_framework_simplejwt import authentication as simplejwt

from freshk_django.authentication import FreshKAuthentication, LocalJWTAuthentication
from freshk_django.models import FreshKAccount
from tests.conftest import ID, local_user, own_users, plain_users

JWT = "rest_framework_simplejwt.authentication."
urlpatterns = []


def found(**kwargs):
    """The ids of what the checks of this package find."""
    return {message.id for message in run_checks(**kwargs) if message.id.startswith("freshk.")}


def found_with(**changes):
    with override_settings(**changes):
        return found()


def freshk(**changes):
    return found_with(FRESHK=settings.FRESHK | changes)


def jwt(**changes):
    return found_with(SIMPLE_JWT=settings.SIMPLE_JWT | changes)


def views(*callbacks):
    """Routes these views beside the project's own."""
    urlpatterns[:] = [path("", include("tests.project.urls")), *(path(f"{n}/", c) for n, c in enumerate(callbacks))]
    return override_settings(ROOT_URLCONF=__name__)


def test_a_project_as_it_should_be_has_nothing_to_mend():
    assert found() == set()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ALGORITHM": "HS512"}, {"freshk.E001"}),
        ({"ALGORITHM": "ES256"}, {"freshk.E002"}),
        ({"ALGORITHM": "ES256", "JWK_URL": "https://login.example/.well-known/jwks.json"}, set()),
        ({"ALGORITHM": "EdDSA", "VERIFYING_KEY": "PEM"}, set()),
        ({"USER_ID_CLAIM": "sub"}, {"freshk.E003"}),
        ({"TOKEN_TYPE_CLAIM": None}, {"freshk.E003"}),
        ({"JTI_CLAIM": None}, {"freshk.E003"}),
        ({"SIGNING_KEY": "short"}, {"freshk.E004"}),
        ({"SIGNING_KEY": None}, {"freshk.E004"}),
        ({"SIGNING_KEY": "another secret that nobody else knows, 32 bytes"}, {"freshk.W005"}),
        ({"LEEWAY": 0}, {"freshk.W006"}),
        ({"LEEWAY": None}, {"freshk.W006"}),
        ({"LEEWAY": "10"}, {"freshk.W006"}),
        ({"LEEWAY": dt.timedelta(seconds=10)}, set()),
        ({"LEEWAY": 61}, {"freshk.W007"}),
        ({"LEEWAY": dt.timedelta(minutes=2)}, {"freshk.W007"}),
    ],
    ids=str,
)
def test_simplejwt_has_to_read_freshks_tokens(changes, expected):
    assert jwt(**changes) == expected


def test_without_a_word_on_leeway_there_is_none():
    assert found_with(SIMPLE_JWT={}) == {"freshk.W006"}


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ([JWT + "JWTAuthentication"], {"freshk.E008", "freshk.W010"}),
        (["freshk_django.authentication.FreshKAuthentication", JWT + "JWTAuthentication"], {"freshk.E008"}),
        (
            [
                "freshk_django.authentication.FreshKAuthentication",
                "freshk_django.authentication.LocalJWTAuthentication",
                "rest_framework.authentication.SessionAuthentication",
            ],
            set(),
        ),
        ([JWT + "JWTStatelessUserAuthentication"], {"freshk.W009", "freshk.W010"}),
        ([], {"freshk.W010"}),
    ],
    ids=str,
)
def test_no_default_may_take_freshks_id_for_a_primary_key(classes, expected):
    urlpatterns[:] = [path("freshk/", include("freshk_django.urls"))]
    changes = {"REST_FRAMEWORK": {"DEFAULT_AUTHENTICATION_CLASSES": classes}, "ROOT_URLCONF": __name__}
    assert found_with(**changes) == expected


class Subclass(simplejwt.JWTAuthentication):
    """Looks users up as its parent does."""


class OwnWay(simplejwt.JWTAuthentication):
    def get_user(self, validated_token):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ([simplejwt.JWTAuthentication], {"freshk.E008"}),
        ([FreshKAuthentication, Subclass], {"freshk.E008"}),
        ([OwnWay], set()),
        ([LocalJWTAuthentication, FreshKAuthentication], set()),
    ],
    ids=str,
)
def test_no_view_may_take_freshks_id_for_a_primary_key(classes, expected):
    class View(APIView):
        authentication_classes = classes

    @api_view(["GET"])
    @authentication_classes(classes)
    def function(request):
        raise NotImplementedError

    for view in (View.as_view(), function):
        with views(view):
            assert found() == expected


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"ATTRIBUTE": {}},
        {"attributes": {}},
        {1: 2},
        {"ATTRIBUTES": ["role"]},
        {"ATTRIBUTES": {"role": 1}},
        {"USERNAME": "user"},
        {"CREATE_USER": "create_user"},
        {"CREATE_USER": print},
        {"WEBHOOK_SECRETS": "whsec_x"},
        {"WEBHOOK_SECRETS": [None]},
        {"ON_DELETE": "keep"},
        {"FIRST_ID": "1"},
        {"FIRST_ID": 0},
        {"FIRST_ID": True},
    ],
    ids=str,
)
def test_a_setting_that_is_none_is_told(value):
    assert found_with(FRESHK=value) == {"freshk.E011"}


def test_a_misspelt_setting_is_told_with_the_right_name():
    with override_settings(FRESHK={"WEBHOOK_SECRET": []}):
        assert any("Did you mean 'WEBHOOK_SECRETS'?" in message.msg for message in run_checks())


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("nothing", {"freshk.E012"}),
        ("freshk_account", {"freshk.E012"}),
        ("id", {"freshk.E013"}),
        ("password", {"freshk.E013"}),
        ("is_active", {"freshk.E013"}),
        ("is_staff", {"freshk.E013"}),
    ],
)
def test_what_freshk_says_is_mapped_to_plain_fields_only(field, expected):
    assert freshk(ATTRIBUTES={"role": field}) == expected


@plain_users
def test_a_claim_cannot_be_mapped_to_the_superusers_mark_or_to_groups():
    assert freshk(ATTRIBUTES={"role": "is_superuser"}) == {"freshk.E013"}
    assert freshk(ATTRIBUTES={"role": "groups"}) == {"freshk.E012"}


@own_users
def test_a_unique_field_has_to_bear_that_its_value_is_not_known(monkeypatch):
    monkeypatch.setattr(get_user_model()._meta.get_field("phone"), "null", False)
    assert found() == {"freshk.E014"}
    assert freshk(ATTRIBUTES={}) == {"freshk.E017"}
    assert freshk(ATTRIBUTES={}, CREATE_USER="tests.test_authentication.create_user") == set()


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (models.CharField(max_length=9), set()),
        (models.CharField(max_length=9, unique=True), {"freshk.E017"}),
        (models.CharField(max_length=9, unique=True, null=True), set()),
        (models.CharField(max_length=9, unique=True, default=str), set()),
        (models.BooleanField(), {"freshk.E017"}),
        (models.DateField(), {"freshk.E017"}),
        (models.DateField(auto_now_add=True), set()),
        (models.IntegerField(), {"freshk.E017"}),
        (models.IntegerField(default=0), set()),
        (models.ForeignKey(Group, models.CASCADE), {"freshk.E017"}),
        (models.ForeignKey(Group, models.CASCADE, null=True), set()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_field_that_needs_a_value_keeps_new_users_from_being_made(monkeypatch, field, expected):
    field.set_attributes_from_name("extra")
    meta = get_user_model()._meta
    monkeypatch.setitem(meta.__dict__, "concrete_fields", (*meta.concrete_fields, field))
    assert found() == expected


def test_the_function_that_makes_users_has_to_be_there():
    assert freshk(CREATE_USER="tests.nowhere.create_user") == {"freshk.E015"}
    assert freshk(CREATE_USER="tests.conftest.nothing") == {"freshk.E015"}


def test_usernames_have_to_fit(monkeypatch):
    name = get_user_model()._meta.get_field(get_user_model().USERNAME_FIELD)
    monkeypatch.setattr(name, "max_length", 23)
    assert found() == {"freshk.E016"}
    monkeypatch.setattr(name, "max_length", 24)
    assert found() == set()


@pytest.mark.parametrize("secret", ["", "whsec_", "MDEyMzQ1Njc4OWFiY2RlZjAx", "whsec_%%%", "whsec_" + "AAAA" * 5])
def test_a_webhook_secret_has_to_be_one(secret):
    assert freshk(WEBHOOK_SECRETS=[secret]) == {"freshk.E018"}


def test_the_webhook_has_to_have_a_secret_and_a_url():
    assert freshk(WEBHOOK_SECRETS=[]) == {"freshk.E019"}
    urlpatterns[:] = []
    assert found_with(ROOT_URLCONF=__name__) == {"freshk.W020"}
    assert found_with(ROOT_URLCONF=__name__, FRESHK={}) == set()


@plain_users
@pytest.mark.django_db
def test_primary_keys_have_to_stay_away_from_freshks_ids():
    local_user("below", pk=ID - 1)
    assert found(databases=["default"]) == set()
    local = local_user("reaching", pk=ID)
    assert found(databases=["default"]) == {"freshk.W021"}
    assert found() == set()  # without a database nothing is asked of one
    account = FreshKAccount.objects.create(pk=ID + 1, user=local)
    assert found(databases=["default"]) == {"freshk.W021"}
    account.delete()
    FreshKAccount.objects.create(pk=ID, user=local)
    assert found(databases=["default"]) == set()


@plain_users
@pytest.mark.django_db
def test_where_freshk_begins_lower_primary_keys_have_to_stay_below_that():
    local_user(pk=57)
    with override_settings(FRESHK=settings.FRESHK | {"FIRST_ID": 57}):
        assert found(databases=["default"]) == {"freshk.W021"}
    with override_settings(FRESHK=settings.FRESHK | {"FIRST_ID": 58}):
        assert found(databases=["default"]) == set()


@own_users
@pytest.mark.django_db
def test_uuids_never_meet_freshks_ids():
    local_user()
    assert found(databases=["default"]) == set()
