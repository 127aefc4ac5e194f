"""The name of a server that its command gives: of the program that a launcher starts, not of the launcher.

Counters belong to the name. Two servers under one name would share their limits, so what a launcher's own options take
is never the name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

_LAUNCHER: Final = re.compile(r"(python|pypy)3?(\.[0-9]+)?|node|npx|p?npm|yarn|bunx?|deno|uvx?|pipx|env|sh|bash")
_CONTAINERS: Final = frozenset({"docker", "podman", "nerdctl"})
_SUBCOMMANDS: Final = frozenset({"run", "tool", "exec", "container", "compose", "x", "dlx"})


def _options(words: str) -> frozenset[str]:
    return frozenset(words.split())


_NPX: Final = _options("-p --package -c --call -w --workspace --registry --cache --prefix --userconfig")
_UV: Final = _options(
    "-p --python --with --with-editable --with-requirements --from --spec --index --default-index -i --index-url "
    "--extra-index-url -f --find-links --directory --project --env-file --cache-dir --config-file -c --constraints "
    "--overrides --refresh-package -P --upgrade-package --reinstall-package --extra --group --package --prerelease "
    "--resolution --link-mode --index-strategy --keyring-provider --exclude-newer --pip-args --backend"
)
_PYTHON: Final = _options("-W -X -c --check-hash-based-pycs")
_WITH_VALUE: Final = {
    "node": _options("-r --require --import --loader -C --conditions -e --eval"),
    "npx": _NPX, "npm": _NPX, "pnpm": _NPX, "yarn": _NPX, "bun": _NPX, "bunx": _NPX,
    "uv": _UV, "uvx": _UV, "pipx": _UV,
    "env": _options("-u --unset -C --chdir"),
}  # fmt: skip
"""Options of each launcher that take the next word, where no `=` gives it; Python's for all that are not here."""
_ALONE: Final = re.compile(
    r"-[ditP]+|-[ditP]*[^-ditP].+|--|--(rm|init|interactive|tty|detach|privileged|read-only|sig-proxy|quiet|"
    r"no-healthcheck|publish-all|oom-kill-disable|disable-content-trust|replace|tls-verify)"
)
"""Options of `docker run` that take no word, as `-it`, `--rm` or `-p8080:80`; all others do, where no `=` gives it."""


def server_name(command: Sequence[str]) -> str:
    """The default name of a server, from its command: never empty where the command is not."""
    words = iter(command)
    name = _base(next(words))
    while True:
        if name in _CONTAINERS:
            return next((_image(word) for word in _operands(name, words)), name)
        if not _LAUNCHER.fullmatch(name):
            return name
        found = next(_operands(name, words), None)
        if found is None:
            return name
        name = _base(found)


def _operands(launcher: str, words: Iterator[str]) -> Iterator[str]:
    """The words of a launcher that are neither options nor what these take, nor its subcommand or a variable."""
    for word in words:
        if word.startswith("-"):
            if "=" not in word and _takes_a_word(launcher, word):
                next(words, None)
        elif word not in _SUBCOMMANDS and not re.match(r"[A-Za-z_][A-Za-z0-9_]*=", word):
            yield word


def _takes_a_word(launcher: str, option: str) -> bool:
    if launcher in _CONTAINERS:
        return not _ALONE.fullmatch(option)
    if launcher in ("sh", "bash"):
        return False  # the script itself is the name: two scripts are two servers
    return option in _WITH_VALUE.get(launcher, _PYTHON)


def _image(word: str) -> str:
    """The last part of an image's name, without its tag and digest."""
    return re.sub(r"[@:].*$", "", word.rsplit("/", 1)[-1]) or word


def _base(word: str) -> str:
    return re.sub(r"(\.(py|js|mjs|ts|sh)|@[^/@]+)$", "", word.rsplit("/", 1)[-1]) or word
