"""Training from its beginning to its end: what is logged, when it stops, what survives a fault."""

import dataclasses
import itertools
import json
import math
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from s2s import pipeline
from s2s.errors import RunError, TrainingError, UsageError
from s2s.recipe.data import FilesData
from s2s.recipe.recipe import Recipe
from s2s.recipe.search import GreedySearch
from s2s.recipe.train import ConstantSchedule, Optimizer, PlateauSchedule
from s2s.report.comparison import compare_runs
from s2s.run.best_checkpoint import Best, best_of
from s2s.run.checkpoints import Checkpoints
from s2s.run.directory import Run
from s2s.training import trainer
from s2s.training.objective import Validation
from s2s.training.state import Position
from s2s.training.thread_choice import ThreadChange
from tests.training.toys import Listener, differing, small_recipe, weights, with_train, write_task


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return small_recipe(write_task(tmp_path / "task"))


def train(recipe: Recipe, root: Path, **options: Any) -> tuple[Run, Position, Listener]:
    listener = Listener()
    position = pipeline.train(recipe, runs=root, device="cpu", reporter=listener, **options)
    return Run.open(root / (recipe.name or "")), position, listener


def events(run: Run, kind: str | None = None) -> list[dict[str, Any]]:
    return [event for event in run.read_events() if kind in (None, event["event"])]


# --------------------------------------------------------------------------------- what is logged


def test_every_event_is_in_the_log(recipe: Recipe, tmp_path: Path) -> None:
    run, position, listener = train(with_train(recipe, validate_every=25), tmp_path)
    log = events(run)
    regular = ("update", "gradients")
    assert [e["event"] for e in log if e["event"] not in regular] == (
        ["start", *["validation"] * (position.update // 25 + 1), "end"]
    )
    for event in log:
        assert {"time", "event", "update", "epoch", "tokens", "seconds"} <= event.keys()
    assert [e["update"] for e in log] == sorted(e["update"] for e in log)

    start, end = log[0], log[-1]
    assert (start["update"], start["is_resumed"], start["total_updates"]) == (0, False, 57)
    assert (start["device"], start["precision"]) == ("cpu", "fp32")
    assert start["parameters"] == sum(tensor.numel() for tensor in weights(run).values())
    assert start["versions"].keys() == {"s2s", "torch", "python"}
    assert (end["reason"], end["update"], end["epoch"]) == (position.ended, position.update, 3)
    assert end["tokens"] == position.tokens == 3 * tokens_of(run)

    updates = events(run, "update")
    assert {25, 50, position.update} <= {event["update"] for event in updates}
    for event in updates:
        assert 0 < event["nll"] <= event["smoothed"] + 0.1
        assert event["learning_rate"] == 5e-3
        assert event["gradient_norm"] > 0 and 0 < event["readout_deviation"] < 1
        assert event["tokens_per_second"] > 0
    assert updates[-1]["nll"] < updates[0]["nll"]
    assert [update for update, _ in listener.windows] == [event["update"] for event in updates]

    best = min(events(run, "validation"), key=lambda event: event["nll"])
    assert best["is_best"]
    assert best["perplexity"] == pytest.approx(math.exp(best["nll"]))
    assert best["scores"]["bleu"]["signature"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|")
    assert run.checkpoints().best == best["update"] == position.best_update
    assert run.checkpoints().best_score == position.best_score == -best["nll"]


def tokens_of(run: Run) -> int:
    """Target tokens of the training split, an end of sentence for each."""
    train = json.loads((run.data_folder / "report.json").read_text())["splits"]["train"]
    return int(train["target"]["tokens"] + train["kept"])


def test_the_user_hears_how_it_begins_and_ends(recipe: Recipe, tmp_path: Path) -> None:
    run, position, listener = train(recipe, tmp_path)
    first, last = listener.notes
    size = sum(tensor.numel() for tensor in weights(run).values())
    what, memory = first.split("; ")
    assert what == f"{run.folder}: training begins: {size:,} parameters, fp32 on cpu"
    assert re.fullmatch(r"batches of 64 tokens take up to [\d.]+ GiB of [\d.]+ GiB", memory)
    assert last.startswith(f"{run.folder}: training ended after {position.update} updates and ")
    assert last.endswith(
        f" (all epochs are done); best validation {-(position.best_score or 0):.2f} "
        f"at update {position.best_update}"
    )
    assert [update for update, _, _ in listener.validations] == [
        event["update"] for event in events(run, "validation")
    ]


def test_the_same_seed_gives_the_same_weights(recipe: Recipe, tmp_path: Path) -> None:
    short = with_train(recipe, epochs=1)
    runs = [
        train(dataclasses.replace(short, name=name, seed=seed), tmp_path)[0]
        for name, seed in (("one", 5), ("two", 5), ("other", 6))
    ]
    one, two, other = (weights(run) for run in runs)
    assert differing(one, two) == []
    assert set(differing(one, other)) == one.keys()


# ------------------------------------------------------------------------------------ when it ends


def test_a_finished_run_says_so_and_stays_as_it_is(recipe: Recipe, tmp_path: Path) -> None:
    run, position, _ = train(with_train(recipe, epochs=1), tmp_path)
    before = weights(run), events(run), run.checkpoints()
    again, same, listener = train(with_train(recipe, epochs=1), tmp_path)
    assert same == position
    assert len(listener.notes) == 1
    assert listener.notes[0].startswith(f"{run.folder}: training ended after ")
    assert differing(weights(again), before[0]) == []
    assert (events(again), again.checkpoints()) == before[1:]


@pytest.mark.parametrize("limit", [7, 20, 33])
def test_the_number_of_updates_may_be_limited_and_raised_later(
    recipe: Recipe, tmp_path: Path, limit: int
) -> None:
    """Also in the middle of an epoch: the longer run's weights are those of one that was always
    to be so long."""
    run, position, _ = train(with_train(recipe, max_updates=limit), tmp_path)
    assert (position.update, position.ended) == (limit, "all updates are done")
    assert run.checkpoints().last == limit
    assert events(run, "validation")[-1]["update"] == limit
    assert events(run, "start")[0]["total_updates"] == limit

    run, position, listener = train(with_train(recipe, max_updates=41), tmp_path)
    assert (position.update, position.ended) == (41, "all updates are done")
    assert f"training resumes at update {limit}: " in listener.notes[0]
    straight = dataclasses.replace(with_train(recipe, max_updates=41), name="straight")
    assert differing(weights(run), weights(train(straight, tmp_path)[0])) == []


@pytest.fixture
def falling_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every validation scores lower than the one before."""
    scores = itertools.count(100, -1)
    monkeypatch.setattr(Validation, "score", lambda self, name: float(next(scores)))


def test_a_flat_metric_leaves_the_decision_to_the_loss(recipe: Recipe, tmp_path: Path) -> None:
    """One-word lines have a BLEU of 0: the best checkpoint is the one with the lowest loss."""
    flat = with_train(recipe, best="bleu", validate_every=5, patience=2, average=0.0)
    run, position, listener = train(flat, tmp_path)
    (told,) = [line for line in listener.notes if "the loss chooses" in line]
    assert "toy: bleu is 0 in this validation as in the best one, so the loss chooses" in told
    found = events(run, "validation")
    assert {event["scores"]["bleu"]["value"] for event in found} == {0.0}
    best = min(found, key=lambda event: event["nll"])
    assert run.checkpoints().best == position.best_update == best["update"] > 5
    assert position.ended == "all epochs are done"


def test_another_score_chooses_the_best_checkpoint_afterwards(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a finished run, among the checkpoints that are there; training goes on from it."""
    chosen = with_train(recipe, best="loss", validate_every=5, keep=2, patience=None)
    run, position, _ = train(chosen, tmp_path)
    found = events(run, "validation")
    there = run.checkpoint_steps()
    by_chrf = with_train(chosen, best="chrf")
    _, again, _ = train(by_chrf, tmp_path)
    left = [event for event in found if event["update"] in there]
    best = max(left, key=lambda event: (event["scores"]["chrf"]["value"], -event["nll"]))
    index = run.checkpoints()
    assert (index.best, index.best_score) == (best["update"], best["scores"]["chrf"]["value"])
    assert (again.update, again.best_update) == (position.update, best["update"])
    assert again.best_nll == best["nll"]
    shown = {pair.name: pair.first for pair in compare_runs(run, run).scores}
    assert (shown["chrf"], shown["loss"]) == (best["scores"]["chrf"]["value"], best["nll"])
    other = next(event for event in left if event is not best)
    Checkpoints(run.folder).choose_best(other["update"], 0.0)
    shown = {pair.name: pair.first for pair in compare_runs(run, run).scores}
    assert (shown["chrf"], shown["loss"]) == (other["scores"]["chrf"]["value"], other["nll"])
    Checkpoints(run.folder).choose_best(index.best, index.best_score)
    assert again.stale == sum(event["update"] > best["update"] for event in found)
    assert run.recipe.train.best == "chrf"
    scored = dataclasses.replace(chosen, metrics=("bleu", "chrf", "cer"))
    with pytest.raises(
        UsageError, match=r"train\.best cer: the validations so far did not compute"
    ):
        train(with_train(scored, best="cer"), tmp_path)
    assert run.recipe.train.best == "chrf" and run.checkpoints() == index
    assert "Traceback" not in capsys.readouterr().err


def test_a_better_checkpoint_that_is_gone_is_named() -> None:
    def event(update: int, nll: float, exact: float) -> dict[str, Any]:
        scores = {"exact": {"value": exact}}
        return {"event": "validation", "update": update, "nll": nll, "scores": scores}

    found = [event(5, 3.0, 0.0), event(10, 2.0, 60.0), event(15, 2.5, 40.0), event(20, 2.2, 40.0)]
    best, told = best_of("exact", found, [5, 15, 20])
    assert best == Best(20, 40.0)
    assert told == (
        "update 10 had a better exact, but its checkpoint is gone; of those that are there update "
        "20 is the best"
    )
    assert best_of("exact", found, [10, 20]) == (Best(10, 60.0), None)
    assert best_of("loss", found, [5, 15]) == (
        Best(15, -2.5),
        told.replace("exact", "loss").replace("20", "15"),
    )
    assert best_of("exact", [], []) == (None, None)


@pytest.mark.usefixtures("falling_scores")
def test_more_patience_lets_a_stopped_run_go_on(recipe: Recipe, tmp_path: Path) -> None:
    stale = with_train(recipe, best="bleu", validate_every=5, patience=2)
    run, position, listener = train(stale, tmp_path)
    assert (position.update, position.ended) == (15, "no improvement in 2 validations")
    assert run.checkpoints().best == position.best_update == 5
    assert sorted(path.name for path in (run.folder / "checkpoints").iterdir()) == ["15", "5"]
    assert [is_best for _, _, is_best in listener.validations] == [True, False, False]
    _, position, _ = train(with_train(stale, patience=4), tmp_path)
    assert (position.update, position.stale) == (25, 4)


@pytest.mark.usefixtures("falling_scores")
def test_a_plateau_lowers_the_learning_rate(recipe: Recipe, tmp_path: Path) -> None:
    schedule = PlateauSchedule(kind="plateau", factor=0.1, patience=2)
    run, position, _ = train(
        with_train(
            recipe, best="bleu", validate_every=4, patience=None, schedule=schedule, max_updates=24
        ),
        tmp_path,
    )
    # Validations at 4 (the best), 8, 12 (lowered after it), 16, 20 (lowered again), 24.
    rates = {event["update"]: event["learning_rate"] for event in events(run, "update")}
    assert rates == pytest.approx({4: 5e-3, 8: 5e-3, 12: 5e-3, 16: 5e-4, 20: 5e-4, 24: 5e-5})
    assert (position.plateaus, position.stale) == (2, 5)


def test_without_validation_the_last_is_the_best(tmp_path: Path) -> None:
    recipe = small_recipe(write_task(tmp_path / "task", validation=False), epochs=2)
    run, position, listener = train(recipe, tmp_path)
    assert run.checkpoints().last == run.checkpoints().best == position.update
    assert (events(run, "validation"), listener.validations) == ([], [])
    assert listener.notes[-1].endswith("(all epochs are done)")
    assert listener.notes[1] == (
        f"{run.folder}: no validation pairs: training ignores train.patience and runs to "
        "its end, and the last checkpoint counts as the best"
    )
    with pytest.raises(UsageError, match="its recipe has no validation split"):
        pipeline.evaluate(run=run, split="validation", device="cpu")


def test_targets_that_search_cannot_reach_are_counted(recipe: Recipe, tmp_path: Path) -> None:
    """The target repeats its source: as long, and one more prediction for the end."""
    assert isinstance(recipe.data, FilesData)
    lines = Path(recipe.data.train.source or "").read_text().splitlines()
    lengths = [len(line) for line in lines]
    for ratio, offset, least in ((0.5, 1, 1), (1.0, 0, 0), (1.0, 1, 99)):
        search = GreedySearch(kind="greedy", max_ratio=ratio, max_offset=offset)
        short = dataclasses.replace(with_train(recipe, max_updates=1), search=search)
        _, _, listener = train(short, tmp_path / f"{ratio}-{offset}")
        cut = sum(length > least for length in lengths)
        told = f"{cut:,} of {len(lengths):,} training targets are longer than an output may be"
        assert [told in note for note in listener.notes] == [False, *[True] * (cut > 0), False]


# --------------------------------------------------------------------------------- what goes wrong


def test_a_wild_learning_rate_is_one_line(recipe: Recipe, tmp_path: Path) -> None:
    wild = with_train(recipe, optimizer=Optimizer(learning_rate=1e3))
    with pytest.raises(
        TrainingError,
        match=rf"^{tmp_path}/toy: update \d+: training diverged \(loss \d.*\); nothing was saved "
        r"yet; try a lower train.optimizer.learning_rate, more warmup or a smaller .*clip_norm$",
    ):
        train(wild, tmp_path)
    run = Run.open(tmp_path / "toy")
    assert run.checkpoints().last is None
    assert events(run)[-1]["event"] == "diverged"


@pytest.mark.parametrize("rate", [1e3, 1e38])
def test_divergence_leaves_the_last_good_checkpoint(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate: float
) -> None:
    def factor(schedule: object, update: int, total: int, plateaus: int = 0) -> float:
        return 1.0 if update < 24 else rate

    careful = with_train(recipe, validate_every=10)
    with monkeypatch.context() as patch:
        patch.setattr("s2s.training.update.learning_rate_factor", factor)
        with pytest.raises(TrainingError, match="the checkpoint of update 20 is intact; try a low"):
            train(careful, tmp_path)
    run = Run.open(tmp_path / "toy")
    assert run.checkpoints().last == 20
    assert pipeline.evaluate(run=run, device="cpu").scores.value("chrf") > 0
    run, position, _ = train(careful, tmp_path)
    assert position.ended == "all epochs are done"
    straight = dataclasses.replace(careful, name="straight")
    assert differing(weights(run), weights(train(straight, tmp_path)[0])) == []


class FillsTheDisk(Listener):
    """From the second validation on, files must not grow beyond a page."""

    def validation(self, *what: Any) -> None:
        super().validation(*what)
        if len(self.validations) == 2:
            import resource

            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))


def test_a_full_disk_loses_nothing_that_was_saved(recipe: Recipe, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(
            TrainingError,
            match=rf"^{tmp_path}/toy/checkpoints: cannot save the checkpoint of update \d+: .*; "
            r"the checkpoint of update (\d+) is intact$",
        ) as caught:
            pipeline.train(recipe, runs=tmp_path, device="cpu", reporter=FillsTheDisk())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    run = Run.open(tmp_path / "toy")
    last = run.checkpoints().last
    assert last == events(run, "validation")[0]["update"]
    assert str(caught.value).endswith(f"of update {last} is intact")
    assert [path.name for path in (run.folder / "checkpoints").iterdir()] == [str(last)]
    run, position, listener = train(recipe, tmp_path)
    assert f"resumes at update {last}: " in listener.notes[0]
    straight = dataclasses.replace(recipe, name="straight")
    assert differing(weights(run), weights(train(straight, tmp_path)[0])) == []
    assert position.ended == "all epochs are done"


def test_one_training_at_a_time(recipe: Recipe, tmp_path: Path) -> None:
    run, _, _ = train(with_train(recipe, epochs=1), tmp_path)
    before = weights(run), events(run)
    with run.lock(), pytest.raises(RunError, match=r"toy: in use by process \d+; wait for it, or"):
        train(with_train(recipe, epochs=2), tmp_path)
    assert run.recipe.train.epochs == 1
    assert differing(weights(run), before[0]) == []
    assert events(run) == before[1]


def test_another_recipe_needs_another_run_or_a_restart(recipe: Recipe, tmp_path: Path) -> None:
    run, _, _ = train(with_train(recipe, epochs=1), tmp_path)
    wider = dataclasses.replace(
        recipe, seed=2, model=dataclasses.replace(recipe.model, embeddings=13)
    )
    before = weights(run)
    with pytest.raises(
        UsageError,
        match=r"toy: trained with another recipe \(seed: 1 -> 2; model.embeddings: 12 -> 13\); "
        r"--set name=NEW starts a new run, --restart starts over in this folder$",
    ):
        train(wider, tmp_path)
    assert differing(weights(run), before) == []
    new, _, _ = train(dataclasses.replace(with_train(wider, epochs=1), name="new"), tmp_path)
    assert differing(weights(run), before) == []
    run, _, _ = train(with_train(wider, epochs=1), tmp_path, restart=True)
    assert differing(weights(run), weights(new)) == []
    assert [event["is_resumed"] for event in events(run, "start")] == [False]
    assert run.recipe == with_train(wider, epochs=1)


def test_data_that_has_changed_is_noticed(recipe: Recipe, tmp_path: Path) -> None:
    run, _, _ = train(with_train(recipe, epochs=1), tmp_path)
    with (tmp_path / "task" / "train.target").open("a") as target:
        target.write("a\n")
    for call in (pipeline.train, pipeline.prepare):
        with pytest.raises(
            UsageError,
            match=r"toy: trained on data that has changed since; --set name=NEW starts a new run, "
            r"s2s train --restart starts over in this folder$",
        ):
            call(with_train(recipe, epochs=2), runs=tmp_path)
    assert run.checkpoints().last is not None


def test_data_that_was_deleted_is_made_again(recipe: Recipe, tmp_path: Path) -> None:
    """Encoding is a function of tokenizer and text, so a resumed training is not affected."""
    run, _, _ = train(with_train(recipe, epochs=1), tmp_path)
    shutil.rmtree(run.data_folder)
    run, position, _ = train(with_train(recipe, epochs=2), tmp_path)
    assert position.epoch == 2
    straight = dataclasses.replace(with_train(recipe, epochs=2), name="straight")
    assert differing(weights(run), weights(train(straight, tmp_path)[0])) == []


def test_a_training_state_that_was_deleted_is_missed(recipe: Recipe, tmp_path: Path) -> None:
    run, position, _ = train(with_train(recipe, epochs=1), tmp_path)
    folder = run.folder / "checkpoints" / str(position.update)
    (folder / "training.safetensors").unlink()
    with pytest.raises(
        UsageError,
        match=rf"toy: the training state of update {position.update} was deleted, so training "
        r"cannot resume; --restart starts over$",
    ):
        train(with_train(recipe, epochs=2), tmp_path)
    assert pipeline.evaluate(run=run, device="cpu").saved is not None


def test_another_number_of_threads_is_set_and_said(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = iter([None, ThreadChange(3, 1.0, 4)])
    choice = SimpleNamespace(revise=lambda: next(changes, None))
    monkeypatch.setattr(trainer, "thread_choice", lambda device, group: choice)
    threads = torch.get_num_threads()
    try:
        run, _, listener = train(recipe, tmp_path)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    (event,) = events(run, "threads")
    assert (event["update"], event["threads"], event["others"]) == (2, 3, 1.0)
    assert [note for note in listener.notes if "training goes on with 3 threads" in note]


def test_warm_up_is_part_of_what_is_logged(recipe: Recipe, tmp_path: Path) -> None:
    warm = with_train(
        recipe,
        schedule=ConstantSchedule(kind="constant", warmup=10),
        validate_every=5,
        max_updates=15,
    )
    run, _, _ = train(warm, tmp_path)
    rates = [event["learning_rate"] for event in events(run, "update")]
    assert rates == pytest.approx([2.5e-3, 5e-3, 5e-3])


def test_gradients_of_every_part_are_watched(recipe: Recipe, tmp_path: Path) -> None:
    run, _, _ = train(recipe, tmp_path)
    found = [event["norms"] for event in events(run, "gradients")]
    assert found
    for norms in found:
        assert {"encoder.forward_layers.0", "decoder.layers.0", "decoder.readout"} <= norms.keys()
        assert all(norm > 0 for norm in norms.values())
