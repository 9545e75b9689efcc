"""A decoding batch that becomes smaller finds what a whole one does, to the last bit."""

import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from s2s.nn.inference_model import inference_model
from s2s.nn.step import Step
from s2s.recipe.choices import SearchPrecision
from s2s.recipe.search import BeamSearch, GreedySearch, SampleSearch, Search
from s2s.search import compaction, decoding_batch
from s2s.search.compaction import smaller_size
from s2s.search.hypothesis import Hypothesis
from s2s.search.loop import search
from tests.search.test_scorers import WIRINGS, network
from tests.search.toys import Numbers, RecurrentToy

SEARCHES: dict[str, Search] = {
    "greedy": GreedySearch(kind="greedy", max_ratio=1.5, max_offset=4),
    "beam": BeamSearch(kind="beam", width=5, max_ratio=1.5, max_offset=4),
    "coverage": BeamSearch(kind="beam", width=3, coverage_penalty=0.3, min_offset=2),
    "groups": BeamSearch(kind="beam", width=4, groups=2, diversity=0.5),
    "sample": SampleSearch(kind="sample", samples=3, max_ratio=1.5, max_offset=4),
}


@pytest.mark.parametrize(
    ("slots", "width", "occupied", "expected"),
    [
        (64, 1, 33, 64),
        (64, 1, 32, 32),
        (64, 1, 1, 4),
        (64, 1, 0, 4),
        (24, 5, 13, 24),
        (24, 5, 12, 12),
        (24, 5, 3, 3),
        (24, 5, 2, 2),
        (24, 5, 1, 1),
        (1, 300, 1, 1),
        (1, 1, 1, 1),
    ],
)
def test_sizes(slots: int, width: int, occupied: int, expected: int) -> None:
    assert smaller_size(slots, width, occupied) == expected


class Watched:
    """A scorer that keeps the numbers of rows of its steps."""

    def __init__(self, scorer: Any, error: float = 0.0, error_of_encoder: float = 0.0) -> None:
        self.scorer = scorer
        self.error, self.error_of_encoder = error, error_of_encoder
        """Added to what is computed for each row, as if a kernel rounded differently."""
        self.rows: list[int] = []
        self.encoded: list[int] = []
        self.vocabulary = scorer.vocabulary

    def encode(self, *inputs: Any) -> Any:
        self.encoded.append(len(inputs[0]))
        memory = self.scorer.encode(*inputs)
        if self.error_of_encoder:
            memory = Numbers(memory.x + self.error_of_encoder * self.encoded[-1])
        return memory

    def start(self, memory: Any) -> Any:
        return self.scorer.start(memory)

    def step(self, memory: Any, state: Any, tokens: Tensor) -> Step[Any]:
        self.rows.append(len(tokens))
        step: Step[Any] = self.scorer.step(memory, state, tokens)
        return step._replace(logits=step.logits + self.error * len(tokens))


def sentences(count: int, longest: int = 15) -> list[list[int]]:
    draw = random.Random(count)
    return [[draw.randrange(4, 60) for _ in range(draw.randint(1, longest))] for _ in range(count)]


def facts(found: list[list[Hypothesis]]) -> list[Any]:
    return [
        [
            (h.tokens, h.log_prob, h.score, h.finished, h.attention.tolist())  # type: ignore[union-attr]
            for h in one
        ]
        for one in found
    ]


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Batches that stay as they are; undone by the test."""
    monkeypatch.setattr(compaction, "smaller_size", lambda slots, width, occupied: slots)
    yield monkeypatch


@pytest.mark.kernels
@pytest.mark.parametrize("kind", SEARCHES)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_a_smaller_batch_finds_the_same(
    kind: str, precision: SearchPrecision, whole: pytest.MonkeyPatch
) -> None:
    """One sentence, a few, and more than a batch holds; int8, whose sums are exact, does shrink."""
    scorer = Watched(inference_model(network(*WIRINGS[4]), precision))
    settings = SEARCHES[kind]
    inputs = [sentences(1), sentences(7), sentences(70)]
    expected = [facts(search(scorer, one, settings, "cpu", want_attention=True)) for one in inputs]
    full = set(scorer.rows)
    whole.undo()
    for _ in range(2):  # the first time tests
        for one, wanted in zip(inputs, expected, strict=True):
            found = search(scorer, one, settings, "cpu", want_attention=True)
            assert facts(found) == wanted
    assert len(full) == 1
    if precision == "int8":
        assert min(scorer.rows) < min(full)


def test_what_has_been_tested_is_small_from_the_first_step_on() -> None:
    scorer = Watched(RowByRow(RecurrentToy(30, 1)))
    settings = SEARCHES["beam"]
    search(scorer, [[5, 6, 7]], settings, "cpu")
    assert scorer.rows[:4] == [120, 120, 120, 5]  # the third is the test's
    assert scorer.encoded == [4, 16]
    scorer.rows.clear()
    search(scorer, [[5, 6, 8]], settings, "cpu")
    assert set(scorer.rows) == {5}
    assert scorer.encoded == [4, 16, 4]


@pytest.mark.kernels
def test_a_model_that_is_packed_again_is_not_tested_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As training on a metric does in every update; another precision is tested by itself."""
    tested: list[int] = []
    equal = compaction.are_equal

    def counted(*arguments: Any) -> bool:
        tested.append(len(arguments[1]))
        return equal(*arguments)

    monkeypatch.setattr(decoding_batch, "are_equal", counted)
    model, counts = network(*WIRINGS[4]), []
    for precision in ("int8", "int8", "fp32"):
        search(inference_model(model, precision), sentences(3), SEARCHES["beam"], "cpu")
        counts.append(len(tested))
    assert 0 < counts[0] == counts[1] < counts[2]


def test_a_batch_whose_rows_depend_on_their_number_stays_whole() -> None:
    """Tested once."""
    scorer = Watched(RowByRow(RecurrentToy(30, 1)), error=1e-3)
    settings = SEARCHES["beam"]
    for _ in range(2):
        search(scorer, [[5, 6, 7]], settings, "cpu")
    assert scorer.rows.count(5) == 1
    assert set(scorer.rows) == {5, 120}


def test_so_does_an_encoder_whose_sentences_depend_on_their_number() -> None:
    scorer = Watched(RowByRow(RecurrentToy(30, 1)), error_of_encoder=1e-3)
    for _ in range(2):
        search(scorer, [[5, 6, 7]], SEARCHES["greedy"], "cpu")
    assert scorer.encoded == [4, 16, 16]


class RowByRow:
    """A toy whose products are the same for any number of rows: they are computed row by row."""

    def __init__(self, toy: RecurrentToy) -> None:
        self.toy = toy
        self.vocabulary = toy.vocabulary

    def encode(self, source: Tensor, lengths: Tensor) -> Numbers:
        return self.toy.encode(source, lengths)

    def start(self, memory: Numbers) -> Numbers:
        return self.toy.start(memory)

    def step(self, memory: Numbers, state: Numbers, tokens: Tensor) -> Step[Numbers]:
        of_row = torch.arange(len(tokens)) // (len(tokens) // len(memory.x))
        steps = [
            self.toy.step(Numbers(memory.x[row : row + 1]), Numbers(state.x[at : at + 1]), token)
            for at, (row, token) in enumerate(
                zip(of_row.tolist(), tokens.unsqueeze(1), strict=True)
            )
        ]
        return Step(
            torch.cat([step.logits for step in steps]),
            Numbers(torch.cat([step.state.x for step in steps])),
            torch.cat([step.attention for step in steps if step.attention is not None]),
        )
