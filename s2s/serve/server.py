"""Runs the service: binds its address, loads its models, answers until a signal comes."""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

import uvicorn

from s2s.errors import Interrupted, RunError, UsageError
from s2s.messages import note, printable
from s2s.serve.app import Service, create_app
from s2s.serve.connections import timed_protocol
from s2s.serve.metrics import Metrics
from s2s.serve.models import Models, Source, check_names, load_models
from s2s.serve.settings import Settings

BACKLOG = 2048

SPARE_FILES = 64
"""Open files of the process beside connections."""

LAST_SECONDS = 5.0
"""How long the end waits for the models' threads, once clients have their answers or are gone."""


class Server(uvicorn.Server):
    """A server that ends by itself after a signal.

    uvicorn raises the signal again at its end, which would end the process as if it had been
    killed.
    """

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service
        self.signal: int | None = None
        """The first signal that came."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals during the block; those that are ignored stay ignored."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [signal.SIGINT, signal.SIGTERM]
        caught = [n for n in numbers if signal.getsignal(n) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self.handle_exit) for number in caught}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take no further requests, and end when all are answered; at a second signal, at once."""
        self.service.is_stopping = self.should_exit = True
        if self.signal is None:
            self.signal = sig
            note("stopping: finishing what runs; a second signal stops at once")
        else:
            self.force_exit = True


@dataclass(frozen=True)
class Opened:
    """A server that is ready to run."""

    listener: socket.socket
    models: Models
    server: Server

    @property
    def address(self) -> str:
        """Where the page is."""
        host, port = self.listener.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def run(self) -> None:
        """Answer until a signal comes, and then until every request has its answer."""
        try:
            self.server.run([self.listener])
        finally:
            # What was given up ends at the next sentence.
            self.models.stop(LAST_SECONDS)


def serve(sources: Sequence[Source], settings: Settings) -> None:
    """Serve runs until a signal comes; SIGTERM ends it, Ctrl-C raises Interrupted.

    Raises UsageError for an address that cannot be bound, and for runs that cannot be served.
    """
    opened = open_server(sources, settings)
    _log_to_stderr()
    names = ", ".join(model.name for model in opened.models)
    note(f"serving {names} on {opened.address} (Ctrl-C stops)")
    opened.run()
    server = opened.server
    if not opened.models.are_stopped:
        # Python would end beneath a thread that still computes, which aborts the process.
        note("error: stopped in the middle of a search")
        os._exit(RunError.exit_status)
    if server.force_exit:
        raise RunError("stopped before every request was answered")
    if server.signal == signal.SIGINT:
        raise Interrupted("stopped", signal.SIGINT)


def open_server(sources: Sequence[Source], settings: Settings) -> Opened:
    """Bind the address and load the models; raises as `serve` does."""
    check_names(sources)
    listener = bind(settings)
    try:
        metrics = Metrics()
        models = load_models(sources, settings, metrics.batch)
    except BaseException:
        listener.close()
        raise
    metrics.watch(models)
    listener.listen(BACKLOG)  # who reads the address may connect at once
    app = create_app(models, settings, metrics)
    return Opened(listener, models, Server(_config(app, settings), app.state.service))


def bind(settings: Settings) -> socket.socket:
    """A socket at the address of the settings; raises UsageError where that is not possible."""
    place = f"{settings.host}:{settings.port}"
    try:
        found = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"--host: cannot use {place}: {error.strerror or error}") from None
    try:
        if sys.platform != "win32":  # where it would let two servers share a port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        what = f"{place}: cannot listen there: {error.strerror or error}"
        raise UsageError(f"{what}; --port 0 takes a free port") from None
    return listener


def _config(app: object, settings: Settings) -> uvicorn.Config:
    _allow_files(settings.connections + SPARE_FILES)
    times = settings.timeouts
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=timed_protocol(settings),
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=int(times.idle),
        timeout_graceful_shutdown=int(times.request + times.body),
        backlog=BACKLOG,
    )


def _allow_files(count: int) -> None:
    """Raise the limit of open files to `count`, where the system allows it."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class _Printable(logging.Formatter):
    """Formats records whose texts, such as the path of a request, are anybody's."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - of logging
        """The message on one line."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - of logging
        """The traceback, line by line."""
        return "\n".join(map(printable, super().formatException(ei).split("\n")))


def _log_to_stderr() -> None:
    """Errors of the server, such as a mistake of ours with its traceback, go to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable("s2s: %(message)s"))
    for name, level in (("s2s.serve", logging.WARNING), ("uvicorn.error", logging.ERROR)):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
