"""What /metrics and /health say."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client.parser import text_string_to_metric_families

from s2s.run.directory import Run
from tests.serve.servers import Client, Gate, serving, wait_until

pytestmark = pytest.mark.usefixtures("one_thread")


def values(client: Client) -> dict[tuple[str, tuple[str, ...]], float]:
    """The value of each sample, by its name and the values of its labels."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(answer.body.decode())
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_requests_lines_and_batches_are_counted(spell: Run) -> None:
    with serving(spell, batch=4) as client:
        client.ask("/v1/translate", text=["0 1"] * 6)
        client.ask("/v1/score", source=["0", "1"], target=["null", "eins"])
        client.post("/v1/translate", txet="0")
        client.get("/wp-admin.php")
        client.get("/favicon.ico")
        # An answer and a batch are counted when they are done, which a client does not wait for.
        wait_until(
            lambda: (
                values(client).get(("s2s_requests_total", ("other", "404"))) == 2
                and values(client)["s2s_batch_seconds_count", ("spell",)] == 3
            )
        )
        found = values(client)
    assert found["s2s_requests_total", ("/v1/translate", "200")] == 1
    assert found["s2s_requests_total", ("/v1/translate", "422")] == 1
    assert found["s2s_requests_total", ("/v1/score", "200")] == 1
    assert found["s2s_requests_total", ("other", "404")] == 2  # no label for each guessed path
    assert found["s2s_lines_total", ("spell",)] == 8
    assert found["s2s_batch_lines_sum", ("spell",)] == 6  # 4 and 2; pairs are scored apart
    assert found["s2s_batch_seconds_count", ("spell",)] == 3
    assert found["s2s_request_seconds_count", ("/v1/translate",)] == 2
    assert found["s2s_waiting_requests", ("spell",)] == 0
    assert found["s2s_model_ready", ("spell",)] == 1


def test_waiting_requests_are_shown(client: Client, gate: Gate) -> None:
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(client.post, "/v1/translate", text="0") for _ in range(2)]
        gate.wait_for(2)
        assert values(client)["s2s_waiting_requests", ("spell",)] == 2
        gate.open()
        assert all(answer.result().status == 200 for answer in answers)


def test_health(spell: Run) -> None:
    with serving(spell) as client:
        assert client.get("/health/live").json == {"status": "live"}
        assert client.get("/health/ready").json == {"status": "ready"}
        client.opened.server.service.is_stopping = True
        ready = client.get("/health/ready")
        assert (ready.status, ready.headers["retry-after"]) == (503, "5")
        answer = client.post("/v1/translate", text="0")
        assert (answer.status, answer.error) == (503, "the server is stopping")
        assert client.get("/health/live").status == 200


def test_headers_keep_the_pages_to_themselves(client: Client) -> None:
    for path in ("/", "/docs", "/page.js", "/v1/models", "/nope"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("default-src 'self'; ")


def test_the_pages_load_nothing_from_elsewhere(client: Client) -> None:
    for path in ("/", "/docs", "/page.js", "/page.css", "/api.js"):
        text = client.get(path).body.decode()
        assert not re.search(r"https?://|//[a-z]+\.", text), path
        assert "innerHTML" not in text
        assert "<script>" not in text
