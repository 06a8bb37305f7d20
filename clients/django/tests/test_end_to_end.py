"""A real FreshK, a real login by HTTP, a real project: FRESHK names the debug binary."""

import os
import re

import pytest

from tests.conftest import plain_users
from tests.real import URLS, Project, free_port, request, run, serving, until

FRESHK = os.environ.get("FRESHK")
pytestmark = [plain_users, pytest.mark.skipif(FRESHK is None, reason="FRESHK does not name the binary")]

SECRET = "a secret that Django and FreshK share, 32 bytes and more"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WEBHOOK_URL = """
from django.urls import include

urlpatterns += [path("freshk/", include("freshk_django.urls"))]
"""
MEMBER, STRANGER = "+491701234567", "+491709999999"
OWN_NAMES = ["--phone-field=first_name", "--all-verified"]


def test_a_login_at_freshk_opens_the_projects_views(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", SECRET)
    project = Project(tmp_path)
    project.append("urls.py", URLS)
    project.append("settings.py", f"SECRET_KEY = {SECRET!r}\n")
    assert "no issues" in project.manage("check", "--database", "default")
    project.manage("migrate")
    member = "from django.contrib.auth.models import User; User.objects.create(pk=57, username='asha', first_name='{}')"
    project.manage("shell", "-c", member.format("+49 170 1234567"))

    freshk = FreshK(tmp_path)
    project.manage("freshk_export", tmp_path / "users.csv", *OWN_NAMES)
    assert "1 user imported" in freshk.command("user", "import", tmp_path / "users.csv")
    freshk.command("user", "export", tmp_path / "freshk.csv")

    django = f"127.0.0.1:{free_port()}"
    runserver = project.command("runserver", "--noreload", django)
    with (
        serving([*freshk.base, "serve", "--dev", "--listen", freshk.address], freshk.url("/health/live"),
                freshk.printed, env=freshk.environment, cwd=tmp_path),
        serving(runserver, f"http://{django}/me/", tmp_path / "django.log"),
    ):  # fmt: skip
        me = f"http://{django}/me/"
        assert request(me)[0] == 401
        # An imported user is nobody here until it is linked, and gets no second account.
        member = freshk.log_in(MEMBER)
        assert request(me, token=member["access"])[0] == 503
        assert project.manage("freshk_link", tmp_path / "freshk.csv", *OWN_NAMES[:1]) == "linked: 1\n"
        assert request(me, token=member["access"]) == (200, {"pk": 57, "username": "asha", "role": "retailer"})

        stranger = freshk.log_in(STRANGER)
        freshk_id = stranger["user"]["id"]
        status, first = request(me, token=stranger["access"])
        assert (status, first["username"]) == (200, f"freshk_{freshk_id}")
        assert first["pk"] not in (57, freshk_id)
        assert request(me, token=stranger["access"]) == (200, first)
        refreshed = request(freshk.url("/api/mobile/auth/token/refresh/"), {"refresh": stranger["refresh"]})[1]
        assert request(me, token=refreshed["access"]) == (200, first)
        assert request(me, token=stranger["refresh"])[0] == 401
        assert request(me, token=stranger["access"][:-4] + "AAAA")[0] == 401
    users = project.manage("shell", "-c", "from django.contrib.auth.models import User; print(User.objects.count())")
    assert users.split()[-1] == "2"


def test_events_of_freshk_reach_the_project(tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", SECRET)
    project = Project(tmp_path)
    project.append("urls.py", URLS + WEBHOOK_URL)
    project.append("settings.py", f"SECRET_KEY = {SECRET!r}\nFRESHK = {{'WEBHOOK_SECRETS': [{WEBHOOK_SECRET!r}]}}\n")
    project.manage("migrate")
    django = f"127.0.0.1:{free_port()}"
    freshk = FreshK(tmp_path, webhook=f"http://{django}/freshk/webhook/")
    runserver = project.command("runserver", "--noreload", django)
    account = "from freshk_django.models import FreshKAccount as A; print(A.objects.values_list({}).first())"
    with (
        serving([*freshk.base, "serve", "--dev", "--listen", freshk.address], freshk.url("/health/live"),
                freshk.printed, env=freshk.environment, cwd=tmp_path),
        serving(runserver, f"http://{django}/me/", tmp_path / "django.log"),
    ):  # fmt: skip
        assert "took the message: 204" in freshk.command("webhook", "test", "shop")
        login = freshk.log_in(STRANGER)
        me = f"http://{django}/me/"
        assert request(me, token=login["access"])[0] == 200
        told = account.format("'phone_number', 'phone_verified', 'version'")
        assert until(lambda: f"('{STRANGER}', True, 1)" in project.manage("shell", "-c", told))
        # Long before its token expires.
        freshk.command("user", "deactivate", STRANGER)
        assert until(lambda: request(me, token=login["access"])[0] == 401)
        freshk.command("user", "delete", STRANGER, "--yes")
        forgotten = account.format("'phone_number', 'user'")
        assert until(lambda: "(None, None)" in project.manage("shell", "-c", forgotten))


class FreshK:
    """A FreshK with a database of its own."""

    def __init__(self, folder, webhook=None):
        self.base = [FRESHK]
        self.address = f"127.0.0.1:{free_port()}"
        self.printed = folder / "freshk.log"
        self.folder = folder
        self.environment = {
            "PATH": os.environ["PATH"],
            "SECRET_KEY": SECRET,
            "DATABASE_URL": f"sqlite://{folder}/freshk.db",
            "FRESHK_LOG__LEVEL": "warn",
            "FRESHK_OPS__LISTEN": "off",
            "FRESHK_USERS__FIRST_ID": "1000000001",
        }
        if webhook:
            self.environment["FRESHK_WEBHOOKS"] = f"shop|{webhook}|{WEBHOOK_SECRET}"

    def url(self, path):
        return f"http://{self.address}{path}"

    def command(self, *args):
        return run([*self.base, *args], cwd=self.folder, env=self.environment | {"DEBUG": "True"})

    def log_in(self, phone):
        production = self.url("/api/mobile/auth/production")
        before = len(self.printed.read_text())
        assert request(f"{production}/request/", {"phone_number": phone})[0] == 200
        code = until(lambda: re.search(r"code is (\d{6})", self.printed.read_text()[before:])).group(1)
        status, login = request(f"{production}/verify/", {"phone_number": phone, "otp": code})
        assert status == 200, login
        return login
