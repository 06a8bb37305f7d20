"""Logs in, refreshes and is refused with the client that openapi-python-client wrote: log_in.py URL CONSOLE."""

import re
import sys
from datetime import datetime
from pathlib import Path

from fresh_k_client import AuthenticatedClient, Client
from fresh_k_client.api.production import status
from fresh_k_client.api.sessions import list_sessions, logout, refresh_tokens
from fresh_k_client.api.testing import testing_request_code, testing_verify_code
from fresh_k_client.models import (
    AccountUser,
    ErrorBody,
    ErrorCode,
    LoginResponse,
    LogoutRequest,
    MessageResponse,
    OtpRequest,
    OtpSentResponse,
    OtpVerifyRequest,
    RefreshRequest,
    SessionListResponse,
    StatusResponse,
    TokenPair,
)

url, console = sys.argv[1:]
phone = "+12025550124"
client = Client(base_url=url)

sent = testing_request_code.sync(client=client, body=OtpRequest(phone_number=phone))
assert isinstance(sent, OtpSentResponse) and sent.is_new_user, sent
code = re.findall(r"code is (\d+)", Path(console).read_text())[-1]

wrong = f"{(int(code) + 1) % 10 ** len(code):0{len(code)}}"
refused = testing_verify_code.sync(client=client, body=OtpVerifyRequest(phone_number=phone, otp=wrong))
assert isinstance(refused, ErrorBody) and refused.code is ErrorCode.INVALID_OTP, refused

login = testing_verify_code.sync(
    client=client,
    body=OtpVerifyRequest(phone_number=phone, otp=code),
    idempotency_key="a-key-of-a-generated-client",
    x_device_name="Python",
)
assert isinstance(login, LoginResponse) and login.user.phone_number == phone, login

pair = refresh_tokens.sync(client=client, body=RefreshRequest(refresh=login.refresh))
assert isinstance(pair, TokenPair), pair

with AuthenticatedClient(base_url=url, token=pair.access) as bearer:
    known = status.sync(client=bearer)
    assert isinstance(known, StatusResponse) and isinstance(known.user, AccountUser), known
    assert known.user.id == login.user.id, known
    devices = list_sessions.sync(client=bearer)
    assert isinstance(devices, SessionListResponse), devices
    assert [device.device for device in devices.sessions] == ["Python"], devices
    assert isinstance(devices.sessions[0].created_at, datetime), devices
    assert isinstance(logout.sync(client=client, body=LogoutRequest(refresh=pair.refresh)), MessageResponse)
    gone = status.sync(client=bearer)
    assert isinstance(gone, ErrorBody) and gone.code is ErrorCode.TOKEN_INVALID, gone

print("openapi-python-client: logged in, refreshed, logged out")
