"""JUnit XML is well formed and has the shape that CI systems read, whatever the names and messages hold."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from sidecar.rehearsal.junit import Outcome, Suite, junit

texts = st.text(st.characters(), min_size=1) | st.sampled_from(["\x00", "]]>", "<a&b>", "\ud800", "\ufffe", "a\u202eb"])
outcomes = st.builds(
    Outcome, name=texts, file=texts, line=st.integers(1, 99), seconds=st.floats(0, 1e6), failure=st.lists(texts),
    skipped=st.booleans(),
)  # fmt: skip


@given(st.lists(st.builds(Suite, name=texts, outcomes=st.lists(outcomes, max_size=3)), max_size=3))
def test_any_results_are_a_document_that_says_them(suites: list[Suite]) -> None:
    root = ElementTree.fromstring(junit(suites))
    assert root.tag == "testsuites"
    assert [suite.tag for suite in root] == ["testsuite"] * len(suites)
    for suite, element in zip(suites, root, strict=True):
        assert int(element.attrib["tests"]) == len(element) == len(suite.outcomes)
        assert int(element.attrib["failures"]) == len(element.findall("testcase/failure"))
        assert int(element.attrib["skipped"]) >= len(element.findall("testcase/skipped"))
        for outcome, case in zip(suite.outcomes, element, strict=True):
            assert case.tag == "testcase"
            assert {"name", "classname", "time", "file", "line"} == case.attrib.keys()
            assert (case.find("failure") is not None) is bool(outcome.failure)
            assert [child.tag for child in case] in ([], ["failure"], ["skipped"])


def test_what_xml_cannot_carry_is_written_as_an_escape() -> None:
    failure = ["a.yaml:3: step 1: t", "  got deny \x1b[31m"]
    (suite,) = ElementTree.fromstring(junit([Suite("s", [Outcome("n\x07", "a.yaml", 3, 0.25, failure)])]))
    (case,) = suite
    assert case.attrib == {"name": "n\\u0007", "classname": "s", "time": "0.250", "file": "a.yaml", "line": "3"}
    assert case[0].attrib == {"message": "a.yaml:3: step 1: t", "type": "failure"}
    assert case[0].text == "a.yaml:3: step 1: t\n  got deny \\u001b[31m"
