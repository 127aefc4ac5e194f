"""The comment for a pull request: of bounded length, the worst first, and nothing in it but text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.cli.policy_diff_markdown import LONGEST, code, markdown
from sidecar.rehearsal.diff.comparing import Compared
from sidecar.rehearsal.diff.differences import Difference, Found, Seen
from sidecar.rehearsal.judging import Action


def difference(at: int, old: Action, new: Action, text: str = "x") -> Difference:
    seen = [Seen(action, "rule", f"{text}{at}", text, "policy.yaml", at) for action in (old, new)]
    return Difference(f"{text}{at}", {text: text * 9}, seen[0], seen[1], {text: text}, {"test": text}, text)


def compared(*differences: Difference) -> Compared:
    found = Found()
    for one in differences:
        found.note(one)
    return Compared(found, (), (), ("tool",) * 999, ("file.rego",) * 999)


@given(st.text(max_size=400))
def test_text_from_outside_is_one_code_span_on_one_line(text: str) -> None:
    made = code(text)
    assert made[0] == made[-1] == "`"
    inside = made[1:-1]
    assert inside.strip() == inside != ""
    assert not {"`", "|", "\n", "\r"} & set(inside)


@given(st.text(alphabet="`|<>[]()@#*_!&\\\n -x", min_size=1, max_size=40))
def test_no_text_of_a_call_gets_out_of_its_span(text: str) -> None:
    made = markdown(compared(difference(1, "deny", "allow", text)))
    [row] = [line for line in made.splitlines() if "refused<br>" in line]
    spans = row.split("`")
    assert len(spans) % 2 == 1
    outside = "".join(spans[::2]).replace("<br>", "")
    assert not set("<>[]()@#*_!&\\") & set(outside)
    assert outside.count("|") == 5


def test_a_comment_is_bounded_and_what_becomes_allowed_comes_first() -> None:
    many = [difference(at, "allow", "deny", "long" * 30) for at in range(2000)]
    made = markdown(compared(*many, difference(1, "deny", "allow")))
    assert len(made) <= LONGEST + 100
    assert made.index("allowed from now on") < made.index("Stricter")


def test_where_nothing_becomes_allowed_that_is_said() -> None:
    assert "No call that was found goes from refused to allowed." in markdown(compared(difference(1, "allow", "deny")))
