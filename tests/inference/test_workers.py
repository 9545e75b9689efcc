"""Several processes give the same translations as one."""

import io
import json
import os
import random
import signal
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from s2s.errors import S2sError, UsageError
from s2s.inference.line_constraints import LineConstraints, LineConstraintsReader
from s2s.inference.nbest import NbestOptions
from s2s.inference.translate_stream import stream
from s2s.inference.translator import LineTranslator
from s2s.inference.workers import Workers, WorkerTask, divide
from s2s.recipe.search import BeamSearch, SampleSearch, Search
from s2s.search.constraints.spec import ConstraintSpec
from tests.inference.test_translator import random_translator
from tests.search.toys import spec_of

SAMPLES = SampleSearch(kind="sample", samples=2, max_offset=4)


def load(search: Search) -> LineTranslator:
    """The function of a worker, which finds it by name."""
    return random_translator(search)


def fail() -> LineTranslator:
    raise UsageError("no such thing here")


def die() -> LineTranslator:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def lines_of_letters(count: int) -> list[str]:
    draw = random.Random(3)
    return ["".join(draw.choices("abcde ", k=draw.randrange(12))) for _ in range(count)]


@pytest.mark.parametrize("most", [1, 2, 3, 40])
def test_lines_are_divided_into_equal_parts_in_their_order(most: int) -> None:
    lines = lines_of_letters(30)
    constraints = [spec_of(prefix=(place,)) for place in range(30)]
    parts = divide(WorkerTask(lines, 100, 5, constraints), most)
    assert len(parts) <= most
    assert [line for part in parts for line in part.lines] == lines
    assert [d for part in parts for d in part.constraints or ()] == constraints
    assert all(part.lines and part.keep == 5 for part in parts)
    assert [part.first for part in parts] == [
        100 + sum(len(before.lines) for before in parts[:k]) for k in range(len(parts))
    ]
    sizes = [sum(len(line) + 1 for line in part.lines) for part in parts]
    assert max(sizes) <= sum(sizes) / most + 13


def test_one_line_is_one_part() -> None:
    assert divide(WorkerTask(["abc"], 0, 1, None), 4) == [WorkerTask(["abc"], 0, 1, None)]
    assert [part.lines for part in divide(WorkerTask(["", ""], 0, 1, None), 2)] == [[""], [""]]


def test_workers_do_what_one_process_does() -> None:
    """Samples depend on the place of a line in the input, constraints on the line."""
    lines = lines_of_letters(23)
    constraints = [
        spec_of(prefix=(4, 5)) if place % 3 == 0 else ConstraintSpec() for place in range(23)
    ]
    notes: list[str] = []
    alone = random_translator(SAMPLES, notes)
    expected = alone.outputs(lines, 7, 1, constraints)
    before = len(notes)
    with closing(Workers(partial(load, SAMPLES), 2)) as workers:
        for _ in range(2):
            assert workers(alone, lines, 7, 1, constraints) == expected
    assert len(notes) > before, "what the workers report is reported"


def test_nbest_options_and_constraints_reach_workers() -> None:
    """Prefixes, positive and negative constraints, of single lines and of all, with scores."""
    beam = BeamSearch(kind="beam", width=4, max_offset=9)
    draw = random.Random(5)
    lines = [
        "\t".join(
            (line, draw.choice(["", "b"]), draw.choice(["", "a|||c", "w"]), draw.choice("xe"))
        )
        for line in lines_of_letters(17)
    ]
    source = "".join(f"{line}\n" for line in ["", *lines]).encode()
    alone = random_translator(beam)
    with closing(Workers(partial(load, beam), 2)) as workers:
        for listing in (NbestOptions(nbest=3), NbestOptions(nbest=2, form="jsonl")):
            found = []
            for translator in (alone, replace(alone, workers=workers)):
                line_constraints = LineConstraintsReader(
                    columns=("source", "prefix", "must", "avoid"),
                    every=LineConstraints(avoid=("d e",)),
                )
                target = io.BytesIO()
                options = {
                    "batch_size": 10,
                    "listing": listing,
                    "line_constraints": line_constraints,
                }
                assert stream(translator, io.BytesIO(source), target, **options) == 18  # type: ignore[arg-type]
                found.append(target.getvalue())
            assert found[0] == found[1]
    rows = [json.loads(row) for row in found[1].splitlines()]
    assert len(rows) > 30
    assert {tuple(row["unmet"]) for row in rows} >= {(), ("must w",)}


@pytest.mark.parametrize(
    ("loads", "error", "message"),
    [
        (fail, UsageError, r"^no such thing here$"),
        (die, S2sError, r"^a worker process ended before its work was done .* fewer --workers$"),
    ],
)
def test_what_goes_wrong_in_a_worker_is_raised_here(
    loads: Callable[[], LineTranslator], error: type[Exception], message: str
) -> None:
    with closing(Workers(loads, 1)) as workers, pytest.raises(error, match=message):
        workers(random_translator(SAMPLES), ["ab"], 0, 1, None)
    assert not any(process.is_alive() for process in workers.pool.processes)


def test_workers_are_for_a_cpu(tmp_path: Path) -> None:
    from s2s.inference.workers import translator_with_workers

    there = replace(random_translator(SAMPLES), device="cuda")
    with (
        pytest.raises(
            UsageError, match=r"^--workers share the cores of a CPU, found --device cuda"
        ),
        translator_with_workers(lambda: there, 2),
    ):
        pass
