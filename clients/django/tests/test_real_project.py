import os
import sqlite3
import subprocess

import django
import pytest

from tests.conftest import plain_users
from tests.real import ENVIRONMENT, SETTINGS, URLS, Project

# It is the same whichever model the other tests use.
pytestmark = plain_users

MIB = 1 << 20


def test_a_new_project_is_told_what_it_lacks_until_it_lacks_nothing(tmp_path):
    project = Project(tmp_path, SETTINGS.replace('"rest_framework", "freshk_django"', '"rest_framework"'))
    project.append("urls.py", URLS)
    assert "freshk_django is not in INSTALLED_APPS" in project.manage("check", fails=True)
    project.append("settings.py", 'INSTALLED_APPS += ["freshk_django"]\n')
    assert "no issues" in project.manage("check", "--database", "default")
    project.manage("migrate")
    assert "No changes detected" in project.manage("makemigrations", "--check")
    assert "no issues" in project.manage("check", "--database", "default")
    project.append("settings.py", 'SIMPLE_JWT = {"SIGNING_KEY": "x" * 40}\n')
    told = project.manage("check")
    assert "(freshk.W005)" in told
    assert "(freshk.W006)" in told


@pytest.mark.skipif(django.VERSION < (5,), reason="once is enough")
def test_users_are_exported_without_being_held(tmp_path):
    users = 200_000
    project = Project(tmp_path)
    project.manage("migrate")
    fill(project, 1, 1_000)
    small = peak(project)
    fill(project, 1_001, users)
    assert peak(project) < small + 16 * MIB
    with (project.folder / "users.csv").open(encoding="utf-8") as file:
        ids = [int(line.split(",", 1)[0]) for line in list(file)[1:]]
    assert ids == list(range(1, users + 1))


def fill(project, first, last):
    """Adds users with numbers in the column of first names."""
    with sqlite3.connect(project.folder / "db.sqlite3") as database:
        database.execute(
            """
            WITH RECURSIVE number(n) AS (VALUES(?) UNION ALL SELECT n + 1 FROM number WHERE n < ?)
            INSERT INTO auth_user
                (id, username, first_name, last_name, email, password, is_superuser, is_staff, is_active, date_joined)
            SELECT n, 'user' || n, '+49170' || (1000000 + n), '', '', '', 0, 0, 1, '2026-01-31 12:00:00' FROM number
            """,
            (first, last),
        )


def peak(project):
    """The most memory that an export takes, bytes."""
    command = project.command("freshk_export", project.folder / "users.csv", "--phone-field=first_name")
    process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * 1024
