"""Where spans go: what the option and OpenTelemetry's variables may say, and what is said of mistakes in them."""

from __future__ import annotations

import pytest

from sidecar.cli.otlp_options import exposed_headers, otlp_at
from sidecar.errors import UsageError
from sidecar.settings import Otlp

URL = "http://localhost:4318"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": URL, "OTEL_EXPORTER_OTLP_HEADERS": "nonsense"}


def found(environ: dict[str, str] | None = None, url: str = URL) -> Otlp:
    otlp = otlp_at(url, environ or {})
    assert otlp is not None
    return otlp


def test_without_the_option_spans_go_nowhere_whatever_the_environment_says() -> None:
    assert otlp_at(None, ENDPOINT) is None


def test_headers_and_attributes_come_from_the_variables_of_opentelemetry() -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20s3cr3t%2Cx , x-tenant = a=b,",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=prod,service.name=other,note=%E2%9C%93",
    }
    assert found(environ).headers == (("authorization", "Bearer s3cr3t,x"), ("x-tenant", "a=b"))
    assert dict(found(environ).resource).items() >= {
        "service.name": "other", "deployment.environment.name": "prod", "note": "✓",
    }.items()  # fmt: skip
    assert dict(found(environ | {"OTEL_SERVICE_NAME": "mine"}).resource)["service.name"] == "mine"
    assert dict(found().resource)["service.name"] == "intercept-sidecar"


def test_what_is_no_utf8_in_an_attribute_is_escaped() -> None:
    environ = {"OTEL_RESOURCE_ATTRIBUTES": "a\udcff=b\udcff", "OTEL_SERVICE_NAME": "\udcff"}
    assert dict(found(environ).resource).items() >= {"a\\xff": "b\\xff", "service.name": "\\xff"}.items()


def test_headers_for_traces_win_over_those_for_all() -> None:
    environ = {"OTEL_EXPORTER_OTLP_HEADERS": "a=1,b=1", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "a=2"}
    assert found(environ).headers == (("a", "2"),)


@pytest.mark.parametrize("url", ["localhost:4318", "grpc://localhost:4317", "http://", "http://u:p@h/", "http://h/#f"])
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"^--otlp: "):
        found(url=url)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("s3cr3t", "item 1 is not written name=value"), ("a=1,=s3cr3t", "item 2 is not written name=value"),
        ("Content-Type=s3cr3t", "is ours to send"), ("host=s3cr3t", "is ours to send"),
        ("a b=s3cr3t", "no name of a header"), ("Authorization: Basic s3cr3t==", "write NAME=VALUE"),
        ("a=s3cr3t%0d%0ab: c", "characters that no header can carry"),
        ("a=s3cr3t%E2%9C%93", "characters that no header can carry"),
    ],
)  # fmt: skip
def test_a_header_that_cannot_be_sent_is_refused_without_its_value(value: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        found({"OTEL_EXPORTER_OTLP_HEADERS": value})
    assert str(caught.value).startswith("OTEL_EXPORTER_OTLP_HEADERS: ")
    assert said in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_headers_stand_in_no_representation() -> None:
    assert "s3cr3t" not in repr(found({"OTEL_EXPORTER_OTLP_HEADERS": "a=s3cr3t"}))


@pytest.mark.parametrize(
    ("url", "headers", "warned"),
    [
        ("http://collector:4318", "a=s3cr3t", True), ("https://collector:4318", "a=s3cr3t", False),
        ("http://127.0.0.1:4318", "a=s3cr3t", False), ("http://collector:4318", "", False),
    ],
)  # fmt: skip
def test_headers_that_travel_to_another_machine_as_plain_text_are_warned_of(
    url: str, headers: str, *, warned: bool
) -> None:
    warning = exposed_headers(found({"OTEL_EXPORTER_OTLP_HEADERS": headers}, url))
    assert (warning is not None) is warned
    assert "s3cr3t" not in (warning or "")
