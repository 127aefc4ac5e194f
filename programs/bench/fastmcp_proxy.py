"""A proxy as the library `fastmcp` makes one, to be measured beside us; `make bench-peers` says how.

python fastmcp_proxy.py COMMAND... | --http PORT UPSTREAM
"""

from __future__ import annotations

import sys

from fastmcp.client.transports import StdioTransport
from fastmcp.server import create_proxy

if __name__ == "__main__":
    if sys.argv[1] == "--http":
        _, _, port, upstream = sys.argv
        create_proxy(upstream).run("http", port=int(port), show_banner=False, log_level="error")
    else:
        create_proxy(StdioTransport(sys.argv[1], sys.argv[2:])).run("stdio", show_banner=False, log_level="error")
