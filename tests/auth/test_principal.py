"""Principals and workloads as values: keys that cannot collide, documents of what is known."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.auth.principal import Principal
from sidecar.system.workload import workload

TEXT = st.text(alphabet='a",[]:\\/|1\n', max_size=6)


@given(TEXT, TEXT, TEXT, TEXT)
def test_two_principals_have_one_key_only_if_they_are_one(issuer: str, subject: str, other: str, another: str) -> None:
    same = (issuer, subject) == (other, another)
    assert (Principal(subject, issuer).key == Principal(another, other).key) is same


def test_the_document_holds_every_claim() -> None:
    claims = {"iss": "i", "sub": "s", "aud": "a", "groups": ["ops"], "exp": 1, "jti": "x"}
    assert Principal("s", "i", claims).document == {"subject": "s", "issuer": "i", "claims": claims}
    assert Principal("token").document == {"subject": "token", "issuer": "", "claims": {}}


def test_claims_are_not_shown_where_a_principal_is() -> None:
    assert "ops" not in repr(Principal("s", "i", {"groups": ["ops"]}))


def test_a_workload_is_what_kubernetes_says_bounded_and_visible() -> None:
    assert workload({}) == {}
    assert workload({"POD_NAME": "", "POD_NAMESPACE": "prod", "HOME": "/"}) == {"namespace": "prod"}
    names = workload({"POD_NAME": "p" * 300, "SERVICE_ACCOUNT": "a\u202eb\n"})
    assert names == {"pod": "p" * 253, "service_account": "a\\u202eb\\n"}
