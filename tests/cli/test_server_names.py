"""The name that a server has by its command: what counts together is called the same, and nothing else is."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.cli.server_names import server_name


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("mcp-okx", "mcp-okx"),
        ("/opt/bin/mcp-okx --http", "mcp-okx"),
        ("npx -y @modelcontextprotocol/server-filesystem@2026.8.31 /data", "server-filesystem"),
        ("npx --package foo bar", "bar"),
        ("npx -y --registry https://npm.example.com foo", "foo"),
        ("uvx mcp-server-git --repository .", "mcp-server-git"),
        ('uvx --with "mcp<2" mcp-server-sqlite --db-path shop.db', "mcp-server-sqlite"),
        ("uvx --python 3.11 mcp-server-time", "mcp-server-time"),
        ("uvx --python=3.11 mcp-server-time@2026.10.19", "mcp-server-time"),
        ("uvx --from git+https://git.example.com/x mcp-x", "mcp-x"),
        ("uv run --with mcp --directory /srv server.py", "server"),
        ("uv run python server.py", "server"),
        ("uv tool run mcp-server-time", "mcp-server-time"),
        ("pipx run --spec mcp-x==1 mcp-x", "mcp-x"),
        ("python3.12 -X dev -u -P server.py", "server"),
        ("python -m mcp_server_git", "mcp_server_git"),
        ("node -r dotenv/config dist/index.js", "index"),
        ("env A=b C=d uvx mcp-server-time", "mcp-server-time"),
        ("env -u A -i uvx mcp-server-time", "mcp-server-time"),
        ("docker run -i --rm mcp/sqlite", "sqlite"),
        ("docker run -it --rm -e TOKEN -v /d:/d --network=none ghcr.io/x/github-mcp-server:v1", "github-mcp-server"),
        ("docker run --interactive --mount type=bind,src=/a,dst=/a mcp/fetch@sha256:0123 --flag", "fetch"),
        ("podman container run --pull never --init localhost:5000/mcp/time", "time"),
        ("docker run -iteTOKEN -v/data:/data -p8080:80 mcp/sqlite --db-path x", "sqlite"),
        ("docker run -ite TOKEN mcp/sqlite", "sqlite"),
        ("docker run -i -- mcp/sqlite", "sqlite"),
        ("docker compose -f tools.yaml run --rm time", "time"),
        ("npm exec -- mcp-x", "mcp-x"),
        ("pnpm dlx mcp-x@1", "mcp-x"),
        ("docker", "docker"),
        ("env", "env"),
        ("python -c pass", "python"),
        ('sh -c "serve one"', "serve one"),
    ],
)  # fmt: skip
def test_a_server_is_called_by_the_program_that_its_launcher_starts(command: str, name: str) -> None:
    assert server_name(shlex.split(command)) == name


@given(st.lists(st.text(max_size=20), min_size=1, max_size=8).filter(lambda words: words[0] != ""))
def test_every_command_has_a_name(command: list[str]) -> None:
    assert server_name(command)


@given(
    st.sampled_from(["uvx", "npx", "python", "node", "docker run", "env", "uv run"]),
    st.from_regex(r"[a-z]{3,9}-[a-z]{3,9}", fullmatch=True),
    st.from_regex(r"[a-z]{3,9}-[a-z]{3,9}", fullmatch=True),
)
def test_two_servers_behind_one_launcher_have_two_names(launcher: str, one: str, other: str) -> None:
    assert (server_name([*launcher.split(), one]) == server_name([*launcher.split(), other])) == (one == other)
