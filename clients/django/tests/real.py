"""A project made by `django-admin startproject`, driven from outside as its developer does."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

PATIENCE = 60

# The environment of the tests names a settings module of theirs.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("DJANGO_SETTINGS_MODULE", "USERS")}

SETTINGS = """
import os

SECRET_KEY = os.environ.get("SECRET_KEY", SECRET_KEY)
INSTALLED_APPS += ["rest_framework", "freshk_django"]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["freshk_django.authentication.FreshKAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
}
SIMPLE_JWT = {"LEEWAY": 10}
"""

URLS = """
from django.urls import path
from rest_framework.decorators import api_view
from rest_framework.response import Response


@api_view(["GET"])
def me(request):
    user = request.user
    return Response({"pk": user.pk, "username": user.username, "role": user.freshk_account.role})


urlpatterns += [path("me/", me)]
"""


class Project:
    def __init__(self, folder, settings=SETTINGS):
        self.folder = folder / "shop"
        self.folder.mkdir()
        run([sys.executable, "-m", "django", "startproject", "shop", self.folder])
        self.append("settings.py", settings)

    def append(self, name, text):
        with (self.folder / "shop" / name).open("a", encoding="utf-8") as file:
            file.write(text)

    def command(self, *args):
        return [sys.executable, "-W", "error", self.folder / "manage.py", *args]

    def manage(self, *args, fails=False):
        """What a command of `manage.py` printed."""
        return run(self.command(*args), fails=fails)


def run(command, *, fails=False, env=ENVIRONMENT, **options):
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=env, **options)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def serving(command, ready_at, output, **options):
    """Runs a server until the block ends; it begins once the server answers at `ready_at`."""
    with output.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, **{"env": ENVIRONMENT, **options})
    try:
        until(lambda: process.poll() is not None or answers(ready_at))
        assert process.poll() is None, output.read_text()
        yield
    finally:
        process.terminate()
        process.wait()


def answers(url):
    try:
        return bool(request(url))
    except OSError:
        return False


def request(url, body=None, token=None):
    """Status and JSON of an answer, whatever the status."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=PATIENCE)  # noqa: S310
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, json.loads(answer.read())


def until(found):
    """The first value that is true."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(0.05)
    raise TimeoutError
