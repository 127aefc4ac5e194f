"""Sends one message to a webhook: a POST that follows nothing, waits for little, reads little and keeps nothing.

Imported only where a policy names a webhook: httpx takes long to import.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import Final

import httpx

from sidecar.text import visible

SECONDS: Final = 10.0
"""How long one attempt may take in all, however slowly an answer trickles in."""
MAX_ANSWER: Final = 64 << 10
"""Bytes of an answer that are read, so that the other side can finish; nobody needs what it says."""

# They log whole URLs, and that of a webhook may be a secret.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class Sender:
    """Keeps nothing but the certificates of this machine: messages are rare, so each has a connection of its own."""

    def __init__(self) -> None:
        self._trusted = ssl.create_default_context()

    async def send(self, url: str, headers: dict[str, str], body: bytes) -> str:
        """Send a body of JSON; why it was not taken, in words that name no part of the URL but the host, else empty."""
        # Proxies of the environment are not used, and no cookie is kept.
        client = httpx.AsyncClient(verify=self._trusted, trust_env=False, follow_redirects=False, timeout=SECONDS)
        try:
            async with asyncio.timeout(SECONDS), client:
                return await _post(client, url, headers, body)
        except (TimeoutError, httpx.TimeoutException):
            return f"it did not answer within {SECONDS:.0f} s"
        except httpx.ConnectError as error:
            return f"it cannot be reached: {visible(str(error))[:200]}"
        except (httpx.InvalidURL, UnicodeError):
            # Names that no resolver takes, and what is longer than anybody's URL.
            return "its URL cannot be used: look whether the host in it exists"
        except httpx.TransportError as error:
            # Their texts may quote what the other side sent.
            return f"the connection broke ({type(error).__name__})"


async def _post(client: httpx.AsyncClient, url: str, headers: dict[str, str], body: bytes) -> str:
    fixed = {"content-type": "application/json", "user-agent": "intercept-sidecar", "accept-encoding": "identity"}
    async with client.stream("POST", url, headers=fixed | headers, content=body) as response:
        read = 0
        async for chunk in response.aiter_raw():
            read += len(chunk)
            if read >= MAX_ANSWER:
                break
    if response.is_success:
        return ""
    if response.is_redirect:
        return f"it answered with status {response.status_code}: redirects are not followed, name the last URL itself"
    return f"it answered with status {response.status_code}"
