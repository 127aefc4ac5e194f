"""Requests that two servers could read differently, each with the status that refuses it."""

from __future__ import annotations

LINE = b"POST / HTTP/1.1\r\n"
HOST = b"Host: a\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
FIVE = b"Content-Length: 5\r\n"
NAMED = (
    "Host", "content-length", "Content-Type", "Transfer-Encoding", "Authorization", "Origin", "Cookie", "DPoP",
    "Mcp-Method", "mcp-name", "MCP-Protocol-Version", "Mcp-Session-Id", "Mcp-Param-Region", "Last-Event-ID",
    "Connection", "X-Anything",
)  # fmt: skip
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"


def post(*lines: bytes, body: bytes = b"") -> bytes:
    return LINE + HOST + b"".join(lines) + b"\r\n" + body


REFUSED: dict[str, tuple[int, bytes]] = {
    # Where does the body end?
    "a length and chunks": (400, post(FIVE, CHUNKED, body=CHUNKS)),
    "chunks and a length": (400, post(CHUNKED, FIVE, body=CHUNKS)),
    "gzip, chunked": (400, post(b"Transfer-Encoding: gzip, chunked\r\n", body=CHUNKS)),
    "chunked, gzip": (400, post(b"Transfer-Encoding: chunked, gzip\r\n", body=CHUNKS)),
    "chunked, chunked": (400, post(b"Transfer-Encoding: chunked, chunked\r\n", body=CHUNKS)),
    "chunked twice": (400, post(CHUNKED, CHUNKED, body=CHUNKS)),
    "identity": (400, post(b"Transfer-Encoding: identity\r\n", body=b"hello")),
    "identity and chunked": (400, post(b"Transfer-Encoding: identity\r\n", CHUNKED, body=CHUNKS)),
    "chunked with a parameter": (400, post(b"Transfer-Encoding: chunked;q=1\r\n", body=CHUNKS)),
    "chunked with a vertical tab": (400, post(b"Transfer-Encoding: \x0bchunked\r\n", body=CHUNKS)),
    "an empty Transfer-Encoding": (400, post(b"Transfer-Encoding:\r\n", body=CHUNKS)),
    "xchunked": (400, post(b"Transfer-Encoding: xchunked\r\n", body=CHUNKS)),
    "chunks on HTTP/1.0": (400, b"POST / HTTP/1.0\r\n" + HOST + CHUNKED + b"\r\n" + CHUNKS),
    "two lengths": (400, post(FIVE, b"Content-Length: 6\r\n", body=b"hello!")),
    "two equal lengths": (400, post(FIVE, FIVE, body=b"hello")),
    "a list of lengths": (400, post(b"Content-Length: 5, 5\r\n", body=b"hello")),
    "a plus": (400, post(b"Content-Length: +5\r\n", body=b"hello")),
    "a minus": (400, post(b"Content-Length: -5\r\n", body=b"hello")),
    "a blank inside": (400, post(b"Content-Length: 5 0\r\n", body=b"hello")),
    "a hexadecimal length": (400, post(b"Content-Length: 0x5\r\n", body=b"hello")),
    "an underscore": (400, post(b"Content-Length: 1_0\r\n", body=b"hello")),
    "an empty length": (400, post(b"Content-Length: \r\n")),
    "a length that overflows": (400, post(b"Content-Length: 18446744073709551621\r\n", body=b"hello")),
    "a length of 20 zeros": (400, post(b"Content-Length: 00000000000000000005\r\n", body=b"hello")),
    # Chunks
    "a chunk size with 0x": (400, post(CHUNKED, body=b"0x5\r\nhello\r\n0\r\n\r\n")),
    "a negative chunk size": (400, post(CHUNKED, body=b"-5\r\nhello\r\n0\r\n\r\n")),
    "a chunk size after a blank": (400, post(CHUNKED, body=b" 5\r\nhello\r\n0\r\n\r\n")),
    "a chunk size before a blank": (400, post(CHUNKED, body=b"5 \r\nhello\r\n0\r\n\r\n")),
    "a chunk size that overflows": (400, post(CHUNKED, body=b"10000000000000005\r\nhello\r\n0\r\n\r\n")),
    "a chunk size and a bare LF": (400, post(CHUNKED, body=b"5\nhello\r\n0\r\n\r\n")),
    "a chunk and a bare LF": (400, post(CHUNKED, body=b"5\r\nhello\n0\r\n\r\n")),
    "a chunk without an end": (400, post(CHUNKED, body=b"5\r\nhello0\r\n\r\n")),
    "a longer chunk than it says": (400, post(CHUNKED, body=b"5\r\nhello!\r\n0\r\n\r\n")),
    "a chunk extension and a bare LF": (400, post(CHUNKED, body=b"5;a\n\r\nhello\r\n0\r\n\r\n")),
    "chunks that end with a bare LF": (400, post(CHUNKED, body=b"5\r\nhello\r\n0\r\n\n")),
    "a trailer with a bare LF": (400, post(CHUNKED, body=b"5\r\nhello\r\n0\r\nX: y\n\r\n")),
    "an endless chunk extension": (400, post(CHUNKED, body=b"5;" + b"x" * 100_000)),
    "endless trailers": (400, post(CHUNKED, body=b"5\r\nhello\r\n0\r\n" + b"X: y\r\n" * 100_000)),
    # Encodings and expectations
    "gzip": (415, post(b"Content-Encoding: gzip\r\n", FIVE, body=b"hello")),
    "identity, gzip": (415, post(b"Content-Encoding: identity, gzip\r\n", FIVE, body=b"hello")),
    "two encodings": (400, post(b"Content-Encoding: identity\r\n", b"Content-Encoding: gzip\r\n", FIVE, body=b"hello")),
    "another expectation": (417, post(b"Expect: 200-ok\r\n", FIVE, body=b"hello")),
    "two expectations": (400, post(b"Expect: 100-continue\r\n", b"Expect: 100-continue\r\n", FIVE, body=b"hello")),
    # Lines
    "a folded line": (400, post(b"X: a\r\n b\r\n")),
    "a folded line with a tab": (400, post(b"X: a\r\n\tb\r\n")),
    "a folded first line": (400, LINE + b" X: a\r\n" + HOST + b"\r\n"),
    "a bare LF": (400, LINE + b"Host: a\nX: b\r\n\r\n"),
    "bare LFs only": (400, b"POST / HTTP/1.1\nHost: a\n\n"),
    "a bare LF at the end": (400, LINE + b"Host: a\r\n\n"),
    "a bare LF after the request line": (400, b"POST / HTTP/1.1\nHost: a\r\n\r\n"),
    "a bare CR": (400, LINE + b"Host: a\rX: b\r\n\r\n"),
    "bare CRs only": (400, b"POST / HTTP/1.1\rHost: a\r\r"),
    "a CR too many": (400, LINE + b"Host: a\r\r\n\r\n"),
    "a bare CR that hides a length": (400, post(b"X: y\rContent-Length: 5\r\n", body=b"hello")),
    "a blank before the colon": (400, post(b"X : y\r\n")),
    "a tab before the colon": (400, post(b"X\t: y\r\n")),
    "a blank before the colon of the length": (400, post(b"Content-Length : 5\r\n", body=b"hello")),
    "a blank inside a name": (400, post(b"X Y: z\r\n")),
    "no name": (400, post(b": z\r\n")),
    "no colon": (400, post(b"X\r\n")),
    "another letter in a name": (400, post(b"X\xe4: z\r\n")),
    "an empty line first": (400, b"\r\n" + post()),
    # Request lines
    "an absolute URL": (400, b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    "another absolute URL": (400, b"GET HTTPS://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    "an authority": (400, b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "CONNECT": (400, b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "CONNECT with a path": (400, b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "an asterisk": (400, b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
    "no slash": (400, b"GET mcp HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a fragment": (400, b"GET /#a HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a blank in the target": (400, b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a tab in the target": (400, b"GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n"),
    "another letter in the target": (400, b"GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a NUL in the target": (400, b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "two blanks": (400, b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a blank after the version": (400, b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    "no version": (400, b"GET /\r\nHost: a\r\n\r\n"),
    "a lower-case version": (400, b"GET / http/1.1\r\nHost: a\r\n\r\n"),
    "HTTP/1.2": (505, b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
    "HTTP/0.9": (505, b"GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
    "HTTP/2.0": (505, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
    "HTTP/2": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "HTTP/1.10": (400, b"GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
    "RTSP": (400, b"DESCRIBE / RTSP/1.0\r\nHost: a\r\n\r\n"),
    "ICE": (400, b"SOURCE / ICE/1.0\r\nHost: a\r\n\r\n"),
    "an unknown method": (501, b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a method in lower case": (501, b"get / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "no HTTP": (400, b"hello\r\n\r\n"),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "every byte": (400, bytes(range(256))),
    # Hosts
    "no Host": (400, b"GET / HTTP/1.1\r\n\r\n"),
    "two Hosts": (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    "two equal Hosts": (400, b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"),
    "two Hosts on HTTP/1.0": (400, b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
    # Connections
    **{f"Connection names {name}": (400, post(b"Connection: close, %b\r\n" % name.encode())) for name in NAMED},
    "a second Connection names a header": (400, post(b"Connection: close\r\n", b"Connection: mcp-name\r\n")),
    "Connection names a header after a tab": (400, post(b"Connection:\tclose,\tMCP-NAME\r\n")),
    # Sizes
    "a long head": (431, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 40_000 + b"\r\n\r\n"),
    "a long target": (431, b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a head without end": (431, b"GET / HTTP/1.1\r\nX: " + b"y" * 40_000),
    "many fields": (431, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 128 + b"\r\n"),
}
