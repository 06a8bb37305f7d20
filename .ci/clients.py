"""Logs in at a debug server and hands its tokens to real clients: simplejwt under the shared secret, PyJWKClient under the
published keys. Then the other way round: what simplejwt issued before the move. Usage: clients.py FRESHK"""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import django
from django.conf import settings

FRESHK = os.path.abspath(sys.argv[1])
SECRET = "a secret that Django and FreshK share, 32 bytes and more"
PHONE = "+1234567890"
PATIENCE = 20

settings.configure(
    SECRET_KEY=SECRET,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "rest_framework"],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTStatelessUserAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    },
    SIMPLE_JWT={"ALGORITHM": "HS256", "SIGNING_KEY": SECRET, "USER_ID_CLAIM": "user_id", "LEEWAY": 10},
)
django.setup()

import jwt  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.test import APIRequestFactory  # noqa: E402
from rest_framework.views import APIView  # noqa: E402
from rest_framework_simplejwt.backends import TokenBackend  # noqa: E402
from rest_framework_simplejwt.tokens import RefreshToken  # noqa: E402
from rest_framework_simplejwt.views import TokenRefreshView  # noqa: E402


class WhoAmI(APIView):
    def get(self, request):
        return Response({"id": request.user.id, "role": request.auth["role"]})


def ask_django(token):
    """Calls a protected view of Django REST framework: status and body."""
    request = APIRequestFactory().get("/", HTTP_AUTHORIZATION=f"Bearer {token}")
    response = WhoAmI.as_view()(request)
    return response.status_code, response.data


def refresh_at_django(token):
    """Calls simplejwt's own refresh view, as a project may still route it: status and body."""
    response = TokenRefreshView.as_view()(APIRequestFactory().post("/", {"refresh": token}, format="json"))
    return response.status_code, response.data


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what, found):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if (value := found()) is not None:
            return value
        time.sleep(0.05)
    sys.exit(f"{what}: not within {PATIENCE} s")


@contextlib.contextmanager
def server(folder, **variables):
    """A debug server of its own; gives its address and a function that reads what it printed."""
    port, printed = free_port(), os.path.join(folder, "printed")
    environment = {
        "PATH": os.environ["PATH"],
        "SECRET_KEY": SECRET,
        "DATABASE_URL": f"sqlite://{folder}/freshk.db",
        "FRESHK_LOG__LEVEL": "warn",
        "FRESHK_OPS__LISTEN": "off",
        **variables,
    }
    with open(printed, "w", encoding="utf-8") as output:
        command = [FRESHK, "serve", "--dev", "--listen", f"127.0.0.1:{port}"]
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
    address = f"http://127.0.0.1:{port}"

    def read():
        with open(printed, encoding="utf-8") as text:
            return text.read()

    def ready():
        if process.poll() is not None:
            sys.exit(f"the server ended:\n{read()}")
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"{address}/health/ready").status
        return None

    try:
        until("ready", ready)
        yield address, read
    finally:
        process.terminate()
        process.wait()


def post(address, path, body):
    headers = {"Content-Type": "application/json"}
    url = f"{address}/api/mobile/auth{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def answer(address, path, body=None, token=None):
    """Status and body, whatever the status; a GET unless there is a body."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}/api/mobile/auth{path}", data, headers)
    try:
        with urllib.request.urlopen(request) as found:
            return found.status, json.load(found)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def log_in(address, read):
    post(address, "/request/", {"phone_number": PHONE})
    code = until("the code", lambda: re.search(r"code is (\d{6})", read())).group(1)
    return post(address, "/verify/", {"phone_number": PHONE, "otp": code})


def check(what, found, expected):
    if found != expected:
        sys.exit(f"FAIL {what}: {found!r} in place of {expected!r}")
    print(f"ok   {what}")


def main():
    with tempfile.TemporaryDirectory() as folder, server(folder) as (address, read):
        login = log_in(address, read)
        status, body = ask_django(login["access"])
        check("simplejwt accepts the access token", status, 200)
        check("simplejwt maps user_id and role", (str(body["id"]), body["role"]), (str(login["user"]["id"]), "retailer"))
        ahead = jwt.decode(login["access"], SECRET, algorithms=["HS256"]) | {"iat": int(time.time()) + 4}
        check("LEEWAY lets our clock be ahead", ask_django(jwt.encode(ahead, SECRET, algorithm="HS256"))[0], 200)
        check("simplejwt refuses the refresh token", ask_django(login["refresh"])[0], 401)
        check("simplejwt refuses a changed token", ask_django(login["access"][:-2] + "xx")[0], 401)
        refreshed = post(address, "/token/refresh/", {"refresh": login["refresh"]})
        check("simplejwt accepts the refreshed access token", ask_django(refreshed["access"])[0], 200)

        # A user of that id is there, so that only the signature can be what the view refuses.
        user, _ = User.objects.get_or_create(id=login["user"]["id"], username="asha")
        own = RefreshToken.for_user(user)
        check("simplejwt's refresh view renews a token of simplejwt's", refresh_at_django(str(own))[0], 200)
        for what, token in [("first", login["refresh"]), ("rotated", refreshed["refresh"])]:
            status, body = refresh_at_django(token)
            check(f"simplejwt's refresh view refuses our {what} refresh token", (status, body["code"]), (401, "token_not_valid"))
        for what, token in [("an access", refreshed["access"]), ("a refresh", refreshed["refresh"])]:
            check(f"token/verify/ knows {what} token", answer(address, "/token/verify/", {"token": token})[0], 200)
        claims = jwt.decode(refreshed["refresh"], options={"verify_signature": False})
        forged = jwt.encode(claims, SECRET, algorithm="HS256")
        check("simplejwt's refresh view would renew what the secret signs", refresh_at_django(forged)[0], 200)
        check("we do not", answer(address, "/token/refresh/", {"refresh": forged})[0], 401)

    with tempfile.TemporaryDirectory() as folder:
        with server(folder, FRESHK_TOKENS__ACCESS_TTL="1s") as (address, read):
            access = log_in(address, read)["access"]
            refused = until("expiry", lambda: next((a for a in [ask_django(access)] if a[0] != 200), None))
            messages = json.dumps(refused[1], default=str)
            check("simplejwt refuses an expired token as such", (refused[0], "expired" in messages), (401, True))

    for algorithm in ["EdDSA", "ES256", "RS256"]:
        with tempfile.TemporaryDirectory() as folder:
            keys = os.path.join(folder, "tokens.pem")
            subprocess.run([FRESHK, "key", "generate", "--algorithm", algorithm, "--out", keys], check=True, stdout=subprocess.DEVNULL)
            variables = {
                "FRESHK_TOKENS__ALGORITHM": algorithm,
                "FRESHK_TOKENS__KEY_FILE": keys,
                "FRESHK_TOKENS__ISSUER": "https://login.example",
                "FRESHK_TOKENS__AUDIENCE": "shop",
            }
            with server(folder, **variables) as (address, read):
                old = log_in(address, read)
            subprocess.run(
                [FRESHK, "key", "rotate"], check=True, cwd=folder, stdout=subprocess.DEVNULL,
                env={"DEBUG": "True", **variables},
            )
            with server(folder, **variables) as (address, _):
                new = post(address, "/token/refresh/", {"refresh": old["refresh"]})
                url = f"{address}/.well-known/jwks.json"
                client = jwt.PyJWKClient(url)
                for name, token in [("new", new["access"]), ("rotated", old["access"])]:
                    key = client.get_signing_key_from_jwt(token)
                    claims = jwt.decode(token, key, algorithms=[algorithm], audience="shop", issuer="https://login.example")
                    check(f"PyJWKClient accepts the {name} {algorithm} token", claims["user_id"], str(old["user"]["id"]))
                kids = {jwt.get_unverified_header(token)["kid"] for token in (old["access"], new["access"])}
                check(f"the {algorithm} tokens name two keys", len(kids), 2)
                backend = TokenBackend(algorithm, jwk_url=url, audience="shop", issuer="https://login.example")
                check(f"simplejwt's JWK_URL accepts the {algorithm} token", backend.decode(new["access"])["token_type"], "access")


def move():
    """Tokens that simplejwt issued, at a FreshK to which its users have moved."""
    before = RefreshToken.for_user(User(id=57, username="asha"))
    refresh, access = {"refresh": str(before)}, str(before.access_token)
    switch = {"FRESHK_TOKENS__ACCEPT_FOREIGN": "True", "FRESHK_TOKENS__REUSE_GRACE": "0s"}
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "users.csv"), "w", encoding="utf-8") as users:
            users.write(f"id,username,phone_number,phone_verified\n57,asha,{PHONE},true\n")
        subprocess.run(
            [FRESHK, "user", "import", "users.csv"], check=True, cwd=folder, stdout=subprocess.DEVNULL,
            env={"DEBUG": "True", "SECRET_KEY": SECRET, "DATABASE_URL": f"sqlite://{folder}/freshk.db"},
        )
        with server(folder) as (address, _):
            check("off by default, simplejwt's access token is refused", answer(address, "/production/status/", token=access)[0], 401)
            check("and so is its refresh token", answer(address, "/token/refresh/", refresh)[0], 401)
        with server(folder, **switch) as (address, _):
            status, body = answer(address, "/production/status/", token=access)
            check("simplejwt's access token is accepted", (status, body.get("user", {}).get("username")), (200, "asha"))
            check("simplejwt's refresh token is no access token", answer(address, "/production/status/", token=str(before))[0], 401)
            status, pair = answer(address, "/token/refresh/", refresh)
            check("simplejwt's refresh token is exchanged", status, 200)
            check("simplejwt accepts what it was exchanged for", ask_django(pair["access"])[0], 200)
            again = answer(address, "/token/refresh/", refresh)
            check("a lost answer is forgiven", (again[0], again[1].get("refresh")), (200, pair["refresh"]))
            check("the new access token is accepted", answer(address, "/production/status/", token=pair["access"])[0], 200)
            # The use is noted a moment after its answer.
            refused = until("reuse", lambda: next((a for a in [answer(address, "/token/refresh/", refresh)] if a[0] != 200), None))
            check("after that, a second exchange is refused", (refused[0], refused[1].get("code")), (401, "token_reused"))
            check("and ends the session", answer(address, "/token/refresh/", {"refresh": pair["refresh"]})[0], 401)
            other = RefreshToken.for_user(User(id=58, username="nobody"))
            check("the token of one who did not move is refused", answer(address, "/token/refresh/", {"refresh": str(other)})[0], 401)


call_command("migrate", verbosity=0)
main()
move()
