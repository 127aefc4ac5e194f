"""Tests of hand-written Rego run in OPA itself, and what they reach is told by line."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from sidecar.engine import binary
from sidecar.engine.rego_tests import RegoTests, rego_tests
from sidecar.errors import PolicyError, StartError
from sidecar.policy.custom_builtins import BUILTINS, IN_TESTS
from tests.support import OPA

RULE = """package intercept.custom

violations contains {"rule": "a", "reason": "no"} if {
	input.tool == "t"
	input.arguments.n > 5
}

violations contains {"rule": "b", "reason": "no"} if {
	input.tool == "u"
}
"""
TEST = """package intercept.custom_test

import data.intercept.custom

test_large if {
	count(custom.violations) == 1 with input as {"tool": "t", "arguments": {"n": 6}}
}
"""


def run(tests: str, **more: str) -> RegoTests:
    files = {"intercept/custom/rules.rego": RULE, "intercept/custom/rules_test.rego": tests, **more}
    return rego_tests(OPA, {".manifest": '{"roots": ["intercept"]}', **files}, "intercept/custom")


def test_what_tests_reach_is_told_by_line() -> None:
    found = run(TEST)
    assert not found.failed
    assert [(test.name, test.file, test.line) for test in found.tests] == [
        ("intercept.custom_test.test_large", "intercept/custom/rules_test.rego", 5)
    ]
    (coverage,) = found.coverage
    assert (coverage.file, coverage.covered, coverage.missed) == ("intercept/custom/rules.rego", 3, (8, 9))
    assert found.percent == 60


def test_a_module_that_no_test_reads_is_not_reached() -> None:
    other = "package intercept.custom.other\n\nlarge if input.arguments.n > 5\n"
    coverage = run(TEST, **{"intercept/custom/other.rego": other}).coverage
    assert [(file.file, file.missed) for file in coverage] == [
        ("intercept/custom/other.rego", (3,)), ("intercept/custom/rules.rego", (8, 9))
    ]  # fmt: skip


def test_a_test_that_does_not_hold_fails_and_shows_what_it_printed() -> None:
    found = run(f'{TEST}\ntest_wrong if {{\n\tprint("n is", 5)\n\tcount(custom.violations) == 7\n}}\n')
    assert found.failed
    assert [(test.name, test.why) for test in found.tests if test.failed] == [
        ("intercept.custom_test.test_wrong", "n is 5")
    ]
    assert found.coverage == ()


def test_a_test_that_is_to_be_done_is_skipped() -> None:
    found = run(f"{TEST}\ntodo_test_later if false\n")
    assert not found.failed
    assert {test.name.rpartition(".")[2]: test.skipped for test in found.tests} == {
        "test_large": False, "todo_test_later": True
    }  # fmt: skip


def test_no_tests_are_no_tests() -> None:
    assert run("package intercept.custom_test\n") == RegoTests((), ())


@pytest.mark.parametrize(
    ("tests", "said"), [("package intercept.custom_test\n\ntest_x if y\n", "var y is unsafe"), ("package x\n", "roots")]
)
def test_rego_that_opa_cannot_read_is_told(tests: str, said: str) -> None:
    with pytest.raises(StartError, match=said):
        run(tests)


# What a test reaches: nothing.

REACHING = {
    "http.send": 'http.send({"method": "get", "url": "URL"})',
    "net.lookup_ip_addr": 'net.lookup_ip_addr("localhost")',
    "json.match_schema": 'json.match_schema("x", {"$ref": "URL"})',
    "json.verify_schema": 'json.verify_schema({"$ref": "file:///dev/zero"})',
}
SCHEMA = """# METADATA
# scope: package
# schemas:
#   - input: {"$ref": "URL"}
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that nobody may connect to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


def url(server: socket.socket) -> str:
    return f"http://127.0.0.1:{server.getsockname()[1]}/"


@pytest.mark.parametrize("name", REACHING)
def test_no_test_reaches_the_network_or_a_file(name: str, listener: socket.socket) -> None:
    call = REACHING[name].replace("URL", url(listener))
    with pytest.raises(StartError) as caught:
        run(f"{TEST}\ntest_reaches if {call}\n")
    said = str(caught.value)
    assert f"intercept/custom/rules_test.rego:9: rego_type_error: undefined function {name}" in said
    assert said.endswith(f"no test reaches the network or files: write what {name} would give into the test")
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize("target", ["URL", "file:///dev/zero"])
@pytest.mark.parametrize("scope", ["package", "rule", "subpackages"])
def test_no_schema_of_a_test_is_fetched(target: str, scope: str, listener: socket.socket) -> None:
    schema = SCHEMA.replace("URL", target).replace("URL", url(listener)).replace("scope: package", f"scope: {scope}")
    tests = f"{TEST}\n{schema}test_more if true\n" if scope == "rule" else schema + TEST
    with pytest.raises(PolicyError) as caught:
        run(tests)
    line = 13 if scope == "rule" else 5
    assert caught.value.problems == [
        f"rego/custom/rules_test.rego:{line}:1: schemas: a schema can be fetched from anywhere: remove it"
    ]
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_other_annotations_stay_and_time_dice_and_what_opa_runs_with_can_be_asked_for() -> None:
    tests = "# METADATA\n# description: What the rules refuse\n" + TEST
    asked = 'time.now_ns() > 0\n\trand.intn("a", 5) < 5\n\tis_object(opa.runtime())'
    found = run(f"{tests}\ntest_more if {{\n\t{asked}\n}}\n")
    assert [test.failed for test in found.tests] == [False, False]


def test_what_is_open_to_a_test_is_known_of_every_function_of_opa() -> None:
    known = json.loads(binary.run([OPA, "capabilities", "--current"]).stdout)["builtins"]
    odd = {one["name"] for one in known if one.get("nondeterministic")}
    assert odd - IN_TESTS == set(REACHING), "another one: look whether it reaches anything"
    assert odd >= IN_TESTS
    assert not BUILTINS & set(REACHING)
