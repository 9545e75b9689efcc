"""Requests to a server, without a socket."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.torture.mutations import changed_text
from tests.torture.target import Read, Target, texts

BODIES = (
    '{"text": ["0 1 2", "3"], "nbest": 2, "search": {"kind": "beam", "width": 2}}',
    '{"text": "0 1", "prefix": "eins", "must": ["null"], "avoid": ["zwei"], "model": "spell"}',
    '{"source": ["0 1"], "target": ["eins null"]}',
    '{"text": "0 1", "prefix": "", "count": 2, "search": {"max_ratio": 1.5}, "tag": null}',
    '{"text": "2 3", "attention": true, "search": {"kind": "sample", "samples": 2, "seed": 1}}',
)

ROUTES = ("translate", "attention", "alternatives", "score")


@contextmanager
def _server_reader() -> Iterator[Read]:
    """Each body is sent to all routes of the application, without a socket."""
    from s2s.run.directory import Run
    from s2s.serve.app import create_app
    from s2s.serve.metrics import Metrics
    from s2s.serve.models import Source, load_models
    from s2s.serve.settings import Limits, Settings

    run = Run.open(Path("runs/spell"))
    source = Source(name="spell", run=run, search=run.recipe.search, device="cpu")
    settings = Settings(limits=Limits(lines=4, line_length=60, outputs=4, nodes=50))
    metrics = Metrics()
    models = load_models([source], settings, metrics.batch)
    metrics.watch(models)
    app = create_app(models, settings, metrics)
    loop = asyncio.new_event_loop()

    async def post(route: str, body: bytes) -> tuple[int, bytes]:
        sent: list[dict[str, Any]] = []
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if waiting:
                return waiting.pop()
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"content-type", b"application/json"), (b"host", b"localhost")]
        headers.append((b"content-length", str(len(body)).encode()))
        scope = {
            "type": "http",
            "method": "POST",
            "path": f"/v1/{route}",
            "headers": headers,
            "query_string": b"",
            "http_version": "1.1",
            "scheme": "http",
            "root_path": "",
            "raw_path": b"",
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "asgi": {"version": "3.0"},
            "state": {},
        }
        await app(scope, receive, send)
        content = b"".join(one.get("body", b"") for one in sent)
        return next(one["status"] for one in sent if "status" in one), content

    def read() -> None:
        body = Path("guided.json").read_bytes()
        answers = [loop.run_until_complete(post(route, body)) for route in ROUTES]
        for status, content in answers:
            assert status < 500, f"status {status}: {content[:200]!r}"
            answer = json.loads(content)
            if status != 200:
                assert "\n" not in answer["error"]
        if all(status != 200 for status, _ in answers):
            raise ValueError("refused by all routes")

    try:
        yield read
    finally:
        models.stop(5.0)
        loop.close()


SERVE_TARGETS = (
    Target(
        "requests",
        "guided.json",
        texts(*BODIES),
        _server_reader,
        changed_text,
        (ValueError,),
    ),
)
