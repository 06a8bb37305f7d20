"""A project with Django's own user model, or with one of its own (`USERS=own`): UUID keys, a phone, a role."""

import os
import tempfile
from pathlib import Path

OWN_USERS = os.environ.get("USERS") == "own"

SECRET_KEY = "a secret that Django and FreshK share, 32 bytes and more"
USE_TZ = not OWN_USERS
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "tests.project.urls"
MIDDLEWARE = ["django.middleware.csrf.CsrfViewMiddleware"]
ALLOWED_HOSTS = ["testserver"]
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "freshk_django"]
INSTALLED_APPS += ["tests.people"] if OWN_USERS else []
AUTH_USER_MODEL = "people.Person" if OWN_USERS else "auth.User"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": ":memory:",
        "OPTIONS": {"timeout": 60},
        # A file: threads have connections of their own.
        "TEST": {"NAME": Path(tempfile.gettempdir(), f"freshk-django-{os.getpid()}.db")},
    }
}
if socket := os.environ.get("TEST_POSTGRES"):
    DATABASES["default"] = {"ENGINE": "django.db.backends.postgresql", "NAME": "freshk", "HOST": socket}
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": ["freshk_django.authentication.FreshKAuthentication"]}
SIMPLE_JWT = {"LEEWAY": 10}
WEBHOOK_SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
ATTRIBUTES = {
    "role": "kind",
    "phone_number": "phone",
    "phone_verified": "phone_is_proven",
    "date_joined": "joined",
    "shop": "shop",
}
FRESHK = {"WEBHOOK_SECRETS": [WEBHOOK_SECRET], "ATTRIBUTES": ATTRIBUTES if OWN_USERS else {}}
