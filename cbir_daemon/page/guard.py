"""The check of every request, before anything answers it, and of every answer on its way out.

In: a request's line and headers.  Out: the application's answer, or a refusal; with the same headers on all.  Never
here: what a request means, the bodies of requests.

The Host is judged before anything else: a page of another origin that made its own name lead to 127.0.0.1 (DNS
rebinding) is a stranger however well it knows our paths.

References
----------
Fetch Metadata Request Headers (W3C), Content Security Policy Level 3, Trusted Types; RFC 9110, 7.2: Host.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

from cbir_daemon.page.keys import Keys
from cbir_daemon.page.listening import HOSTS_SETTING, Doors
from cbir_daemon.page.replies import refusal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "font-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)

HEADERS: Final = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
"""On every answer, whatever its status."""

CLOSING: Final = ((b"connection", b"close"),)
FIRST_FAILURE: Final = 400

MOST_HEAD_BYTES: Final = 16 * 1024
METHODS: Final = ("GET", "HEAD", "POST")
OWN_SITES: Final = (b"same-origin", b"none")
"""Values of Sec-Fetch-Site for what the page asks itself, and for what a person typed."""

FRONT: Final = "/"
API: Final = "/api/"
PICTURES: Final = "/picture/"
BEARER: Final = b"Bearer "
JSON: Final = b"application/json"
IMAGE_BODY: Final = b"application/octet-stream"
IMAGE_PATHS: Final = ("/api/query",)
"""Where an image may be sent as it is."""

SEND_TIMEOUT_S: Final = 30.0
"""Longest wait for a browser that does not read."""


class Guard:
    """Stands before the application.

    Parameters
    ----------
    application : callable
        ASGI.
    doors : Doors
        Their hosts and origins are let in.
    keys : Keys
    send_timeout_s : float
        Seconds for a part of an answer to be taken.
    """

    def __init__(
        self, application: Application, doors: Doors, keys: Keys, *, send_timeout_s: float = SEND_TIMEOUT_S
    ) -> None:
        self._application = application
        self._doors = doors
        self._keys = keys
        self._send_timeout_s = send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Of a request that was refused, the body need not have been read.
                ending = CLOSING if scope["method"] == "POST" and message["status"] >= FIRST_FAILURE else ()
                message = {**message, "headers": [*_own(message.get("headers", ())), *HEADERS, *ending]}
            async with asyncio.timeout(self._send_timeout_s):
                await send(message)

        if scope["type"] != "http":
            return
        answer = self._refused(scope)
        await (self._application if answer is None else answer)(scope, receive, guarded)

    def _refused(self, scope: Scope) -> Application | None:
        """Return the refusal of a request; None when it is let in."""
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        hosts = _all(headers, b"host")
        if len(hosts) != 1 or hosts[0] not in self._doors.hosts:
            return refusal(
                403, "host", "the page is not served under this Host", f"{HOSTS_SETTING} names others, behind a proxy"
            )
        if sum(len(name) + len(value) for name, value in headers) > MOST_HEAD_BYTES:
            return refusal(431, "too-large", f"headers of more than {MOST_HEAD_BYTES} bytes are not taken")
        method, path = scope["method"], scope["path"]
        if method not in METHODS:
            return refusal(405, "method", f"only {', '.join(METHODS)} are answered", allow=METHODS)
        if not self._is_own_site(scope, headers):
            return refusal(403, "site", "another site asks", "open the page itself")
        if method == "POST":
            return self._post_refused(path, headers)
        if path.startswith(PICTURES) and not self._keys.opens_pictures(path[len(PICTURES) :].partition("/")[0]):
            return _wrong_key()
        return None

    def _is_own_site(self, scope: Scope, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether the page itself asks, or a person by a link: that may open the page, and nothing else."""
        sites = _all(headers, b"sec-fetch-site")
        if all(site in OWN_SITES for site in sites):
            return True
        is_opened = _all(headers, b"sec-fetch-mode") == [b"navigate"] and _all(headers, b"sec-fetch-dest") == [
            b"document"
        ]
        return is_opened and scope["method"] != "POST" and scope["path"] == FRONT

    def _post_refused(self, path: str, headers: list[tuple[bytes, bytes]]) -> Application | None:
        origins = _all(headers, b"origin")
        if len(origins) != 1 or origins[0] not in self._doors.origins:
            return refusal(403, "origin", "the Origin is not the page's", "open the page itself")
        if not path.startswith(API):
            return refusal(405, "method", "nothing is posted there", allow=METHODS[:2])
        kinds = [kind.partition(b";")[0].strip().lower() for kind in _all(headers, b"content-type")]
        if kinds != [JSON] and not (kinds == [IMAGE_BODY] and path in IMAGE_PATHS):
            return refusal(415, "content-type", f"{JSON.decode()} is taken")
        said = _all(headers, b"authorization")
        secret = said[0][len(BEARER) :] if len(said) == 1 and said[0].startswith(BEARER) else b""
        return None if self._keys.opens_page(secret.decode(errors="surrogateescape")) else _wrong_key()


def _wrong_key() -> Application:
    return refusal(
        403, "key", "the key is missing or wrong", "open the page again: `cbir page --url` prints its address"
    )


def _all(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    """Return every value of a header; a request that has two is not to choose between them."""
    return [value for key, value in headers if key == name]


def _own(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers of an answer without those that stand on every one."""
    fixed = {name for name, _ in HEADERS}
    return [(name, value) for name, value in headers if name.lower() not in fixed]
