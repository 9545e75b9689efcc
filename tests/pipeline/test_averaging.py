"""Averages of checkpoints: the arithmetic, what a run keeps for it, the command, who may use it."""

import dataclasses
import errno
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from s2s import pipeline
from s2s.errors import RunError
from s2s.nn.inference_model import InferenceModel
from s2s.nn.state_dict import load_weights, mean_weights
from s2s.pipeline.averaging import ValidationScores
from s2s.recipe.load import load_recipe
from s2s.recipe.recipe import Recipe
from s2s.run.checkpoints import Checkpoints, SavedState
from s2s.run.directory import Run

RECIPE = """\
task: translation
name: toy
data: {kind: generated, corpus: dates, pairs: 300, held_out: 10, filters: {max_dropped: 1.0}}
tokenizer: {kind: character}
model:
  embeddings: 13
  tied: all
  encoder: {width: 11}
  decoder: {kind: luong, width: 17}
  dropout: {embedding: 0.2, encoder: 0.2, decoder: 0.2, readout: 0.2}
train:
  max_updates: 12
  batch_tokens: 400
  optimizer: {learning_rate: 1e-3}
  schedule: {kind: constant}
  average: 0.0
  patience: 10
  validate_every: 3
  precision: fp32
  best: loss
  keep: 3
search: {kind: greedy, max_ratio: 0.5, max_offset: 9}
metrics: [bleu, chrf]
"""


pytestmark = pytest.mark.usefixtures("one_thread")


def weights(run: Run, which: str | int) -> dict[str, Tensor]:
    return run.read_weights(which)


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


# -------------------------------------------------------------------------------- the arithmetic


def random_weights(seed: int, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randn(5, 3, generator=generator).to(dtype) for n in ("a", "b")}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 7])
def test_the_average_of_the_same_is_itself(dtype: torch.dtype, count: int) -> None:
    one = random_weights(1, dtype)
    assert equal(mean_weights([("", one)] * count), one)


def test_the_average_of_two_is_their_arithmetic_mean() -> None:
    one, other = random_weights(1), random_weights(2)
    found = mean_weights([("", one), ("", other)])
    for name, tensor in found.items():
        expected = torch.tensor(
            [(x + y) / 2 for x, y in zip(*(w[name].flatten().tolist() for w in (one, other)))]  # noqa: B905
        )
        assert torch.equal(tensor, expected.reshape(5, 3))


def test_sums_are_made_in_float64() -> None:
    """In float32, 1e8 + 1 - 1e8 is 0."""
    parts = [torch.tensor([x], dtype=torch.float32) for x in (1e8, 1.0, -1e8, 3.0)]
    assert mean_weights([("", {"w": part}) for part in parts])["w"].item() == 1.0


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"a": torch.zeros(2)}, r"'a': expected \[3\] of float32 as in the others, found \[2\] of"),
        ({"a": torch.zeros(3, dtype=torch.float64)}, "found .3. of float64"),
        ({"b": torch.zeros(3)}, r"'a': expected \[3\] of float32 as in the others, found none"),
        ({"a": torch.zeros(3), "b": torch.zeros(3)}, "'b': expected none as in the others"),
    ],
)
def test_other_models_are_refused(other: dict[str, Tensor], message: str) -> None:
    with pytest.raises(RunError, match=f"^here: .*{message}.*: they are not of one model$"):
        mean_weights([("there", {"a": torch.zeros(3)}), ("here", other)])


# ------------------------------------------------------------------------------ what a run keeps


def test_training_keeps_the_weights_of_the_latest_validations(run: Run) -> None:
    index = run.checkpoints()
    assert (index.last, index.kept) == (12, (6, 9, 12))
    assert set(run.checkpoint_steps()) == {6, 9, 12, index.best}
    folder = run.folder / "checkpoints"
    with_training = {p.parent.name for p in folder.glob("*/training.safetensors")}
    assert with_training == {str(index.last), str(index.best)}


def test_kept_are_the_validated_alone(tmp_path: Path) -> None:
    run, state = Run(tmp_path), SavedState({}, {})
    run.write_checkpoint(1, random_weights(1), state, keep=2, is_best=True, score=1.0)
    for step in (2, 4, 6):
        run.write_checkpoint(step, random_weights(step), state, keep=2)
        run.write_checkpoint(step + 1, random_weights(0), state)  # by the clock
    assert run.checkpoints().kept == (4, 6)
    assert run.checkpoint_steps() == [1, 4, 6, 7]
    run.write_checkpoint(8, random_weights(8), state, keep=0)
    assert (run.checkpoints().kept, run.checkpoint_steps()) == ((), [1, 8])


def test_an_index_without_kept_ones_is_read(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write_checkpoint(3, random_weights(3), is_best=True, score=0.5)
    (tmp_path / "checkpoints.json").write_text('{"last": 3, "best": 3, "best_score": 0.5}')
    assert (run.checkpoints().last, run.checkpoints().kept) == (3, ())


@pytest.mark.parametrize(
    ("name", "expected"), [("loss", -2.0), ("bleu", 5.0), ("wer", -7.0), ("chrf", -math.inf)]
)
def test_checkpoints_rank_by_what_chooses_the_best(name: str, expected: float) -> None:
    assert ValidationScores(nll=2.0, scores={"bleu": 5.0, "wer": 7.0}).score(name) == expected


# ------------------------------------------------------------------------------------ the command


def test_the_latest_are_averaged_and_validated(run: Run, call: Callable[..., Any]) -> None:
    status, out, err = call("average", "--device", "cpu")
    assert (status, err.splitlines()[-1]) == (
        0,
        "s2s: runs/toy: saved; --checkpoint average selects it",
    )
    steps = run.checkpoint_steps()
    expected = mean_weights([("", weights(run, step)) for step in steps])
    assert equal(weights(run, "average"), expected)
    *members, best, last = out.splitlines()
    logged = {e["update"]: e for e in run.read_events() if e["event"] == "validation"}
    for line, step in zip(members, steps, strict=True):
        assert line.split()[:2] == ["update", str(step)]
        assert f"validation loss {logged[step]['nll']:.3f}  bleu " in line
    assert best.startswith(f"best single, update {run.checkpoints().best}  validation loss ")
    *_, event = run.read_events()
    assert (event["event"], event["name"], event["updates"]) == ("average", "average", steps)
    assert last.startswith(f"average of {len(steps)} ")
    assert f"validation loss {event['nll']:.3f}  bleu {event['scores']['bleu']:.2f}" in last


def test_an_average_of_equal_weights_is_validated_as_training_did(
    run: Run, call: Callable[..., Any]
) -> None:
    """The scores of the average are those that training would print for the same weights."""
    twin, last = run.folder / "checkpoints" / "11", run.folder / "checkpoints" / "12"
    shutil.copytree(last, twin)
    status, out, _ = call("average", "toy", "--steps", "11,12", "--device", "cpu")
    assert status == 0
    _, member, _, average = out.splitlines()
    assert average.partition("validation")[2] == member.partition("validation")[2]
    assert equal(weights(run, "average"), weights(run, 12))


def test_the_best_and_any_steps_can_be_chosen(run: Run, call: Callable[..., Any]) -> None:
    logged = {e["update"]: e["nll"] for e in run.read_events() if e["event"] == "validation"}
    best = sorted(sorted(run.checkpoint_steps(), key=logged.__getitem__)[:2])
    for name, options, steps in (
        ("best2", ("--best", "2"), best),
        ("some", ("--steps", "12,6"), [6, 12]),
        ("late", ("--last", "2"), [9, 12]),
    ):
        assert call("average", "toy", *options, "--name", name)[0] == 0
        expected = mean_weights([("", weights(run, step)) for step in steps])
        assert equal(weights(run, name), expected)


def test_the_loss_decides_between_equal_scores(run: Run, call: Callable[..., Any]) -> None:
    """As in training: a metric that is the same for all must not choose."""
    losses = {3: 4.0, 6: 1.0, 9: 3.0, 12: 2.0}
    log = [
        {**event, "nll": losses[event["update"]], "scores": {"bleu": {"value": 0.0}}}
        if event["event"] == "validation"
        else event
        for event in run.read_events()
    ]
    run.metrics_path.write_text("".join(json.dumps(event) + "\n" for event in log))
    run.store_recipe(
        dataclasses.replace(run.recipe, train=dataclasses.replace(run.recipe.train, best="bleu"))
    )
    assert {6, 9, 12} <= set(run.checkpoint_steps())
    status, out, _ = call("average", "toy", "--best", "2", "--device", "cpu", "--json")
    found = json.loads(out)
    assert (status, [member["update"] for member in found["members"]]) == (0, [6, 12])
    assert found["best_single"]["update"] == 6


def test_a_tied_embedding_stays_tied(run: Run, call: Callable[..., Any]) -> None:
    call("average", "toy")
    found = weights(run, "average")
    assert "output.weight" not in found and "source_embedding.weight" not in found
    translator = pipeline.load_translator(run, device="cpu", checkpoint="average")
    assert isinstance(translator.scorer, InferenceModel)
    model = translator.scorer.model
    assert model.output.weight is model.target_embedding.weight is model.source_embedding.weight
    assert torch.equal(model.output.weight, found["target_embedding.weight"])
    load_weights(dict(model.named_parameters()), found, "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "12"], "--steps: expected two checkpoints or more, found one"),
        (["--steps", "12,7"], "no checkpoint 7; there: "),
        (["--steps", "a"], "--steps: expected whole numbers separated by commas, found a"),
        (["--last", "9"], "expected 9 checkpoints to average, found "),
        (["--last", "2", "--best", "2"], "--last, --best, --steps: expected one of them"),
        (["--last", "1"], "Invalid value for '--last': "),
        (["--name", "last"], "--name: expected letters, digits, - and _ after a letter, and not"),
        (["--name", "a/b"], "--name: expected letters, digits"),
    ],
)
def test_what_cannot_be_averaged_is_one_line(
    run: Run, call: Callable[..., Any], options: list[str], message: str
) -> None:
    status, out, err = call("average", "toy", *options)
    assert status in (1, 2) and out == ""
    (line,) = err.splitlines()
    assert line.startswith("s2s: error: ") and message in line
    assert not (run.folder / "checkpoints" / "average").exists()


def test_one_checkpoint_is_too_few(run: Run, call: Callable[..., Any]) -> None:
    for step in run.checkpoint_steps()[:-1]:
        shutil.rmtree(run.folder / "checkpoints" / str(step))
    assert call("average", "toy")[2] == (
        "s2s: error: runs/toy: expected 2 checkpoints to average, found 1; training keeps more "
        "with train.keep\n"
    )


def test_checkpoints_of_another_model_are_one_line(run: Run, call: Callable[..., Any]) -> None:
    from safetensors.torch import save_file

    path = run.folder / "checkpoints" / "9" / "weights.safetensors"
    found = {name: tensor.clone() for name, tensor in load_file(path).items()}
    found["output.bias"] = torch.zeros(3)
    save_file(found, path)
    status, _, err = call("average", "toy", "--last", "3")
    assert (status, err.count("\n")) == (1, 1)
    assert "runs/toy: checkpoint 9: 'output.bias': expected [" in err


# ------------------------------------------------------------------------------------ who uses it


def test_every_command_chooses_it(run: Run, call: Callable[..., Any]) -> None:
    call("average", "toy")
    Path("in").write_text("en: May 3, 1999\nen: 7:30\n")
    Path("out").write_text("a\nb\n")
    commands: dict[str, list[str]] = {
        "translate": ["--input", "in", "--scores"],
        "score": ["in", "out"],
        "attention": ["--input", "in", "--npz", "a.npz"],
        "bleu": ["--json"],
    }
    for command, options in commands.items():
        found = {}
        for checkpoint in ("average", "last", "6"):
            status, out, err = call(command, *options, "--checkpoint", checkpoint)
            assert status == 0, err
            written = Path("a.npz").read_bytes().hex() if command == "attention" else ""
            found[checkpoint] = out + written
        assert len(set(found.values())) == 3, command
    saved = {path.name for path in (run.folder / "outputs").iterdir()}
    assert {"test.average.greedy-max-ratio0.5-max-offset9.txt"} < saved
    *_, event = (e for e in run.read_events() if e.get("checkpoint") == "average")
    assert (event["event"], event.get("update")) == ("evaluation", None)
    assert event["what"].startswith("runs/toy: test, 10 lines, checkpoint average, greedy")


def test_a_name_that_is_not_there_is_one_line(run: Run, call: Callable[..., Any]) -> None:
    Path("in").write_text("a\n")
    there = ", ".join(map(str, run.checkpoint_steps()))
    status, _, err = call("translate", "--run", "toy", "--input", "in", "--checkpoint", "average")
    assert (status, err) == (
        1,
        f"s2s: error: runs/toy/checkpoints: no checkpoint average; there: {there}; 's2s average' "
        "makes one\n",
    )


def test_training_resumes_unaffected_by_an_average(run: Run, call: Callable[..., Any]) -> None:
    more = ("recipe.yaml", "--set", "train.max_updates=20", "--device", "cpu")
    plain = shutil.copytree("runs", "plain")
    assert call("train", *more, "--runs", str(plain))[0] == 0
    assert call("average", "toy")[0] == 0
    made = weights(run, "average")
    assert call("train", *more)[0] == 0
    other = Run.open(Path(plain) / "toy")
    assert run.checkpoints() == other.checkpoints()
    assert run.checkpoints().last == 20
    assert equal(weights(run, "last"), weights(other, "last"))
    one, two = run.read_training(20), other.read_training(20)
    assert one is not None and two is not None and equal(one.tensors, two.tensors)
    assert equal(weights(run, "average"), made), "pruning leaves it alone"


def test_the_data_of_tokenizers_are_no_part_of_them(run: Run, call: Callable[..., Any]) -> None:
    """An average of an earlier version has a hash with the fingerprint of the data, which
    `s2s prep` has replaced since; it kept the one before."""
    assert call("average", "toy")[0] == 0
    made = weights(run, "average")
    fingerprint = run.tokenizer_folder / "fingerprint"
    fingerprint.write_text("by time")
    assert equal(weights(run, "average"), made)
    earlier = Checkpoints(run.folder)._tokenizer("by time")
    assert earlier != Checkpoints(run.folder)._tokenizer()
    run._checkpoints._publish("earlier", {"tokenizer": earlier}, made, None)
    assert equal(weights(run, "earlier"), made)
    fingerprint.write_text("content-1\nby time")
    assert equal(weights(run, "earlier"), made)
    fingerprint.write_text("content-1\nanother")
    with pytest.raises(RunError, match="tokenizers that the run no longer has"):
        weights(run, "earlier")


def test_it_survives_restart_with_the_same_model_and_tokenizers_only(
    run: Run, call: Callable[..., Any]
) -> None:
    assert call("average", "toy")[0] == 0
    made = weights(run, "average")
    short = ("recipe.yaml", "--restart", "--set", "train.max_updates=2", "--device", "cpu")
    assert call("train", *short)[0] == 0
    assert (run.checkpoints().last, run.checkpoint_steps()) == (2, [2])
    assert equal(weights(run, "average"), made)
    # Other tokenizers of the same size would make nonsense of it.
    path = next(run.tokenizer_folder.rglob("vocabulary.json"))
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(RunError, match="tokenizers that the run no longer has; 's2s average'"):
        weights(run, "average")
    assert call("train", *short, "--set", "model.decoder.width=18")[0] == 0
    assert [path.name for path in (run.folder / "checkpoints").iterdir()] == ["2"]


@pytest.mark.parametrize(
    ("owner", "name", "nth"), [(os, "fsync", 3), (os, "fsync", 4), (Path, "replace", 2)]
)
def test_a_write_that_fails_leaves_what_was_there(
    run: Run, call: Callable[..., Any], owner: Any, name: str, nth: int
) -> None:
    """The first two flushes and the first renaming are of the lock's owner."""
    assert call("average", "toy", "--last", "2")[0] == 0
    before = weights(run, "average")
    calls, original = 0, getattr(owner, name)

    def full(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, full)
        status, _, err = call("average", "toy", "--last", "3")
    assert (status, err) == (
        1,
        "s2s: error: runs/toy/checkpoints: cannot save average: No space left on device\n",
    )
    assert equal(weights(run, "average"), before)
    assert not list((run.folder / "checkpoints").glob(".tmp-*"))


def test_a_recipe_may_ask_for_more_while_it_trains(run: Run) -> None:
    recipe: Recipe = load_recipe(overrides=["train.keep=7"])
    run.check_same(recipe)
    assert run.recipe.train.keep == 7
    assert json.loads((run.folder / "checkpoints.json").read_text())["kept"] == [6, 9, 12]
