"""Servers in this process, and requests to them."""

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from s2s.inference.glossary import Glossary
from s2s.run.directory import Run
from s2s.serve.jobs import SingleJob
from s2s.serve.models import Source
from s2s.serve.server import Opened, open_server
from s2s.serve.settings import Settings


class Answer(NamedTuple):
    """An answer of a server."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The one line that says what is wrong."""
        assert self.status >= 400
        found = self.json
        assert list(found) == ["error"]
        assert "\n" not in found["error"]
        return str(found["error"])


class Client:
    """Sends requests to a server, each over a connection of its own."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.port: int = opened.listener.getsockname()[1]

    def request(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Content-Type": kind} if kind else {}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        found = Answer(answer.status, dict(answer.getheaders()), answer.read())
        connection.close()
        return found

    def get(self, path: str) -> Answer:
        return self.request("GET", path)

    def raw(self, path: str, body: bytes) -> Answer:
        return self.request("POST", path, body, "application/json")

    def post(self, path: str, /, **fields: Any) -> Answer:
        return self.raw(path, json.dumps(fields).encode())

    def text(self, body: bytes, query: str = "") -> Answer:
        return self.request("POST", f"/v1/text{query}", body, "text/plain")

    def ask(self, path: str, /, **fields: Any) -> Any:
        """The answer to a request that goes well."""
        answer = self.post(path, **fields)
        assert answer.status == 200, answer.body
        return answer.json


@contextmanager
def serving(
    *runs: Run, names: tuple[str, ...] = (), glossary: Glossary | None = None, **settings: Any
) -> Iterator[Client]:
    """A server of runs, in a thread."""
    named = names or tuple(run.name for run in runs)
    sources = [
        Source(name=name, run=run, search=run.recipe.search, device="cpu", glossary=glossary)
        for name, run in zip(named, runs, strict=True)
    ]
    opened = open_server(sources, Settings(port=0, **settings))
    thread = threading.Thread(target=opened.run)
    thread.start()
    try:
        yield Client(opened)
    finally:
        opened.server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


class Gate:
    """Holds a model's thread, so that requests gather in its queue."""

    def __init__(self, client: Client) -> None:
        self.worker = client.opened.models.default.worker
        self.opened = threading.Event()
        entered = threading.Event()

        def wait(translator: object) -> None:
            entered.set()
            assert self.opened.wait(60)

        self.worker.submit(SingleJob(compute=wait))
        assert entered.wait(60)

    def wait_for(self, count: int) -> None:
        """Wait until so many requests are in the queue."""
        wait_until(lambda: self.worker.waiting == count)

    def open(self) -> None:
        self.opened.set()


def wait_until(is_so: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.01)
