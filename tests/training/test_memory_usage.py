"""Where memory does not suffice for a batch, its update is made in parts, and is the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from s2s import pipeline
from s2s.data.batches import collate
from s2s.data.store import Corpus
from s2s.errors import TrainingError
from s2s.nn.batch import Batch
from s2s.nn.model import Seq2Seq
from s2s.recipe.train import Train
from s2s.run.directory import Run
from s2s.tasks.seq2seq import objective as objective_module
from s2s.tasks.seq2seq.objective import Seq2SeqObjective
from s2s.training.update import Updater, is_out_of_memory
from tests.training.toys import Listener, differing, small_recipe, state_of, weights, write_task


def shrink(most: int, patch: pytest.MonkeyPatch, *, late: bool = False) -> list[int]:
    """Memory for `most` pairs, or none left in the backward pass of more; pairs of every pass."""
    whole: Callable[..., Any] = objective_module.batch_loss
    seen: list[int] = []

    def explode(gradient: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("no memory left")

    def limited(model: Seq2Seq, batch: Batch, *rest: Any, **options: Any) -> Any:
        seen.append(len(batch.target_lengths))
        if seen[-1] > most and not late:
            raise torch.OutOfMemoryError("no memory left")
        loss, readout_NE = whole(model, batch, *rest, **options)
        if seen[-1] > most:  # the output layer has its gradient by then
            readout_NE.register_hook(explode)
        return loss, readout_NE

    patch.setattr(objective_module, "batch_loss", limited)
    return seen


def batches(corpus: Corpus, *sizes: int) -> list[Batch]:
    rows = torch.arange(sum(sizes)).split(list(sizes))
    return [collate(corpus, pairs.numpy()) for pairs in rows]


def updated(corpus: Corpus) -> tuple[dict[str, torch.Tensor], Any]:
    """One update over batches of 3 and 13 pairs, and the gradients that the optimizer was given."""
    state, seen = state_of(Train(clip_norm=None)), {}

    def step() -> None:
        seen.update({name: p.grad.clone() for name, p in state.parameters.items()})

    state.optimizer.step = step  # type: ignore[assignment]
    return seen, Updater(state, Seq2SeqObjective(state.recipe), 1, "fp32", 100)(
        batches(corpus, 3, 13)
    )


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(("most", "parts"), [(13, 2), (12, 4), (5, 7), (1, 16)])
def test_an_update_in_parts_is_the_whole_one(
    corpus: Corpus, most: int, parts: int, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradients that the first, failed try has left count for nothing."""
    whole, one = updated(corpus)
    seen = shrink(most, monkeypatch, late=late)
    gradients, update = updated(corpus)
    assert update.parts == parts
    assert max(seen[-parts:]) <= most
    assert sum(seen[-parts:]) == 16
    assert update.tokens == one.tokens
    torch.testing.assert_close(update.nll, one.nll)
    torch.testing.assert_close(update.gradient_norm, one.gradient_norm)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, whole[name], rtol=1e-4, atol=1e-6, msg=name)


def test_a_single_pair_that_does_not_fit_is_reported(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    shrink(0, monkeypatch)
    with pytest.raises(TrainingError, match="update 1: memory is too small for a single pair"):
        updated(corpus)


def test_other_errors_are_not_swallowed(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(objective_module, "batch_loss", broken)
    with pytest.raises(RuntimeError, match="shapes differ"):
        updated(corpus)


def test_a_tensor_that_no_memory_holds_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    of_cublas = "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
    assert is_out_of_memory(RuntimeError(of_cublas))
    assert not is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_INVALID_VALUE"))


def test_training_says_it_once_and_sees_every_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_recipe(write_task(tmp_path / "data"), epochs=2)
    listener, other = Listener(), Listener()
    # What is tried before the first update fits: as where other programs take memory later.
    monkeypatch.setattr(Updater, "fits", lambda self, batch: True)
    shrink(6, monkeypatch)
    pipeline.train(recipe, runs=tmp_path / "one", device="cpu", reporter=listener)
    pipeline.train(recipe, runs=tmp_path / "two", device="cpu", reporter=other)
    told = [note for note in listener.notes if "memory was too small" in note]
    assert len(told) == 1
    run, again = Run.open(tmp_path / "one" / "toy"), Run.open(tmp_path / "two" / "toy")
    assert differing(weights(run), weights(again)) == []
    splits = [event for event in run.read_events() if event["event"] == "split"]
    assert len(splits) == 1
    assert splits[0]["parts"] > splits[0]["batches"]
