"""Connections: clients that are too slow do not keep others waiting.

uvicorn waits without end for the head of a first request, and for a client to take its answer. Here
both have a time, and of too many open connections the one is closed that has waited longest for its
request.
"""

import asyncio
from time import monotonic
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from s2s.serve.settings import Settings


class TimedProtocol(H11Protocol):
    """HTTP/1.1 with a time for the head of a request and for taking an answer."""

    settings: ClassVar[Settings]

    _head: asyncio.TimerHandle | None = None
    """Runs while the head of a request is incomplete."""
    _write: asyncio.TimerHandle | None = None
    """Runs while the client takes nothing of its answer."""
    _since = 0.0
    """When the connection began to wait for a head."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait_for_head()
        if len(self.connections) > self.settings.connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._has_head()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what has come, and wait for the rest of a head that is incomplete."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._has_head()
        elif self.conn.trailing_data[0] and self._head is None:
            self._wait_for_head()

    def pause_writing(self) -> None:
        """The client takes too little of its answer."""
        super().pause_writing()
        if self._write is None:
            self._write = self.loop.call_later(self.settings.timeouts.write, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has taken enough."""
        if self._write is not None:
            self._write.cancel()
            self._write = None
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection without further requests, whether or not its answer was taken."""
        super().timeout_keep_alive_handler()
        if self.transport.get_write_buffer_size():
            self.transport.abort()

    def _wait_for_head(self) -> None:
        self._since = monotonic()
        self._head = self.loop.call_later(self.settings.timeouts.head, self._head_is_late)

    def _has_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _head_is_late(self) -> None:
        """Close the connection; a client that has sent a part is told why."""
        self._head = None
        if self.transport.is_closing():
            return
        if self.conn.trailing_data[0] and self.conn.our_state is h11.IDLE:
            self._refuse_late_head()
        self.transport.close()

    def _refuse_late_head(self) -> None:
        body = b'{"error": "the head of the request did not arrive in time"}'
        headers = [("content-type", "application/json"), ("connection", "close")]
        answer = h11.Response(
            status_code=408,
            headers=[*headers, ("content-length", str(len(body)))],
            reason=b"Request Timeout",
        )
        for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")

    def _make_room(self) -> None:
        """Close the connection that has waited longest for the head of its request."""
        here = [one for one in self.connections if isinstance(one, TimedProtocol)]
        waiting = [one for one in here if one._head is not None]
        oldest = min(waiting, key=lambda one: one._since, default=self)
        oldest._has_head()  # others may come before its end is noticed
        oldest.transport.abort()


def timed_protocol(settings: Settings) -> type[TimedProtocol]:
    """The protocol with these settings, for uvicorn, which makes one object a connection."""
    return type("TimedProtocol", (TimedProtocol,), {"settings": settings})
