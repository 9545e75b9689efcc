"""The outermost layer of the application: bodies of bounded size and time, headers, counts."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter
from typing import Any

from s2s.errors import S2sError
from s2s.serve.faults import Refused, one_line, status_of
from s2s.serve.metrics import Metrics
from s2s.serve.settings import Settings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

DRAINED = 16 << 20
"""Bytes of a body that is too large which are read and dropped: many clients read an answer only
after they have sent all of the body."""

CLIENT_GONE = 499
"""Status, in the counts, of a request whose client has gone (nginx's number)."""

HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    # Nothing comes from elsewhere, and text can never become a script.
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
        b"frame-ancestors 'none'",
    ),
]

log = logging.getLogger("s2s.serve")


class ClientGone(Exception):
    """The client has closed its connection before its request was read or answered."""


class Guard:
    """Reads the body of each request, within its limits, before the application sees it."""

    def __init__(
        self, app: App, settings: Settings, metrics: Metrics, paths: frozenset[str]
    ) -> None:
        """`paths` are counted by their names, all others together."""
        self.app = app
        self.most = settings.limits.body_bytes
        self.seconds = settings.timeouts.body
        self.metrics = metrics
        self.paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, and count it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = perf_counter()
        status = 0

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", []), *HEADERS]}
            await send(message)

        try:
            body = await self._body(scope, receive)
            began = perf_counter()
            await self.app(scope, _replay(body, receive), counted)
        except ClientGone:
            status = CLIENT_GONE
        except Refused as error:
            await _answer(error, counted)
        except Exception as error:  # a mistake of ours: the server goes on
            log.exception("%s %s", scope["method"], scope["path"])
            if not status:
                what = f"{type(error).__name__}: {one_line(error)}"
                await _answer(S2sError(f"{what}; this is a bug of s2s"), counted)
        finally:
            path = scope["path"] if scope["path"] in self.paths else "other"
            self.metrics.answered(path, status or CLIENT_GONE, perf_counter() - began)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The body; raises Refused where it is too large or too slow, and ClientGone."""
        headers = dict(scope["headers"])
        told = headers.get(b"content-length", b"0")
        size = int(told) if told.isdigit() else 0
        if size > self.most and (size > DRAINED or b"expect" in headers):
            raise self._too_large()
        try:
            async with asyncio.timeout(self.seconds):
                return await self._read(receive)
        except TimeoutError:
            what = f"the body did not arrive within {self.seconds:g} seconds"
            raise Refused(408, what) from None

    async def _read(self, receive: Receive) -> bytes:
        body = bytearray()
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk = message.get("body", b"")
            size += len(chunk)
            if size <= self.most:
                body += chunk
            is_last = not message.get("more_body", False)
            if size > self.most and (is_last or size > DRAINED):
                raise self._too_large()
            if is_last:
                return bytes(body)

    def _too_large(self) -> Refused:
        return Refused(413, f"the body is too large: expected at most {self.most:,} bytes")


def _replay(body: bytes, receive: Receive) -> Receive:
    """`receive` of the application: the body that is read already, then what comes after it."""
    is_told = False

    async def told() -> Message:
        nonlocal is_told
        if is_told:
            return await receive()
        is_told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return told


def fault_body(error: BaseException) -> bytes:
    """The body of an answer that says what is wrong."""
    return json.dumps({"error": one_line(error)}, ensure_ascii=False).encode()


def fault_headers(error: S2sError) -> dict[str, str]:
    """The headers of an answer that says what is wrong."""
    retry = error.retry_after if isinstance(error, Refused) else None
    return {} if retry is None else {"Retry-After": str(retry)}


async def _answer(error: S2sError, send: Send) -> None:
    """Say what is wrong, and close the connection, which may have more of the body to send."""
    body = fault_body(error)
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **fault_headers(error),
    }
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status_of(error), "headers": raw})
    await send({"type": "http.response.body", "body": body})
