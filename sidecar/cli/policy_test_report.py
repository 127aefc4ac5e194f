"""What `sidecar policy test` says: a table of the tests, each failure with its places, and what no test shows."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Final

from sidecar.engine.rego_tests import Coverage, RegoTest, RegoTests
from sidecar.policy.custom import CUSTOM
from sidecar.policy.facts import file_name
from sidecar.policy.model import Policy
from sidecar.rehearsal.junit import Outcome, Suite
from sidecar.rehearsal.telling import told
from sidecar.rehearsal.testing import CaseResult
from sidecar.rehearsal.touched import Touched, Unshown
from sidecar.repository.compiled import COMPILED
from sidecar.repository.folder import REGO
from sidecar.repository.subject import Subject
from sidecar.text import shown, visible

WIDTH: Final = 80
_NAMES: Final = WIDTH - 3 * 9
"""Characters of the first column of the table."""


@dataclass(slots=True)
class Report:
    """All that was found: the results of the cases, what they show of the rules, the Rego's own tests.

    `rego` is None where there is no hand-written Rego, `differing` are the files of the compiled policy that
    are not what it would be compiled to now.
    """

    about: Subject
    policy: Policy
    results: tuple[CaseResult, ...]
    touched: Touched
    rego: RegoTests | None = None
    differing: tuple[Path, ...] = field(default=())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd about the policy itself."""
        return self.about.warnings

    @property
    def failed(self) -> bool:
        """True where a test failed, there is none, or the compiled policy is out of date."""
        rego = self.rego is not None and self.rego.failed
        return not self.results or any(one.failed for one in self.results) or rego or bool(self.differing)

    @property
    def complete(self) -> bool:
        """True where the tests leave nothing unshown."""
        return self.touched.complete and (self.rego is None or self.rego.percent == 100)

    def lines(self) -> Iterator[str]:
        """All of it as lines for a person."""
        yield from self._table()
        for result in self.results:
            if result.failed:
                yield from ("", f"FAILED  {visible(result.case.name)}")
                yield from (f"  {line}" for line in self._failure(result))
        if self.rego is not None:
            yield from self._about_rego(self.rego)
        for path in self.differing:
            options = shlex.join(part for source in self.policy.sources for part in ("-c", source.file))
            folder = self.about.path / COMPILED
            yield f"{path}: differs; run `sidecar compile {options} -o {shlex.quote(str(folder))}`"
        yield from self._about_rules()
        yield from ("", self._total())

    def suites(self) -> list[Suite]:
        """The same results as suites of tests, one a file."""
        suites = [
            Suite(file, [self._outcome(result) for result in results])
            for file, results in groupby(self.results, lambda result: result.case.place.file)
        ]
        if self.rego is not None:
            suites.append(Suite(self._rego_folder, [self._rego_outcome(test) for test in self.rego.tests]))
        if self.differing:
            why = [f"{path}: differs from what the policy compiles to" for path in self.differing]
            suites.append(Suite(COMPILED, [Outcome("the compiled policy is up to date", COMPILED, 1, 0.0, why)]))
        return suites

    # The cases.

    def _table(self) -> Iterator[str]:
        yield f"{'tests':<{_NAMES}}{'cases':>9}{'steps':>9}{'failed':>9}"
        for file, group in groupby(self.results, lambda result: result.case.place.file):
            results = list(group)
            yield _row(visible(file), len(results), _steps(results), sum(one.failed for one in results))
        if self.rego is not None:
            failed = sum(test.failed for test in self.rego.tests)
            yield _row(self._rego_folder, len(self.rego.tests), len(self.rego.tests), failed)

    def _failure(self, result: CaseResult) -> Iterator[str]:
        for number, step in enumerate(result.steps, 1):
            if step.wrong:
                yield from told(step, number, self._places)

    def _outcome(self, result: CaseResult) -> Outcome:
        place = result.case.place
        return Outcome(result.case.name, place.file, place.line, result.seconds, list(self._failure(result)))

    @property
    def _places(self) -> dict[str, str]:
        return {file_name(source.file): source.file for source in self.policy.sources}

    def _total(self) -> str:
        failed = sum(one.failed for one in self.results)
        if not self.results:
            return "There is no case: write tests/policy.yaml, a list of cases, each with a name and steps."
        how = f"{failed} FAILED" if failed else "all as expected"
        if self.policy.mode == "monitor":
            how += "; the policy only monitors, so every call is forwarded"
        return f"{_counted(len(self.results), 'case')}, {_counted(_steps(self.results), 'step')}: {how}"

    # The rules.

    def _about_rules(self) -> Iterator[str]:
        found = self.touched
        if not self.results:
            return
        yield from _listed("No test touches these rules:", found.untouched)
        yield from _listed("No test shows that these rules refuse a call, or ask about one:", found.never_refused)
        yield from _listed("No test shows that these rules let a call pass:", found.never_passed)
        if found.unguarded:
            rego = f" (but the Rego in {self._rego_folder} may)" * bool(self.about.custom.files)
            yield from ("", f"No rule looks at these tools{rego}, and they may be called:")
        for tool in found.unguarded:
            named = tool.named
            where = f"named without rules at {visible(named.file)}:{named.line}" if named else "named nowhere"
            yield f"  {shown(tool.tool)}: {where}"

    # The Rego.

    @property
    def _rego_folder(self) -> str:
        return visible(str(self.about.path / REGO))

    def _about_rego(self, rego: RegoTests) -> Iterator[str]:
        for test in rego.tests:
            if test.failed:
                yield from ("", f"FAILED  {test.name}")
                yield from (f"  {line}" for line in self._rego_failure(test))
        if not rego.tests:
            yield from ("", f"{self._rego_folder} has no test: write one, as {REGO}/rules_test.rego")
        elif rego.coverage:
            yield from ("", f"{self._rego_folder}: tests reach {rego.percent:.0f} % of its lines")
            for file in rego.coverage:
                if file.missed:
                    yield f"  {self._rego_file(file.file)}: not line {_ranges(file)}"

    def _rego_file(self, path: str) -> str:
        return visible(str(self.about.path / REGO / path.removeprefix(f"{CUSTOM}/")))

    def _rego_outcome(self, test: RegoTest) -> Outcome:
        failure = self._rego_failure(test) if test.failed else []
        return Outcome(test.name, self._rego_file(test.file), test.line, test.seconds, failure, test.skipped)

    def _rego_failure(self, test: RegoTest) -> list[str]:
        why = [f"  {visible(line)}" for line in test.why.splitlines()]
        hint = [] if why else ["  print(…) in the test shows here what it had"]
        return [f"{self._rego_file(test.file)}:{test.line}: the test does not hold", *why, *hint]


def _row(name: str, cases: int, steps: int, failed: int) -> str:
    # The end of a path says more than its beginning.
    name = name if len(name) < _NAMES else f"…{name[-(_NAMES - 2) :]}"
    return f"{name:<{_NAMES}}{cases:>9}{steps:>9}{failed:>9}"


def _steps(results: Sequence[CaseResult]) -> int:
    return sum(len(one.steps) for one in results)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _listed(title: str, rules: Sequence[Unshown]) -> Iterator[str]:
    if rules:
        yield from ("", title)
    for one in rules:
        yield f"  {visible(one.place.file)}:{one.place.line}: {shown(one.entry)}: {shown(one.rule)}"


def _ranges(file: Coverage) -> str:
    """The lines that no test reached, neighbours joined: `3-5, 9`."""
    ranges: list[list[int]] = []
    for line in file.missed:
        if ranges and line == ranges[-1][1] + 1:
            ranges[-1][1] = line
        else:
            ranges.append([line, line])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
