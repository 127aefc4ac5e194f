"""The command line as somebody meets it who knows another one, mistypes, or asks what there is."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from sidecar import __version__
from sidecar.cli.panels import PANELS
from tests.cli.test_policy_commands import GOOD, sidecar
from tests.support import ROOT, SIDECAR

RUN: tuple[str, ...] = ("-c", "good.yaml", "--state-dir", "state")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "good.yaml").write_text(GOOD)
    (tmp_path / "more.yaml").write_text("tools: {u: {rules: [{action: deny}]}}\n")
    return tmp_path


# Spellings.


@pytest.mark.parametrize("words", [(), ("run",)])
def test_a_run_needs_no_command_of_ours_before_its_options(here: Path, words: tuple[str, ...]) -> None:
    done = sidecar(here, *words, *RUN, "--", "touch", "started")
    assert (here / "started").exists()
    assert any("ready" in line for line in done.errors), done


@pytest.mark.parametrize("option", ["--version", "-v"])
def test_the_version_is_one_line(here: Path, option: str) -> None:
    assert sidecar(here, option).out == f"sidecar {__version__}\n"


@pytest.mark.parametrize(
    "command", [(), ("run",), ("validate",), ("approvals",), ("approvals", "list"), ("policy", "diff")]
)
def test_h_is_help(here: Path, command: tuple[str, ...]) -> None:
    short, long = sidecar(here, *command, "-h"), sidecar(here, *command, "--help")
    assert short == sidecar(here, "help", *command) == long
    assert (long.status, long.errors) == (0, [])
    assert f"Usage: {' '.join(['sidecar', *command])} [OPTIONS]" in long.out


@pytest.mark.parametrize("level", ["warn", "warning", "WARN", "error"])
def test_levels_of_the_log_have_their_usual_names(here: Path, level: str) -> None:
    assert sidecar(here, "run", *RUN, "--log-level", level, "--", "touch", "started").status != 2
    assert (here / "started").exists()


def test_a_level_that_there_is_not_is_wrong_usage(here: Path) -> None:
    done = sidecar(here, "run", *RUN, "--log-level", "loud", "--", "touch", "started")
    assert (done.status, done.errors) == (
        2, ["sidecar: --log-level must be debug or info or warning or error, not 'loud'"],
    )  # fmt: skip


def test_policies_are_named_with_c_or_alone(here: Path) -> None:
    with_c = [sidecar(here, *words, "-c", "good.yaml") for words in (("validate",), ("risks",), ("compile", "-o", "a"))]
    alone = [sidecar(here, *words, "good.yaml") for words in (("validate",), ("risks",), ("compile", "-o", "b"))]
    assert alone == with_c
    assert [done.status for done in alone] == [0, 0, 0]
    assert (here / "a" / ".manifest").read_bytes() == (here / "b" / ".manifest").read_bytes()
    for words in (("good.yaml", "more.yaml"), ("-c", "good.yaml", "more.yaml")):
        assert "2 tools" in sidecar(here, "validate", *words).out


def test_a_named_policy_wins_over_the_one_of_the_environment(here: Path) -> None:
    assert "1 tool with 1 rule;" in sidecar(here, "validate", "more.yaml", SIDECAR_CONFIG="good.yaml").out
    assert "1 tool with 2 rules;" in sidecar(here, "validate", SIDECAR_CONFIG="good.yaml").out


def test_a_command_about_no_policy_says_how_to_name_one(here: Path) -> None:
    for command in ("validate", "risks"):
        done = sidecar(here, command)
        assert done.status == 2
        assert done.errors == [f"sidecar: no policy: name a file, as `sidecar {command} policy.yaml`"]


def test_explain_asks_whose_counters_a_named_folder_has(here: Path) -> None:
    done = sidecar(here, "explain", "-c", "good.yaml", "t", "--state-dir", "state", SIDECAR_STATE_DIR="other")
    assert done.status == 2
    assert done.errors[0].startswith("sidecar: --state-dir needs --server: ")
    assert done.errors[0].endswith("leave out --state-dir")


def test_explain_counts_from_0_where_only_the_environment_names_a_folder(here: Path) -> None:
    words = ("explain", "-c", "good.yaml", "t", "--args", '{"n": 1}')
    done = sidecar(here, *words, SIDECAR_STATE_DIR="state")
    assert (done.status, done.errors) == (0, [])
    assert "counted from 0: no --server given; this call counts 1" in done.out
    assert "counted from 0: no --state-dir given; this call counts 1" in sidecar(here, *words, "--server", "s").out


def test_explain_reads_the_counters_that_the_environment_names_whole(here: Path) -> None:
    done = sidecar(here, "explain", "-c", "good.yaml", "t", SIDECAR_STATE_DIR="state", SIDECAR_SERVER="s")
    assert done.status == 1
    assert done.errors[0].startswith("sidecar: no counters in state/counters.db")


# What is mistyped.


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("ruan", 'there is no command "ruan": did you mean run?; see `sidecar --help`'),
        ("policy dif a b", 'there is no command "dif": did you mean diff?; see `sidecar policy --help`'),
        ("approvals lst", 'there is no command "lst": did you mean list?; see `sidecar approvals --help`'),
        ("mcp-okx", 'there is no command "mcp-okx"; see `sidecar --help`'),
        ("run --confg p.yaml", "there is no option --confg: did you mean --config?; see `sidecar run --help`"),
        ("--confg p.yaml", "there is no option --confg: did you mean --config?; see `sidecar run --help`"),
        (
            "run -c good.yaml npx -y x",
            (
                "-y after npx could be ours or the server's: write -- before the server's command, and options of ours "
                "before that --"
            ),
        ),
        (
            "run -c good.yaml --repository . -- mcp-server-git",
            (
                "there is no option --repository: if it is one of the server's, write -- before the server's command; "
                "see `sidecar run --help`"
            ),
        ),
        ("run --policy p.yaml", "there is no option --policy: did you mean --config?; see `sidecar run --help`"),
        ("run --log x", "there is no option --log: did you mean --log-level?; see `sidecar run --help`"),
        ("run good.yaml x", "no policy: write -c before good.yaml, as `sidecar run -c policy.yaml -- COMMAND`"),
        ("validate -x", "there is no option -x; see `sidecar validate --help`"),
    ],
)
def test_what_is_mistyped_is_said_in_one_line_with_what_was_meant(here: Path, words: str, said: str) -> None:
    done = sidecar(here, *words.split())
    assert (done.status, done.out, done.errors) == (2, "", [f"sidecar: {said}"])


def test_a_mistyped_word_does_not_reach_the_terminal_as_it_is(here: Path) -> None:
    done = sidecar(here, "\x1b[2Jrun\u202e")
    assert done.status == 2
    assert "\x1b" not in done.errors[0]
    assert "\u202e" not in done.errors[0]


@pytest.mark.parametrize("command", [(), ("policy",), ("approvals",), ("audit",)])
def test_no_words_are_wrong_usage_and_answered_with_help_where_no_protocol_is_spoken(
    here: Path, command: tuple[str, ...]
) -> None:
    done = sidecar(here, *command)
    assert (done.status, done.out) == (2, "")
    assert f"Usage: {' '.join(['sidecar', *command])} [OPTIONS] COMMAND" in "\n".join(done.errors)


# The help of `run`.


@pytest.fixture(scope="module")
def help_of_run(tmp_path_factory: pytest.TempPathFactory) -> str:
    return sidecar(tmp_path_factory.mktemp("help"), "run", "--help").out


def test_the_help_of_run_fits_80_columns_and_cuts_nothing(help_of_run: str) -> None:
    assert max(map(len, help_of_run.splitlines())) <= 80
    # In the names and the values of options; a text may have an ellipsis of its own.
    assert [line for line in help_of_run.splitlines() if re.match(r"│ --\S*…", line)] == []


def test_every_option_of_run_is_in_a_group_and_shown_whole(help_of_run: str) -> None:
    for panel, names in PANELS.items():
        _, _, after = help_of_run.partition(f"╭─ {panel} ─")
        shown = re.findall(r"^│ --([a-z-]+)", after.partition("╰")[0], re.MULTILINE)
        assert shown
        assert set(shown) == {name.replace("_", "-") for name in names}
    _, _, rest = help_of_run.partition("╭─ Options ─")
    assert re.findall(r"^│ --([a-z-]+)", rest.partition("╰")[0], re.MULTILINE) == ["help"]


def test_the_help_of_run_names_the_environment_once(help_of_run: str) -> None:
    assert "SIDECAR_STATE_DIR is --state-dir" in " ".join(help_of_run.split())
    assert "[env var: SIDECAR_STATE" not in help_of_run


# What editors and shells are given.


def test_the_schema_is_that_of_the_documentation(here: Path) -> None:
    assert sidecar(here, "schema").out == (ROOT / "docs" / "policy.schema.json").read_text(encoding="utf-8")


COMPLETE = """\
eval "$(sidecar completion bash)"
for words in "$@"; do
    COMP_WORDS=($words)
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _sidecar_completion sidecar
    echo "${COMPREPLY[*]}"
done
"""


def test_bash_completes_commands_and_options(here: Path) -> None:
    asked = (
        "sidecar po",
        "sidecar policy di",
        "sidecar run --audit-s",
        "sidecar -c good.yaml --audit-k",
        "sidecar xyz",
    )
    done = subprocess.run(
        ["bash", "-c", COMPLETE, "bash", *asked], env={"PATH": f"{SIDECAR.parent}:{os.defpath}"}, cwd=here,
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.split("\n") == ["policy", "diff", "--audit-size", "--audit-keep", "", ""]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_and_an_answer(here: Path, shell: str) -> None:
    script = sidecar(here, "completion", shell)
    assert script.status == 0
    assert f"_SIDECAR_COMPLETE=complete_{shell}" in script.out
    asked = {"_SIDECAR_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "sidecar poli"}
    assert "policy" in sidecar(here, **asked, _TYPER_COMPLETE_FISH_ACTION="get-args").out


def test_a_shell_that_there_is_no_script_for_is_wrong_usage(here: Path) -> None:
    done = sidecar(here, "completion", "tcsh")
    assert (done.status, done.errors) == (2, ["sidecar: SHELL must be bash or zsh or fish, not 'tcsh'"])
