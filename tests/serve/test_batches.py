"""Requests that wait together are searched together, and do not affect each other."""

import itertools
import random
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from s2s.errors import DataError, S2sError
from s2s.inference.load import load_ensemble
from s2s.recipe.search import GreedySearch
from s2s.run.directory import Run
from s2s.serve import batches
from s2s.serve.batches import BatchTranslator, shares
from s2s.serve.jobs import TranslateOptions, TranslationJob
from tests.commands import Call, call
from tests.serve.servers import Client, Gate, serving, wait_until

__all__ = ["call"]

pytestmark = pytest.mark.usefixtures("one_thread", "here")

GREEDY = TranslateOptions(search=GreedySearch(kind="greedy"))


def sources(count: int, seed: int) -> list[str]:
    """Lines of very different lengths."""
    draw = random.Random(seed)
    return [" ".join(draw.choices("01234567", k=draw.randint(1, 14))) for _ in range(count)]


def counted(client: Client, name: str) -> float:
    """A value of /metrics."""
    lines = client.get("/metrics").body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def test_whatever_is_batched_together_the_bytes_are_those_of_the_command(
    client: Client, gate: Gate, call: Call
) -> None:
    requests = [sources(count, seed) for seed, count in enumerate([1, 7, 40, 3, 1, 90, 2, 5])]
    stdins = ["".join(f"{line}\n" for line in lines).encode() for lines in requests]
    lines_before = counted(client, "s2s_batch_lines_sum")
    batches_before = counted(client, "s2s_batch_lines_count")
    requests_before = counted(client, "s2s_batch_requests_sum")
    with ThreadPoolExecutor(len(requests)) as pool:
        answers = [pool.submit(client.text, stdin) for stdin in stdins]
        gate.wait_for(len(requests))
        gate.open()
        found = [answer.result() for answer in answers]
    wanted = [call.output("translate", "--run", "spell", stdin=stdin) for stdin in stdins]
    assert [answer.body for answer in found] == wanted
    # One batch is the gate; the first of the others has a line of every request.
    pieces = sum(map(len, requests))
    wait_until(lambda: counted(client, "s2s_batch_lines_sum") == lines_before + pieces)
    num_batches = counted(client, "s2s_batch_lines_count") - batches_before - 1
    assert -(-pieces // 64) <= num_batches < len(requests)
    assert counted(client, "s2s_batch_requests_sum") - requests_before > len(requests)


def test_different_searches_at_the_same_time(client: Client, gate: Gate, call: Call) -> None:
    lines = sources(6, seed=3)
    stdin = "".join(f"{line}\n" for line in lines).encode()
    kinds = {
        ("--search", "greedy"): {"search": {"kind": "greedy"}},
        ("--beam", "4"): {"search": {"width": 4}},
        ("--search", "sample", "--seed", "5"): {"search": {"kind": "sample", "seed": 5}},
        ("--avoid", "eins"): {"avoid": ["eins"]},
        (): {},
    }
    with ThreadPoolExecutor(16) as pool:
        asked: list[tuple[tuple[str, ...], Future[Any]]] = [
            (options, pool.submit(client.ask, "/v1/translate", text=lines, **fields))
            for options, fields in itertools.chain(*[kinds.items()] * 3)
        ]
        gate.wait_for(len(asked))
        gate.open()
        found = [(options, answer.result()) for options, answer in asked]
    for options, answer in found:
        wanted = call.output("translate", "--run", "spell", *options, stdin=stdin).decode()
        assert [line["text"] for line in answer["lines"]] == wanted.splitlines()


def test_a_long_request_does_not_keep_a_short_one_waiting(client: Client, gate: Gate) -> None:
    with ThreadPoolExecutor(2) as pool:
        long = pool.submit(client.ask, "/v1/translate", text=sources(1000, 1))
        gate.wait_for(1)
        short = pool.submit(client.ask, "/v1/translate", text="0 1")
        gate.wait_for(2)
        gate.open()
        assert len(short.result()["lines"]) == 1
        assert not long.done()
        assert len(long.result()["lines"]) == 1000


def test_requests_that_a_batch_has_no_room_for_keep_their_turn(spell: Run) -> None:
    with serving(spell, batch=1) as client:
        gate = Gate(client)
        worker = client.opened.models.default.worker
        ended: list[int] = []
        kinds = [GREEDY, TranslateOptions(search=spell.recipe.search)]
        jobs = [TranslationJob(lines=["0 1"], options=kinds[place % 2]) for place in range(8)]
        for place, one in enumerate(jobs):
            worker.submit(one)

            def note(answer: Future[Any], place: int = place) -> None:
                ended.append(place)
                if place < 4:  # a client that comes back at once waits behind the others
                    again = TranslationJob(lines=["0 1"], options=GREEDY)
                    again.answer.add_done_callback(lambda answer: ended.append(8))
                    worker.submit(again)

            one.answer.add_done_callback(note)
        gate.open()
        wait_until(lambda: len(ended) == 12)
        assert ended == [0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 8, 8]


def test_what_is_wrong_with_one_request_is_not_wrong_with_others(
    client: Client, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = TranslationJob.prepare

    def prepare(self: TranslationJob, *rest: Any) -> None:
        if self.lines == ["7"]:
            raise DataError("line 1: cannot\nbe read")
        real(self, *rest)

    monkeypatch.setattr(TranslationJob, "prepare", prepare)
    with ThreadPoolExecutor(3) as pool:
        good = [pool.submit(client.post, "/v1/translate", text="0 1") for _ in range(2)]
        bad = pool.submit(client.post, "/v1/translate", text="7")
        gate.wait_for(3)
        gate.open()
        assert [answer.result().status for answer in good] == [200, 200]
        assert (bad.result().status, bad.result().error) == (422, "line 1: cannot be read")


def test_a_mistake_of_ours_is_told_and_the_model_goes_on(
    spell: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*arguments: object, **options: object) -> object:
        raise ZeroDivisionError("oops")

    with serving(spell) as client:
        with monkeypatch.context() as patch:
            patch.setattr(batches, "search_stream", broken)
            answer = client.post("/v1/translate", text="0 1")
        assert answer.status == 500
        assert answer.error == "ZeroDivisionError: oops; this is a bug of s2s"
        assert client.post("/v1/translate", text="0 1").status == 200
    assert "oops" in caplog.text


def test_two_models_by_name(spell: Run) -> None:
    with serving(spell, spell, names=("one", "two")) as client:
        first = client.ask("/v1/translate", text="0 1")
        assert first["model"] == "one"
        second = client.ask("/v1/translate", text="0 1", model="two")
        assert (second["model"], second["lines"]) == ("two", first["lines"])
        assert client.text(b"0 1\n", "?model=two").status == 200
        answer = client.post("/v1/translate", text="0 1", model="tow")
        assert answer.status == 404
        assert answer.error == (
            "model: unknown name 'tow' (did you mean 'two'?); there are one, two"
        )


# ----------------------------------------------------------------------------------- in this thread


@pytest.fixture
def translator(spell: Run) -> BatchTranslator:
    base = load_ensemble([spell], search=GREEDY.search, device="cpu", shortlists=False)
    return BatchTranslator(spell, base, most=8)


def job(lines: list[str]) -> TranslationJob:
    return TranslationJob(lines=lines, options=GREEDY)


def test_a_batch_has_lines_of_every_job(translator: BatchTranslator) -> None:
    long, short, blank = job(sources(20, 1)), job(sources(2, 2)), job(["", "  "])
    assert translator.step([long, short, blank]) == [long]
    assert (len(long.found), short.answer.done(), blank.answer.done()) == (6, True, True)
    assert translator.step([long]) == [long]
    assert translator.step([long]) == []
    texts = [one.outputs[0].text for one in long.answer.result()]
    assert texts == translator.searching(sources(20, 1))


def test_a_search_ends_where_nobody_waits(translator: BatchTranslator) -> None:
    gone = job(sources(8, 1))
    gone.answer.cancel()
    assert translator.step([gone]) == []
    assert gone.found == []
    leaving, stays = job(sources(4, 1)), job(sources(4, 2))
    leaving.prepare(translator.searching, translator.compiler)
    leaving.answer.cancel()
    assert translator.step([leaving, stays]) == []
    assert [one.outputs[0].text for one in stays.answer.result()] == translator.searching(
        sources(4, 2)
    )


@pytest.mark.parametrize("seed", range(20))
def test_shares_are_fair_and_complete(seed: int) -> None:
    draw = random.Random(seed)
    wanted = [draw.randint(0, 30) for _ in range(draw.randint(1, 12))]
    most = draw.randint(1, 40)
    given = shares(wanted, most)
    assert sum(given) == min(most, sum(wanted))
    assert all(0 <= one <= other for one, other in zip(given, wanted, strict=True))
    # Who gets less than it wants gets no less than any other, but for one that does not divide.
    short = [one for one, other in zip(given, wanted, strict=True) if one < other]
    assert all(one >= max(given) - 1 for one in short)


def test_a_line_with_nan_fails_alone(
    translator: BatchTranslator, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = batches.search_stream
    poison = job(["7 7 7"])
    poison.prepare(translator.searching, translator.compiler)
    assert poison.pieces is not None
    ids = poison.pieces.sources[0].ids

    def search_stream(scorer: object, given: list[list[int]], *rest: Any, **options: Any) -> Any:
        if ids in given:
            raise S2sError("the model predicts NaN")
        return real(scorer, given, *rest, **options)

    monkeypatch.setattr(batches, "search_stream", search_stream)
    good = job(["0 1", "2"])
    assert translator.step([good, poison]) == []
    assert len(good.answer.result()) == 2
    with pytest.raises(S2sError, match="NaN"):
        poison.answer.result()


def test_the_folder_of_pages_has_what_is_served() -> None:
    from s2s.serve.app import FILES, PAGES

    assert {name for name, _ in FILES.values()} == {path.name for path in Path(PAGES).iterdir()}
