"""Bundles as they travel: a gzipped tar of text files. Strict where it is read, and no I/O.

Only plain files come in, in the one form that every reader of tar takes alike (POSIX ustar): no links, devices,
folders or extended headers. Only names that a bundle may have come in, each once, and no two that some file system
takes for one.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sidecar.errors import BundleRefused, PolicyError
from sidecar.mcp.strict_json import NotStrict, read_value
from sidecar.text import shown, shown_quoted

MAX_FILES: Final = 5_000
MAX_UNPACKED: Final = 16 << 20
"""Bytes of the tar within an archive."""
MAX_NAME: Final = 150
"""Characters of a name: as many as a header of tar surely holds."""

MAX_VALUES: Final = 500_000
"""Values in one file of JSON: some 50 MiB of memory at worst; ten thousand rules need 200,000."""

MANIFEST: Final = ".manifest"
SIGNATURES: Final = ".signatures.json"
CURRENT: Final = "bundle.tar.gz"
"""The file in a folder that is its bundle now: `sidecar policy publish` replaces it whole."""

TO_SERVE: Final = 1
"""How hard a bundle is compressed that stays on this machine."""
TO_TRAVEL: Final = 9
"""How hard one is compressed that many machines fetch."""

# A folder has no dot in its name, so no file can be in the way of one.
_NAME: Final = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_-]*/)*(?:data\.json|[A-Za-z0-9_][A-Za-z0-9_.-]*\.rego)")
_BLOCK: Final = 512
_PLAIN: Final = b"0\0"
"""The types of a plain file."""
_KINDS: Final = {
    b"1": "a hard link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"5": "a folder", b"6": "a pipe",
    b"x": "an extended header", b"g": "an extended header", b"L": "a long name", b"K": "a long name",
    b"S": "a sparse file",
}  # fmt: skip


def write(files: Mapping[str, str], level: int = TO_SERVE) -> bytes:
    """The archive of some files: the same bytes for the same files. Raises `PolicyError` for a name that has no place.

    That holds wherever the same zlib compresses; the tar within is the same everywhere.
    """
    check_names(files)
    tar_bytes = io.BytesIO()
    with tarfile.open(fileobj=tar_bytes, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, text in sorted(files.items()):
            data = text.encode()
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(tar_bytes.getvalue(), compresslevel=level, mtime=0)


def check_names(files: Mapping[str, str]) -> None:
    """Raise `PolicyError` for names that a bundle cannot have, as `read` would refuse them."""
    lower: dict[str, str] = {}
    problems = []
    for path in sorted(files):
        if not _is_name(path):
            problems.append(
                f"{shown(path)}: no name for a file of a bundle: use letters, digits, _ and -, up to {MAX_NAME} "
                "characters with all folders, and end with .rego, or name it data.json"
            )
        elif (other := lower.setdefault(path.casefold(), path)) != path:
            problems.append(f"{path}: some file systems take it for {other}: give it another name")
    if problems:
        raise PolicyError(problems)


def read(data: bytes) -> dict[str, str]:
    """The files of an archive, by their names without a slash in front.

    Raises `BundleRefused` (`broken`, `too_large`, `foreign`) with a clause that says why.
    """
    files: dict[str, str] = {}
    lower = set[str]()
    for name, content in _members(_unpacked(data)):
        if not _is_name(name):
            raise BundleRefused("foreign", f"it holds {shown_quoted(name)}, which is no file of a policy")
        if name in files:
            raise BundleRefused("broken", f"it holds {name} twice")
        if name.casefold() in lower:
            raise BundleRefused("broken", f"it holds {name} twice, as far as some file systems see")
        if len(files) == MAX_FILES:
            raise BundleRefused("too_large", f"it holds more than {MAX_FILES} files")
        lower.add(name.casefold())
        try:
            files[name] = content.decode("utf-8")
        except UnicodeDecodeError:
            raise BundleRefused("broken", f"{name} in it is not UTF-8") from None
    return files


def strict(path: str, text: str, most: int = MAX_VALUES) -> Any:
    """The JSON value of a file, which every reader must read alike. Raises `BundleRefused`."""
    try:
        return read_value(text.encode(), most)[0]
    except NotStrict as problem:
        raise BundleRefused("broken", f"{path} in it is no JSON that has one meaning: {problem}") from None


def _is_name(path: str) -> bool:
    if path in (MANIFEST, SIGNATURES):
        return True
    return len(path) <= MAX_NAME and _NAME.fullmatch(path) is not None


def _unpacked(data: bytes) -> bytes:
    """The one gzip member that the data is."""
    unpacking = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        tar = unpacking.decompress(data, MAX_UNPACKED + 1)
    except zlib.error:
        raise BundleRefused("broken", "it is no gzipped tar archive, or was damaged on its way") from None
    if len(tar) > MAX_UNPACKED:
        raise BundleRefused("too_large", f"it unpacks to more than {MAX_UNPACKED >> 20} MiB")
    if not unpacking.eof:
        raise BundleRefused("broken", "it is cut off, or no gzipped tar archive")
    if unpacking.unused_data:
        raise BundleRefused("broken", "something follows its end")
    return tar


def _members(tar: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file."""
    at = 0
    while True:
        header = tar[at : at + _BLOCK]
        if len(header) < _BLOCK:
            raise BundleRefused("broken", "its tar archive has no end")
        if not header.strip(b"\0"):
            break
        name, size = _header(header)
        end = at + _BLOCK + size
        at = end + -size % _BLOCK
        if at > len(tar) or tar[end:at].strip(b"\0"):
            raise BundleRefused("broken", "its tar archive is damaged")
        yield name, tar[end - size : end]
    # Two empty blocks end it; programs fill up with more.
    if len(tar) - at < 2 * _BLOCK or tar[at:].strip(b"\0"):
        raise BundleRefused("broken", "something follows the end of its tar archive")


def _header(header: bytes) -> tuple[str, int]:
    """The name and the size of a plain file."""
    blanked = header[:148] + b" " * 8 + header[156:]
    if _octal(header[148:156]) != sum(blanked) or header[257:265] != b"ustar\x0000":
        raise BundleRefused("broken", "its tar archive is damaged, or not in the form that POSIX calls ustar")
    kind = header[156:157]
    if kind not in _PLAIN or header[157:257].strip(b"\0"):
        what = _KINDS.get(kind, "something else than a file")
        raise BundleRefused("foreign", f"it holds {what}; a bundle has plain files only")
    prefix, name = _text(header[345:500]), _text(header[:100])
    path = f"{prefix}/{name}" if prefix else name
    return path.removeprefix("/"), _octal(header[124:136])


def _text(field: bytes) -> str:
    """A text that ends at the first NUL; what follows that is part of the name to no reader, so it must be nothing."""
    text, _, rest = field.partition(b"\0")
    if rest.strip(b"\0"):
        raise BundleRefused("broken", "a name in its tar archive holds a NUL character")
    return text.decode("utf-8", "backslashreplace")


def _octal(field: bytes) -> int:
    """A number as tar writes it: octal digits, and a NUL or a blank after them."""
    digits = field.rstrip(b"\0 ").lstrip(b" ")
    if not _OCTAL.fullmatch(digits):
        raise BundleRefused("broken", "a number in its tar archive is none")
    return int(digits, 8)


_OCTAL: Final = re.compile(rb"[0-7]{1,11}")
