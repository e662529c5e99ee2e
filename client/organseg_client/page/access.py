"""Who may talk to the page: known hosts, its own origin, and a token where others can reach it.

A page on loopback has no token, so it must not be reachable through a browser that visits other
sites: a name that an attacker points at 127.0.0.1 (DNS rebinding) comes with a foreign `Host`,
and a request of another site with a foreign `Origin` or `Sec-Fetch-Site`. All are refused.
Beyond loopback every request needs the token: once in the address, from then on as a cookie of this
site only. There any `Host` will do, a proxy's name too: a name that an attacker rebinds is another
site, to which the cookie does not go.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["SECURITY_HEADERS", "AccessPolicy", "Guard"]

TOKEN_COOKIE = "organseg_page_token"
"""The cookie that carries the token after the first request."""

# NiiVue draws its font from an image inside its own file: the only `data:` there is.
_CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

SECURITY_HEADERS: Mapping[str, str] = {
    "content-security-policy": _CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""On every answer, also on refusals."""

_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}


@dataclass(frozen=True)
class AccessPolicy:
    """What a request must bring."""

    token: str | None = field(default=None, repr=False)
    """What every request must know; None where only this machine can send one."""

    def refusal(self, method: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """HTTP status and words for a request that is refused; None for one that is not.

        Looks at `headers` (lower-case names) alone; `knows_token` looks at the token.
        """
        host = headers.get("host", "")
        if not self._is_known_host(host):
            return 421, (
                "wanted a request to this page's own address, came one to another host name; "
                "open the address that organseg-client ui printed"
            )
        origin = headers.get("origin")
        is_foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
        # "none" is a person: an address that was typed or a bookmark.
        site = headers.get("sec-fetch-site", "none")
        is_visit = method in _SAFE_METHODS and headers.get("sec-fetch-mode") == "navigate"
        if is_foreign or (site not in {"same-origin", "none"} and not is_visit):
            return 403, (
                "wanted a request from this page itself, came one that another site made; "
                "open the page in a tab of its own"
            )
        return None

    def knows_token(self, headers: Mapping[str, str]) -> bool:
        """Whether a request brings the token, as its cookie or as `Authorization: Bearer`."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self.fits(given.strip()):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(TOKEN_COOKIE)
        except CookieError:
            return False
        return cookie is not None and self.fits(cookie.value)

    def fits(self, given: str) -> bool:
        """Whether `given` is the token; takes the same time for every wrong one."""
        return self.token is None or hmac.compare_digest(given.encode(), self.token.encode())

    def _is_known_host(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if self.token is not None or name == "localhost":
            return bool(name)
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return False


class Guard:
    """ASGI middleware that applies a policy, and puts the security headers on every answer."""

    def __init__(self, app: ASGIApp, policy: AccessPolicy) -> None:
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on what is allowed; answers the rest itself."""
        if scope["type"] != "http":
            # No websockets here; `lifespan` is the server's own.
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        # Nothing of a scan stays in a browser's cache; the page's own files are asked for anew.
        caching = "no-store" if scope["path"].startswith("/api/") else "no-cache"
        added = [*SECURITY_HEADERS.items(), ("cache-control", caching)]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", []).extend(
                    (name.encode(), value.encode()) for name, value in added
                )
            await send(message)

        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        refused = self._policy.refusal(scope["method"], headers)
        if refused is not None:
            await _answer(send_with_headers, *refused)
            return
        if self._policy.token is not None:
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
            if given and scope["path"] == "/" and self._policy.fits(given[0]):
                await _welcome(send_with_headers, self._policy.token)
                return
            if not self._policy.knows_token(headers):
                await _answer(
                    send_with_headers,
                    401,
                    "wanted this page's token, came none or another; open the whole address that "
                    "organseg-client ui printed, with ?token=… at its end",
                )
                return
        await self._app(scope, receive, send_with_headers)


async def _answer(send: Send, status: int, words: str) -> None:
    problem = {
        "status": status,
        "kind": "refused",
        "title": "Not allowed",
        "words": words,
        "hint": "",
        "command": "",
        "can_retry": False,
    }
    body = json.dumps({"error": problem}).encode()
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _welcome(send: Send, token: str) -> None:
    """Keeps the token as a cookie and drops it from the address, so that no history has it."""
    # Lax, not Strict: behind a link in a mail or a chat, a browser would leave a strict cookie
    # out of the very request that it is sent on to. What another site makes beside such visits,
    # the policy refuses.
    cookie = f"{TOKEN_COOKIE}={token}; HttpOnly; SameSite=Lax; Path=/"
    headers = [
        (b"location", b"/"),
        (b"set-cookie", cookie.encode()),
    ]
    await send({"type": "http.response.start", "status": 303, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
