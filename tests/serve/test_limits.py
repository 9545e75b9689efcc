"""Every limit has its status, and one line that says what is wrong."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from s2s.run.directory import Run
from s2s.serve.settings import Limits, Timeouts
from tests.serve.servers import Client, Gate, serving, wait_until

pytestmark = pytest.mark.usefixtures("one_thread")


@contextmanager
def connected(client: Client, *sent: bytes) -> Iterator[socket.socket]:
    """A connection that has sent so much."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=60) as connection:
        for part in sent:
            connection.sendall(part)
        yield connection


def everything(connection: socket.socket) -> bytes:
    """What the server sends until it closes the connection."""
    found = b""
    while part := connection.recv(65536):
        found += part
    return found


# ------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"{", 400, "the body is not valid JSON: "),
        (b"\xff\xfe{}", 400, "the body is not valid JSON"),
        (b"[" * 100_000, 400, "the body is not valid JSON"),
        (b"", 422, "the body is missing"),
        (b"[]", 422, "expected a JSON object as the body"),
        (b"3", 422, "expected a JSON object as the body"),
        (b"{}", 422, "text: missing field"),
        (b'{"text": 3}', 422, "text: expected a text or a list of texts, found 3"),
        (b'{"text": null}', 422, "text: expected "),
        (b'{"text": ["a", 3]}', 422, "text[1]: expected text, found 3"),
        (b'{"text": "a", "txet": 1}', 422, "txet: unknown field (did you mean 'text'?)"),
        (b'{"text": "a", "nbest": "2"}', 422, "nbest: expected a whole number, found '2' (text)"),
        (b'{"text": "a", "nbest": 0}', 422, "nbest: expected at least 1, found 0"),
        (b'{"text": "a", "nbest": 4}', 422, "the 4 best outputs need a beam of width 4"),
        (b'{"text": "a\\nb"}', 422, "text[0]: expected one line, found a line end"),
        (b'{"text": "\\ud800"}', 422, "text[0]: expected Unicode text"),
        (b'{"text": "a", "search": 3}', 422, "search: expected "),
        (b'{"text": "a", "search": {"widht": 3}}', 422, "search.widht: unknown field (did you "),
        (b'{"text": "a", "search": {"width": "3"}}', 422, "search.width: expected a whole number"),
        (b'{"text": "a", "search": {"kind": "bean"}}', 422, "search.kind: expected one of "),
        (b'{"text": "a", "search": {"kind": []}}', 422, "search.kind: expected one of "),
        (b'{"text": "a", "search": {"width": 500}}', 422, "search.width: expected at most 100"),
        (b'{"text": "a", "search": {"max_offset": 9999}}', 422, "search.max_offset: expected at"),
        (b'{"text": "a", "search": {"max_ratio": NaN}}', 422, "search.max_ratio: expected "),
        (b'{"text": "a", "search": {"samples": 101}}', 422, "search.samples: expected at most"),
        (b'{"text": "a", "search": {"nodes": 10001}}', 422, "search.nodes: expected at most"),
        (b'{"text": "a", "search": {"precision": "int8"}}', 422, "search.precision: the server"),
        (b'{"text": "a", "search": {"temperature": 1, "width": 3}}', 422, "no search has all of"),
        (b'{"text": "a", "must": ["b"], "search": {"kind": "greedy"}}', 422, "terms that must"),
        (b'{"text": "a", "must": [" "]}', 422, "must: expected a term"),
        (b'{"text": "a", "prefix": ["b", "c"]}', 422, "prefix: expected one, or one for each"),
        (b'{"text": "a", "tag": "<2en>"}', 422, "tag: expected none"),
        (b'{"text": "a", "model": "spel"}', 404, "model: unknown name 'spel' (did you mean 'spel"),
    ],
    ids=repr,
)
def test_a_fault_is_one_line(client: Client, body: bytes, status: int, told: str) -> None:
    answer = client.raw("/v1/translate", body)
    assert answer.status == status
    assert answer.error.startswith(told)


@pytest.mark.parametrize(
    ("path", "fields", "told"),
    [
        ("/v1/score", {"source": ["a", "b"], "target": "c"}, "target: expected a translation for"),
        ("/v1/alternatives", {"text": "0", "count": 51}, "count: expected at most 50, found 51"),
        ("/v1/alternatives", {"text": "0 " * 90}, "expected a line that is translated whole"),
        ("/v1/attention", {"text": "0", "nbest": 2}, "nbest: unknown field"),
        (
            "/v1/attention",
            {"text": "0", "search": {"kind": "exhaustive"}},
            "exhaustive search keeps no attention",
        ),
    ],
)
def test_faults_of_the_other_operations(
    client: Client, path: str, fields: dict[str, object], told: str
) -> None:
    answer = client.post(path, **fields)
    assert answer.status == 422
    assert answer.error.startswith(told)


def test_other_kinds_of_bodies_paths_and_methods(client: Client) -> None:
    answer = client.request("POST", "/v1/translate", b'{"text": "a"}', "text/plain")
    assert (answer.status, answer.error[:15]) == (415, "expected a body")
    answer = client.get("/v1/translat")
    assert (answer.status, answer.error[:26]) == (404, "/v1/translat: no such page")
    answer = client.get("/v1/translate")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert "GET is not possible" in answer.error


def test_too_many_lines_and_too_long_ones(client: Client) -> None:
    answer = client.post("/v1/translate", text=["0"] * 10_000)
    assert answer.status == 413
    assert answer.error == "text: expected at most 1,000 lines, found 10,000"
    answer = client.post("/v1/translate", text=["0", "0" * 2001])
    assert answer.status == 413
    assert answer.error == "text: line 2: expected at most 2,000 characters, found 2,001"
    answer = client.text(b"0\n" * 1001)
    assert (answer.status, answer.error[:8]) == (413, "the text")
    assert client.post("/v1/attention", text=["0"] * 51).status == 413
    assert client.post("/v1/attention", text="0" * 2000, search={"width": 100}).status == 413
    assert client.post("/v1/score", source=["0"] * 1001, target=["0"] * 1001).status == 413
    assert client.post("/v1/translate", text="0", prefix="0" * 2001).status == 413


def test_too_much_attention_for_an_answer(spell: Run) -> None:
    with serving(spell, limits=Limits(attention_weights=10)) as client:
        answer = client.post("/v1/attention", text="0 1 2 3 4")
        assert answer.status == 413
        assert answer.error.startswith("expected at most 10 weights in an answer, found ")
        assert client.post("/v1/translate", text="0 1 2 3 4").status == 200


@pytest.mark.parametrize("size", [(1 << 20) + 1, 10_000_000, 40_000_000])
def test_a_large_body(client: Client, size: int) -> None:
    head = f"POST /v1/translate HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
    with connected(client, head) as connection:
        if size <= 16 << 20:  # the server reads and drops it, so that the client sees the answer
            connection.sendall(b" " * size)
        found = everything(connection)
    assert found.startswith(b"HTTP/1.1 413 ")
    body = json.loads(found.partition(b"\r\n\r\n")[2])
    assert body == {"error": "the body is too large: expected at most 1,048,576 bytes"}


def test_a_large_body_without_a_length(client: Client) -> None:
    head = b"POST /v1/text HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"100000\r\n" + b"0" * (1 << 20) + b"\r\n"
    with connected(client, head, chunk, chunk, b"0\r\n\r\n") as connection:
        assert everything(connection).startswith(b"HTTP/1.1 413 ")


# ------------------------------------------------------------------------------------- slow clients


SLOW = Timeouts(head=0.6, body=0.8)


def test_slow_clients_do_not_keep_others_waiting(spell: Run) -> None:
    with serving(spell, connections=150) as client:
        many = [
            socket.create_connection(("127.0.0.1", client.port), timeout=60) for _ in range(200)
        ]
        for place, connection in enumerate(many):
            # Some send nothing, some a part of the head; the server may have closed the first.
            if place % 2:
                try:
                    connection.sendall(b"POST /v1/translate HTTP/1.1\r\nHost: x\r\n")
                except OSError:
                    assert place < 60
        began = time.monotonic()
        for _ in range(3):
            assert client.post("/v1/translate", text="0 1 2").status == 200
        assert time.monotonic() - began < 8.0
        assert len(client.opened.server.server_state.connections) <= 151
        for connection in many:
            connection.close()


def test_a_head_that_does_not_end(spell: Run) -> None:
    with serving(spell, timeouts=SLOW) as client:
        with connected(client, b"GET / HTTP/1.1\r\nHost: x\r\n") as connection:
            found = everything(connection)
        assert found.startswith(b"HTTP/1.1 408 ")
        assert json.loads(found.partition(b"\r\n\r\n")[2])["error"].startswith("the head")
        with connected(client) as connection:  # one that sends nothing is closed
            assert everything(connection) == b""
        # The second request of a connection has the same time.
        first = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
        with connected(client, first) as connection:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
            connection.sendall(b"GET /health")
            assert b"HTTP/1.1 408 " in everything(connection)


def test_a_head_that_trickles_in(spell: Run) -> None:
    with serving(spell, timeouts=SLOW) as client, connected(client) as connection:
        began = time.monotonic()
        with pytest.raises(OSError):
            for _ in range(600):
                connection.sendall(b"G" if time.monotonic() - began > 60 else b"X")
                time.sleep(0.1)
        assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "head", [b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"]
)
def test_a_body_that_does_not_end(spell: Run, head: bytes) -> None:
    with serving(spell, timeouts=SLOW) as client:
        start = b"POST /v1/translate HTTP/1.1\r\nHost: x\r\n"
        with connected(client, start, head) as connection:
            found = everything(connection)
        assert found.startswith(b"HTTP/1.1 408 ")
        assert b"the body did not arrive within 0.8 seconds" in found


def test_a_client_that_does_not_read_its_answer(spell: Run) -> None:
    with serving(spell, timeouts=Timeouts(write=0.5)) as client:
        request = b"GET /page.js HTTP/1.1\r\nHost: x\r\n\r\n"
        with connected(client) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connections = client.opened.server.server_state.connections
            wait_until(lambda: len(connections) == 1)
            connection.sendall(request * 2000)
            wait_until(lambda: len(connections) == 0)
        assert client.get("/health/live").status == 200


def test_what_is_not_http(client: Client) -> None:
    with connected(client, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\r\n\r\n") as connection:
        assert everything(connection).startswith(b"HTTP/1.1 400 ")
    with connected(client, b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000) as connection:
        assert b"HTTP/1.1 4" in everything(connection)


# ------------------------------------------------------------------------------- queue and its time


def metrics(client: Client) -> bytes:
    return client.get("/metrics").body


def test_a_full_queue(spell: Run) -> None:
    with serving(spell, queue=2) as client, ThreadPoolExecutor(2) as pool:
        gate = Gate(client)
        waiting = [pool.submit(client.post, "/v1/translate", text="0 1") for _ in range(2)]
        gate.wait_for(2)
        refused = client.post("/v1/translate", text="0 1")
        gate.open()
        assert refused.status == 503
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert refused.error.startswith("2 requests wait already; try again in ")
        assert [answer.result().status for answer in waiting] == [200, 200]
        assert client.post("/v1/translate", text="0 1").status == 200


def test_an_answer_that_takes_too_long(spell: Run) -> None:
    with serving(spell, timeouts=Timeouts(request=0.3)) as client:
        gate = Gate(client)
        answer = client.post("/v1/translate", text="0 1")
        assert (answer.status, answer.error) == (504, "the answer took longer than 0.3 seconds")
        assert client.get("/health/live").status == 200  # the event loop has not waited
        gate.open()
        wait_until(lambda: client.post("/v1/translate", text="0 1").status == 200)
        assert b's2s_cancelled_total{reason="timeout"} ' in client.get("/metrics").body


def test_the_work_of_a_client_that_leaves_is_dropped(spell: Run) -> None:
    with serving(spell) as client:
        gate = Gate(client)
        body = json.dumps({"text": ["0 1"] * 1000}).encode()
        head = b"POST /v1/translate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        length = f"Content-Length: {len(body)}\r\n\r\n".encode()
        with connected(client, head, length, body):
            gate.wait_for(1)
        told = b's2s_cancelled_total{reason="client"} 1.0'
        wait_until(lambda: told in metrics(client))
        gate.open()
        assert client.post("/v1/translate", text="0 1").status == 200
        # Of all lines, one was searched; a batch is counted after its answers, in one that was
        # begun before or after the other client had left.
        lines = [f's2s_{name}{{model="spell"}} 1.0' for name in ("lines_total", "batch_lines_sum")]
        wait_until(lambda: set(lines) <= set(metrics(client).decode().splitlines()))
