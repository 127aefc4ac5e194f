"""Bodies in chunks with blank lines where a reader could stop too early, each with what it says."""

from __future__ import annotations

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
BODIES = {
    b"3\r\nabc\r\n0\r\n\r\n": b"abc",
    b"4\r\n\r\n\r\n\r\n0\r\n\r\n": b"\r\n\r\n",
    b"5\r\n\r\n\r\nx\r\n00;a=b\r\nX: y\r\nZ: \r\n\r\n": b"\r\n\r\nx",
    b"3\r\nabc\r\n2\r\n\r\n\r\n0\r\n\r\n": b"abc\r\n",
    b"0\r\n\r\n": b"",
}
