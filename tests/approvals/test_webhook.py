"""What a webhook is told, signed so that it can tell that it was us: values only, no network."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import msgspec
import pytest

from sidecar.approvals.document import After, document
from sidecar.approvals.webhook import MAX_BODY, PAUSES, TRIED_FOR, again_in, body, signed, webhook
from sidecar.errors import StartError
from sidecar.ledger.approvals import Notice, Record
from sidecar.policy.terms import ApprovalTerms
from tests.approvals.calls import asked

SECRET = "correct horse battery staple"
URL = "https://hooks.example.com/T0/s3cr3t-path"
NOW = 1_800_000_000.0


def notice(event: str = "pending", *, attempts: int = 0, arguments: str = '{"sz":1.10}', timeout: int = 1800) -> Notice:
    """Something to tell, of now."""
    record = Record("apr_1", asked(arguments=arguments, timeout=timeout), "pending", NOW, NOW, NOW + timeout)
    return msgspec.convert(
        {"id": "ntc_1", "event": event, "at": NOW, "attempts": attempts, "record": record}, Notice, from_attributes=True
    )


def terms(url: str = URL, secret_env: str = "HOOK_SECRET") -> ApprovalTerms:
    return ApprovalTerms(webhook=url, secret_env=secret_env)


def secret_of(text: str) -> bytes:
    hook = webhook(terms(), lambda _: text)
    assert hook is not None
    return hook.secret


def refused(policy: ApprovalTerms, text: str = SECRET) -> str:
    with pytest.raises(StartError) as error:
        webhook(policy, lambda name: text if name == "HOOK_SECRET" else "")
    return str(error.value)


def test_a_policy_without_a_webhook_has_none_and_needs_no_secret() -> None:
    assert webhook(ApprovalTerms(), lambda _: "") is None


def test_a_secret_is_text_or_what_is_encoded_after_whsec() -> None:
    assert secret_of(SECRET) == SECRET.encode()
    assert secret_of("whsec_" + base64.b64encode(b"k" * 32).decode()) == b"k" * 32


@pytest.mark.parametrize(("text", "why"), [
    ("", "the environment variable HOOK_SECRET is not set: make one with `openssl rand -base64 32`"),
    ("tiny", "the secret in HOOK_SECRET is shorter than 24 bytes"),
    ("whsec_dGlueQ==", "the secret in HOOK_SECRET is shorter than 24 bytes"),
    ("whsec_???", "the secret in HOOK_SECRET cannot be read"),
])  # fmt: skip
def test_a_secret_that_is_none_is_said_with_what_to_do_and_without_its_value(text: str, why: str) -> None:
    said = refused(terms(), text)
    assert why in said
    assert not text or text not in said


def test_a_webhook_without_the_name_of_its_secret_is_refused() -> None:
    assert "needs secret_env" in refused(terms(secret_env=""))


@pytest.mark.parametrize("url", ["http://hooks.example.com/x", "http://10.0.0.1/x", "http://127.0.0.1.evil.example/x"])
def test_what_a_person_is_asked_does_not_travel_as_plain_text(url: str) -> None:
    assert "must begin with https://" in refused(terms(url))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x", "http://localhost/x", "http://[::1]:9/x", URL])
def test_plain_text_to_this_machine_is_fine(url: str) -> None:
    assert webhook(terms(url), lambda _: SECRET) is not None


@pytest.mark.parametrize("url", ["ftp://x", "https://user:pass@hooks.example.com/", "https://"])
def test_what_is_no_url_of_a_receiver_is_refused_without_a_password_in_the_text(url: str) -> None:
    assert "pass@" not in refused(terms(url))


def test_neither_secret_nor_url_is_shown() -> None:
    hook = webhook(terms(), lambda _: SECRET)
    assert "horse" not in repr(hook)
    assert "s3cr3t" not in repr(hook)


def test_the_body_is_the_document_of_the_approval_with_the_page_to_answer_on() -> None:
    one = notice()
    after = (After("per day", 5, 10),)
    found = json.loads(body(one, "https://desk.example.com/approvals/apr_1", NOW, after))
    assert found == {
        "event": "approval.pending", "time": "2027-01-15T08:00:00.000Z",
        "url": "https://desk.example.com/approvals/apr_1", "left_out": [], "approval": found["approval"],
    }  # fmt: skip
    assert found["approval"].keys() == document(one.record, NOW).keys()
    assert found["approval"]["limits_after"] == [{"rule": "per day", "total": 5, "limit": 10}]


def test_numbers_of_arguments_stay_as_they_were_written() -> None:
    assert b'"arguments":{"sz":1.10}' in body(notice(), None, NOW)


@pytest.mark.parametrize("event", ["pending", "decided", "expired"])
def test_the_event_has_a_name_for_each_that_is_told(event: str) -> None:
    assert json.loads(body(notice(event), None, NOW))["event"] == f"approval.{event}"


def test_arguments_too_large_for_most_receivers_stay_out_and_the_body_says_so() -> None:
    told = body(notice(arguments=json.dumps({"note": "x" * MAX_BODY})), "https://desk", NOW)
    found = json.loads(told)
    assert len(told) < 4_000
    assert "arguments" in found["left_out"]
    assert found["approval"]["arguments"] is None
    assert found["approval"]["digest"]


def test_the_signature_is_that_of_standard_webhooks() -> None:
    # The example of the specification's reference libraries.
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }  # fmt: skip


def test_another_body_time_or_id_has_another_signature() -> None:
    said = [
        signed(b"k" * 32, id_, at, content)["webhook-signature"]
        for id_, at, content in [("a", 1, b"x"), ("b", 1, b"x"), ("a", 2, b"x"), ("a", 1, b"y"), ("a.1", 1, b"x")]
    ]
    assert len(set(said)) == 5
    assert said[0] == "v1," + base64.b64encode(hmac.digest(b"k" * 32, b"a.1.x", hashlib.sha256)).decode()


def test_pauses_grow_until_a_day_is_over() -> None:
    now, attempts, pauses = NOW, 0, []
    while (pause := again_in(notice("decided", attempts=attempts), now)) is not None:
        pauses.append(pause)
        now, attempts = now + pause, attempts + 1
    assert pauses[: len(PAUSES)] == list(PAUSES)
    assert set(pauses[len(PAUSES) :]) == {PAUSES[-1]}
    assert TRIED_FOR - PAUSES[-1] < sum(pauses) < TRIED_FOR


def test_that_a_call_waits_is_not_told_after_its_time() -> None:
    assert again_in(notice(timeout=60), NOW + 58) == 1
    assert again_in(notice(timeout=60), NOW + 59) is None
    assert again_in(notice("decided", timeout=60), NOW + 59) == 1
