"""What is not YAML is answered at its line and column with what to write instead."""

from __future__ import annotations

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy import nodes
from sidecar.policy.not_yaml import fault
from tests.support.fuzzing import examples

TAB = "a tab stands where only blanks indent: write two blanks for each level"
CASES = {
    # Tabs.
    "tools:\n\tt: {}\n": (2, 1, TAB),
    "a: 1\n\tb: 2\n": (2, 1, TAB),
    "a: 1\r\n\tb: 2\r\n": (2, 1, TAB),
    # A star that was meant as text.
    "tools:\n  *: {rules: []}\n": (2, 3, 'put the text in quotes, as "*"'),
    "tools:\n  *_delete:\n    rules: []\n": (2, 3, 'put the text in quotes, as "*_delete"'),
    "hide: [a, *.x]\n": (1, 11, 'put the text in quotes, as "*.x"'),
    "hide:\n  - *\n": (2, 5, 'put the text in quotes, as "*"'),
    # Escapes in double quotes.
    'value: "^\\d+$"\n': (1, 10, "write the text in single quotes, as '^\\d+$'"),
    'value: "a\\.b\'s"\n': (1, 10, "write the text in single quotes, as 'a\\.b''s'"),
    'value: "C:\\Users"\n': (1, 13, "write the text in single quotes, as 'C:\\Users'"),
    # Colons.
    "reason: Not allowed: ask\n": (1, 9, 'write reason: "Not allowed: ask"'),
    "rules:\n  - action: deny\n    reason: see: this\n": (3, 13, 'write reason: "see: this"'),
    '"t": a: b\n': (1, 6, 'write "t": "a: b"'),
    "- {action: deny, reason: a: b}\n": (1, 27, "put a text with a colon and a blank in quotes"),
    "a: 'x': y\n": (1, 7, "put the whole value in quotes"),
    "tools\n  t: 1\n": (1, 1, "a colon is missing: write tools:"),
    "a: 1\nb\nc: 2\n": (2, 1, "a colon is missing: write b:"),
    "a:1\nb: 2\n": (1, 3, "a blank is missing after the colon: write a: 1"),
    # Dashes and indentation.
    "rules:\n  - action: deny\n  action: allow\n": (3, 3, "write a dash in column 3 for its next item"),
    "rules:\n  - name: x\n   action: deny\n": (3, 4, "or begin in column 5 to go on with the item before"),
    "rules:\n  action: deny\n  - action: allow\n": (3, 3, "write a dash before line 2 too"),
    "rules: - action: deny\n": (1, 8, "begin the next line with the dash"),
    "a: 1\n b: 2\n": (2, 2, "begin it in column 1"),
    "a:\n   b: 1\n  c: 2\n": (3, 3, "begin it in column 4 to go on with line 2"),
    # Quotes.
    "a: 'x\nb: 1\n": (1, 4, "never closed: write ' at the end"),
    'a: "x\nb: 1\n': (1, 4, 'never closed: write " at the end'),
    "a: 'it's'\n": (1, 8, "write '' for a quote in single quotes"),
    'a: "say "no""\n': (1, 10, "put the whole value in single quotes"),
    # Brackets.
    "a: [1, 2\nb: 1\n": (1, 4, "the [ that begins here is never closed: write ]"),
    "a: {x: 1\nb: 1\n": (1, 4, "the { that begins here is never closed: write }"),
    "a: [1": (1, 4, "the [ that begins here is never closed: write ]"),
    "a: [1, 2}\n": (1, 9, "closed by }: write ]"),
    "a: ]\n": (1, 4, "a value cannot begin with ]"),
    "a: [1]]\n": (1, 7, "or remove what follows"),
    "a: [^/]+\n": (1, 8, "put a text that begins with a bracket in single quotes"),
    "- {path: args.a[0], op: eq}\n": (1, 16, 'write "args.a[0]"'),
    "- {path: args.a[*].b, op: eq}\n": (1, 10, 'write "args.a[*].b"'),
    '- {path: args["a"], op: eq}\n': (1, 14, "write 'args[\"a\"]'"),
    # Commas.
    "a: {x: 1 y: 2}\n": (1, 11, "write a comma before y"),
    "- {path: 'args.a' op: eq}\n": (1, 19, "a comma is missing before this"),
    "a: {x: 1,, y: 2}\n": (1, 10, "a value is missing before this comma"),
    # What no text begins with.
    "a: @x\n": (1, 4, 'put it in quotes, as "@x"'),
    "a: %x\n": (1, 4, 'put it in quotes, as "%x"'),
    "a: `x`\n": (1, 4, 'put it in quotes, as "`x`"'),
    "%x: 1\n": (1, 1, "put the text in quotes, or remove the line"),
    "op: >=\nvalue: 5\n": (1, 5, 'put the value in quotes, as ">="'),
    "- {op: >=, value: 1}\n": (1, 8, 'put it in quotes, as ">="'),
    "reason: & more\n": (1, 9, "put the text in quotes"),
    # Others.
    "a: &x 1\nb: &x 2\n": (2, 4, "the anchor &x stands in line 1 already"),
    "a: 1\nb: *c\n": (2, 4, 'put the text in quotes, as "*c"'),
    "a: 1\nb: x\x07y\n": (2, 5, "YAML holds no character U+0007: remove it"),
    "a: 1\n...\nb: 2\n": (3, 1, "write one policy to a file"),
}


@pytest.mark.parametrize("text", CASES)
def test_what_is_not_yaml_is_answered_with_what_to_write(text: str) -> None:
    node, [problem] = nodes.parse(text, "p.yaml")
    line, column, words = CASES[text]
    assert (problem.place.line, problem.place.column) == (line, column)
    assert words in problem.text
    assert isinstance(node, nodes.Scalar)
    assert node.value is None


LIKELY = st.text(st.sampled_from("ab:-[]{}\"'*&!%@`#|>?,\\ \n\t\r\x07éx0$."), max_size=60)


@examples(300)
@given(LIKELY)
def test_any_text_that_is_not_yaml_has_a_fault_at_a_place_in_it(text: str) -> None:
    try:
        list(yaml.compose_all(text, Loader=yaml.CBaseLoader))
    except yaml.YAMLError as error:
        found = fault(text, error)
        assert 1 <= found.line <= len(text.splitlines()) + 2
        assert 1 <= found.column <= len(text) + 2
        assert re.search(r"write|put|remove|begin|give|missing", found.text)
        assert "\n" not in found.text
