"""The least memory of a model, against the model itself and the machine."""

from pathlib import Path

import pytest
import torch

from s2s.errors import UsageError
from s2s.recipe.load import parse_draft
from s2s.recipe.recipe import Recipe
from s2s.training import model_size
from s2s.training.model_size import check_memory, least_parameters

RECIPE = "task: translation\ndata: {kind: generated, corpus: dates}\nmodel: {embeddings: %s%s}\n"


def recipe(embeddings: int, rest: str = "") -> Recipe:
    return parse_draft(Path("r.yaml"), (RECIPE % (embeddings, rest)).encode()).recipe


@pytest.mark.parametrize("decoder", ["luong", "bahdanau", "stacked"])
@pytest.mark.parametrize("tied", ["none", "output"])
def test_a_model_has_no_fewer_parameters(decoder: str, tied: str) -> None:
    from s2s.nn.model import Seq2Seq

    encoder, widths = "encoder: {width: 20, layers: 2}", f"{{kind: {decoder}, width: 28}}"
    found = recipe(24, f", tied: {tied}, {encoder}, decoder: {widths}")
    model = Seq2Seq(found.model, 50, 70)
    count = sum(parameter.numel() for parameter in model.parameters())
    assert 0.3 * count < least_parameters(found, 50, 70) <= count


def test_one_line_where_memory_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(model_size, "whole_memory", lambda device: 2**30)
    check_memory(recipe(100), (1000, 1000), cpu, 1, "runs/x")
    with pytest.raises(
        UsageError, match=r"^runs/x: the recipe's model has .* 1\.0 GiB are free on"
    ) as e:
        check_memory(recipe(10_000_000), (1000, 1000), cpu, 1, "runs/x")
    assert "\n" not in str(e.value)
    monkeypatch.setattr(model_size, "whole_memory", lambda device: None)
    check_memory(recipe(10_000_000), (1000, 1000), cpu, 1, "runs/x")
