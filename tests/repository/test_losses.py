"""What a changed file takes away and must say: each file is held against what it said itself, whatever it is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.repository import losses
from sidecar.system.files import Content, Found
from tests.policy.test_compile import bundle_of

CUT = ["", "null\n", "---\n", "tools:\n", 'version: "1"\n', "tools:\n  t:\n", "mode: enforce\n", "mode: monitor\n"]
SAID = "tools: {}\n"
RULES = "tools: {t: {rules: [{action: deny}]}}\n"
LIMITS = {
    "hidden tools": "hide: [t]\n",
    "a closed default": "default: deny\n",
    "closed methods": "methods: {deny: [resources/read]}\n",
    "unknown methods": "methods: {unknown: deny}\n",
    "approvals": "approvals: {four_eyes: true}\n",
    "rules of a class": "classes: {Read: {rules: [{action: deny}]}}\n",
    "a tool with the rules of its class": "classes: {Read: {rules: [{action: deny}]}}\ntools: {t: {class: Read}}\n",
}


def found(path: str, text: str) -> Found:
    return Found(Path(path), Content(text.encode(), (1,), path, False))


def unsaid(before: str, after: str) -> list[str]:
    return losses.unsaid([found("/p.yaml", before)], [found("/p.yaml", after)])


@pytest.mark.parametrize("cut", CUT)
@pytest.mark.parametrize("before", [RULES, *LIMITS.values()])
def test_a_file_that_loses_all_that_it_forbade_must_say_so(before: str, cut: str) -> None:
    assert unsaid(before, before + "# more\n") == []
    assert unsaid("mode: enforce\n" + before, cut) != []
    assert unsaid(before, SAID) == []


@pytest.mark.parametrize("emptied", [0, 1])
@pytest.mark.parametrize("cut", CUT)
@pytest.mark.parametrize("before", [RULES, *LIMITS.values()])
def test_files_of_one_name_in_two_folders_do_not_speak_for_one_another(before: str, cut: str, emptied: int) -> None:
    paths, other = ["/a/policy.yaml", "/b/policy.yaml"], "hide: [u]\n" + RULES.replace("t:", "u:", 1)
    texts = [other, other]
    texts[emptied] = before
    after = [cut if at == emptied else text for at, text in enumerate(texts)]
    (problem,) = losses.unsaid([*map(found, paths, texts)], [*map(found, paths, after)])
    assert problem.startswith(f"{paths[emptied]}: ")


def test_a_file_that_never_said_anything_does_not_stand_in_the_way_of_another() -> None:
    empty, other = found("/a.yaml", ""), found("/b.yaml", RULES)
    assert losses.unsaid([empty, other], [empty, found("/b.yaml", RULES + "hide: [u]\n")]) == []


def test_a_tool_has_the_rules_of_a_class_in_whichever_file_that_stands() -> None:
    classes, tools = found("/c.yaml", "classes: {Read: {rules: [{action: deny}]}}\n"), found("/t.yaml", RULES)
    moved = found("/t.yaml", "tools: {t: {class: Read}}\n")
    assert losses.unsaid([classes, tools], [classes, moved]) == []
    assert losses.unsaid([classes, moved], [classes, found("/t.yaml", "tools: {t: {class: Write}}\n")]) != []


def test_a_part_of_what_was_forbidden_may_go_without_a_word() -> None:
    assert unsaid("default: deny\nhide: [t]\n", "hide: [t]\n") == []


ASKING = """\
tools:
  t: {rules: [{name: a, action: require_approval}, {action: deny, conditions: [{path: args.a, op: eq, value: 1}]}]}
"""
CARE = "approvals: {four_eyes: true, mask: [args.k]}\n"


@pytest.mark.parametrize(("after", "lost"), [
    (CARE + ASKING, 0), (ASKING, 2 / 5), (CARE + ASKING.replace("require_approval", "allow"), 1 / 5),
    (CARE + ASKING.replace("require_approval}", "require_approval, mode: monitor}"), 2 / 5),
    (CARE + ASKING.replace("require_approval}", "require_approval, mode: shadow}"), 2 / 5),
    (CARE + ASKING.replace("{action: deny,", "{action: deny, mode: shadow,"), 1 / 5),
    ("mode: monitor\n" + CARE + ASKING, 1),
    (CARE + ASKING.replace("{name: a, action: require_approval}, ", ""), 3 / 5), (CARE, 3 / 5), ("", 1),
    (CARE.replace("[args.k]", "[args.other]") + ASKING, 1 / 5),
])  # fmt: skip
def test_what_asks_people_and_what_they_may_not_see_are_restrictions_too(after: str, lost: float) -> None:
    assert losses.share(bundle_of(CARE + ASKING), bundle_of(after)) == lost


def test_a_file_that_loses_its_only_rule_which_asks_must_say_so() -> None:
    before = "tools: {t: {rules: [{action: require_approval}]}}\n"
    assert unsaid(before, "tools:\n") != []
    assert unsaid(before, "tools: {t: {rules: []}}\n") == []
