"""On real networks: company, number and order change no sample and no proof."""

import random
from typing import Any

import pytest
import torch

from s2s.nn.inference_model import inference_model
from s2s.recipe.search import ExhaustiveSearch, SampleSearch, Search
from s2s.search.loop import search
from s2s.special import EOS
from tests.search.test_scorers import WIRINGS, network, sentences

pytestmark = pytest.mark.kernels

HARD = 7
"""The place of hard attention among the wirings."""

LENGTHS: dict[str, Any] = {"max_ratio": 1.0, "max_offset": 3}
SETTINGS: list[Search] = [
    SampleSearch(kind="sample", samples=3, top_p=0.9, **LENGTHS),
    SampleSearch(kind="sample", samples=2, no_repeat_ngram=2, repetition_penalty=1.2, **LENGTHS),
    ExhaustiveSearch(kind="exhaustive", nodes=200, **LENGTHS),
]


@pytest.mark.parametrize("index", [0, 1, 3, 4, 5, HARD])
@pytest.mark.parametrize("settings", SETTINGS, ids=["sample", "constrained", "exhaustive"])
def test_company_number_and_order_change_nothing(index: int, settings: Search) -> None:
    model, sources = network(*WIRINGS[index]), sentences(25, longest=12)
    with torch.no_grad():
        # Enough for outputs to end; a sum over alignments is less sharp than one softmax.
        model.output.bias[EOS] += 5.0 if index != HARD else 3.0
    scorer = inference_model(model, "fp32")

    def outcome(order: list[int]) -> list[list[tuple[tuple[int, ...], float, bool | None]]]:
        chosen = [sources[i] for i in order]
        found = search(scorer, chosen, settings, "cpu", places=order)
        return [[(h.tokens, h.log_prob, h.proven) for h in one] for one in found]

    together = outcome(list(range(len(sources))))
    assert len({one[0][0] for one in together}) > 2
    for i in range(0, len(sources), 6):
        assert outcome([i]) == [together[i]]
    mixed = random.Random(2).sample(range(len(sources)), 15)
    assert outcome(mixed) == [together[i] for i in mixed]
