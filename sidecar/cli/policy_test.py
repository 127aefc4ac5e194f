"""`sidecar policy test`: the tests of a policy, and what they leave unshown."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sidecar.cli.options import OpaBin
from sidecar.cli.policy_test_report import Report
from sidecar.cli.printing import complain, say
from sidecar.engine import binary
from sidecar.engine.rego_tests import rego_tests
from sidecar.errors import StartError, UsageError
from sidecar.policy.bundle import build
from sidecar.policy.compile import compile_policy
from sidecar.policy.custom import CUSTOM
from sidecar.rehearsal.cases import Case, load_cases
from sidecar.rehearsal.judging import rehearsal
from sidecar.rehearsal.junit import junit
from sidecar.rehearsal.testing import CaseResult, run_cases
from sidecar.rehearsal.touched import touched
from sidecar.repository import folder
from sidecar.repository.compiled import COMPILED, differing
from sidecar.repository.folder import Repository, is_repository, repository
from sidecar.repository.subject import Subject, merged, subject


def policy_test_command(
    context: typer.Context,
    paths: Annotated[
        list[Path], typer.Argument(metavar="DIR | TESTS.yaml…", help="A policy repository; with -c, files of tests.")
    ],
    config: Annotated[
        list[Path] | None,
        typer.Option(
            "-c", "--config", envvar="SIDECAR_CONFIG", metavar="FILE", show_default=False,
            help="The policy that the files test, in place of a repository; several are merged.",
        ),
    ] = None,
    junit_file: Annotated[
        Path | None,
        typer.Option("--junit", envvar="SIDECAR_JUNIT", metavar="FILE", help="Write the results as JUnit XML too."),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", envvar="SIDECAR_STRICT", help="Fail too where the tests leave something unshown."),
    ] = False,
    opa_bin: OpaBin = None,
) -> int:  # fmt: skip
    """Test a policy by calls. Ends with 1 when a test fails, with 2 when a file of tests cannot be read."""
    if paths[0].is_dir():
        if config and _stands_in_the_command(context, "config"):
            raise UsageError(f"{paths[0]} is a folder, and -c is for files of tests: leave one of the two")
        report = _of_repository(_repository(paths), binary.find(opa_bin))
    elif not config:
        raise UsageError(f"{paths[0]} is no folder: name a policy repository, or the policy that it tests with -c")
    else:
        cases = load_cases(paths)
        opa = binary.find(opa_bin)
        report = _judged(merged(config, opa), cases, opa)
    complain(*report.warnings)
    say(*report.lines())
    if junit_file is not None:
        _write(junit_file, junit(report.suites()))
    return 1 if report.failed or (strict and not report.complete) else 0


def _stands_in_the_command(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _repository(paths: Sequence[Path]) -> Repository:
    if len(paths) > 1:
        raise UsageError("name one policy repository")
    if not is_repository(paths[0]):
        raise UsageError(
            f"{paths[0]} is no policy repository: its policies must stand in {paths[0] / folder.POLICIES}; begin one "
            "with `sidecar policy init`"
        )
    return repository(paths[0])


def _of_repository(found: Repository, opa: Path) -> Report:
    cases = load_cases(found.tests)
    about = subject(found.folder, opa)
    report = _judged(about, cases, opa)
    tests = folder.rego_tests(found.folder)
    if about.custom.files or tests:
        report.rego = rego_tests(opa, {**about.bundle.files, **tests}, CUSTOM)
    report.differing = _differing(about, found)
    return report


def _judged(about: Subject, cases: tuple[Case, ...], opa: Path) -> Report:
    assert about.policy is not None  # no bundle is tested here, only its sources
    tools = about.repository.tools if about.repository is not None else None
    results = asyncio.run(_run(about, cases, opa)) if cases else ()
    return Report(about, about.policy, results, touched(about.policy, results, tools))


async def _run(about: Subject, cases: tuple[Case, ...], opa: Path) -> tuple[CaseResult, ...]:
    async with rehearsal(about.bundle, opa) as judge:
        return await run_cases(cases, judge)


def _differing(about: Subject, found: Repository) -> tuple[Path, ...]:
    """The files of the folder that keeps the compiled policy, where there is one, that are not as they would be now."""
    compiled = found.folder / COMPILED
    folder.refuse_foreign(found.folder, compiled)
    if not compiled.is_dir() or about.policy is None:
        return ()
    try:
        files = build(compile_policy(about.policy), serial=1).files
        return tuple(compiled / path for path in differing(files, compiled))
    except OSError as error:
        raise StartError(f"cannot read {compiled}: {error.strerror}") from None


def _write(path: Path, data: bytes) -> None:
    try:
        # No link is followed: the repository may have one of this name.
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        with os.fdopen(file, "wb") as stream:
            stream.write(data)
    except OSError as error:
        why = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise StartError(f"cannot write {path}: {why}; name another file with --junit") from None
