"""An address that takes POST: the message as JSON, signed when there is a secret.

In: a message.  Out: nothing when the answer was 2xx, else why not.  Never here: following a redirect, which could lead
a message to another host; the address or the secret in a message of ours.

References
----------
Standard Webhooks 1.0, https://www.standardwebhooks.com: headers `webhook-id`, `webhook-timestamp`, `webhook-signature`.
"""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import hmac
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from urllib.parse import SplitResult, unquote, urlsplit

from cbir_daemon import __version__
from cbir_daemon.alerts.message import Message
from cbir_daemon.alerts.secret import Secret
from cbir_daemon.errors import SinkError

SECRET_PREFIX = "whsec_"  # noqa: S105 -- the prefix of a secret is none
MAX_RETRY_S = 86_400.0
NO_NETWORK = "is there a network? the system unit has none unless it is given one: docs/alerts.md"
NETWORK_ERRORS = (errno.ENETUNREACH, errno.EAFNOSUPPORT, errno.EPERM, errno.EHOSTUNREACH)


class Webhook:
    """Posts to an address.

    Parameters
    ----------
    address, secret : Secret
        Where the address is, and the key of the signature; the latter may be nowhere.
    timeout_s : float
        Longest wait for the connection, and for each part of the answer.
    now : callable
        Seconds since the epoch.
    """

    def __init__(self, address: Secret, secret: Secret, timeout_s: float, now: Callable[[], float] = time.time) -> None:
        self._address = address
        self._secret = secret
        self._timeout_s = timeout_s
        self._now = now
        # Built by hand: the usual opener follows redirects and opens files.
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
        ):
            self._opener.add_handler(handler)

    def __call__(self, message: Message) -> None:
        """Post a message; raises `SinkError` unless the answer is 2xx."""
        parts = _parted(self._address.read())
        body = json.dumps(message.to_json()).encode()
        try:
            request = self._request(parts, message.id, body)
            self._opener.open(request, timeout=self._timeout_s).close()
        except urllib.error.HTTPError as error:
            error.close()
            raise _refusal(parts, error) from error
        except OSError as error:
            raise _unreached(parts, error) from error
        except (http.client.HTTPException, ValueError) as error:
            # Some of them quote the address.
            raise SinkError(f"{parts.hostname}: the answer is not HTTP ({type(error).__name__})") from None

    def _request(self, parts: SplitResult, message_id: str, body: bytes) -> urllib.request.Request:
        moment = str(int(self._now()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"cbir-daemon/{__version__}",
            "webhook-id": message_id,
            "webhook-timestamp": moment,
        }
        if self._secret.is_set:
            headers["webhook-signature"] = signature(self._secret.read(), message_id, moment, body)
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(login).decode()}"
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
        return urllib.request.Request(bare, body, headers, method="POST")  # noqa: S310 -- http or https, by _parted


def signature(secret: str, message_id: str, moment: str, body: bytes) -> str:
    """Return the header that proves who sent a message, and that nobody changed it.

    Parameters
    ----------
    secret : str
        After "whsec_" the key in Base64; anything else is the key itself, as UTF-8.
    message_id, moment : str
        The other two headers.
    body : bytes
        The message, byte for byte.

    Notes
    -----
    "v1," and the Base64 of HMAC-SHA256 over `id.timestamp.body`.
    """
    signed = f"{message_id}.{moment}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()}"


def _key(secret: str) -> bytes:
    if not secret.startswith(SECRET_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise SinkError(f"the secret begins with {SECRET_PREFIX}, but what follows is not Base64") from None


def _parted(address: str) -> SplitResult:
    """Return the parts of an address; raises `SinkError`, which never has the address in it."""
    try:
        parts = urlsplit(address)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, is_good = SplitResult("", "", "", "", ""), False
    if not is_good or not address.isascii() or any(character.isspace() for character in address):
        raise SinkError("the address is no HTTP address", hint="write it as https://host/path, on one line")
    return parts


def _refusal(parts: SplitResult, error: urllib.error.HTTPError) -> SinkError:
    refused = SinkError(f"{parts.hostname}: answered {error.code} {error.reason}", retry_s=_retry_s(error))
    if 300 <= error.code < 400:
        refused.hint = "it leads elsewhere, which is not followed: put the address that it leads to in its place"
    return refused


def _retry_s(error: urllib.error.HTTPError) -> float:
    """Return how long the other side wants to be left alone; 0 when it does not say so in seconds."""
    text = str(error.headers.get("Retry-After", ""))
    return min(float(text), MAX_RETRY_S) if text.isascii() and text.isdigit() else 0.0


def _unreached(parts: SplitResult, error: OSError) -> SinkError:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return SinkError(f"{parts.hostname}: did not answer in time")
    said = (reason.strerror if isinstance(reason, OSError) else "") or type(reason).__name__
    number = reason.errno if isinstance(reason, OSError) else None
    # Names are not resolved without a network: those errors (getaddrinfo(3)) are below 0.
    without = number is not None and (number < 0 or number in NETWORK_ERRORS)
    return SinkError(f"{parts.hostname}: {said}", hint=NO_NETWORK if without else "")
