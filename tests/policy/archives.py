"""Archives that `sidecar/policy/archive` does not write: each part of a tar by hand."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping
from typing import Final

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)


def header(
    name: bytes, size: int | bytes = 0, kind: bytes = b"0", *, link: bytes = b"", magic: bytes = b"ustar\x0000",
    prefix: bytes = b"", checksum: bytes | None = None,
) -> bytes:  # fmt: skip
    """The header of a member."""
    length = size if isinstance(size, bytes) else b"%011o\0" % size
    fields = [
        name.ljust(100, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", length, b"00000000000\0", b" " * 8, kind,
        link.ljust(100, b"\0"), magic, bytes(32), bytes(32), b"0000000\0", b"0000000\0", prefix.ljust(155, b"\0"),
        bytes(12),
    ]  # fmt: skip
    block = b"".join(fields)
    assert len(block) == BLOCK
    found = b"%06o\0 " % sum(block) if checksum is None else checksum
    return block[:148] + found + block[156:]


def member(name: bytes, content: bytes = b"", kind: bytes = b"0", *, link: bytes = b"") -> bytes:
    """A member with its content."""
    return header(name, len(content), kind, link=link) + content + bytes(-len(content) % BLOCK)


def archived(members: Iterable[bytes], end: bytes = END) -> bytes:
    """The members as an archive."""
    return gzip.compress(b"".join(members) + end, 1, mtime=0)


def packed(files: Mapping[str, str]) -> bytes:
    """Files as an archive, whatever they are called."""
    return archived(member(path.encode(), text.encode()) for path, text in sorted(files.items()))
