"""Training that begins with what other runs have learned: weights, tokenizers; frozen parts."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from s2s import pipeline
from s2s.data.preparation.prepare import open_corpus
from s2s.errors import DataError, Interrupted, RecipeError, RunError, UsageError
from s2s.nn.parts import names_of
from s2s.pipeline.loading import load
from s2s.recipe.load import load_draft, load_recipe
from s2s.recipe.recipe import Recipe
from s2s.recipe.transfer import InitFrom
from s2s.run.directory import Run
from s2s.run.origin import weights_folder
from s2s.tasks.build import build_task
from s2s.text.growth import growth
from s2s.text.tokenizer_pair import load_tokenizers
from s2s.training.begin import begin
from tests.training.test_resume import stop_after
from tests.training.toys import Listener, differing, small_model, small_recipe, write_task

RECIPE = """\
task: translation
name: toy
data: {kind: generated, corpus: dates, pairs: 300, held_out: 10, filters: {max_dropped: 1.0}}
tokenizer: {kind: unigram, vocabulary: 110}
model:
  embeddings: 13
  encoder: {width: 11}
  decoder: {kind: luong, width: 17}
  dropout: {embedding: 0.2, encoder: 0.2, decoder: 0.2, readout: 0.2}
train:
  max_updates: 12
  batch_tokens: 400
  optimizer: {learning_rate: 1e-2}
  schedule: {kind: constant}
  average: 0.9
  patience: 10
  validate_every: 3
  precision: fp32
  best: loss
search: {kind: greedy, max_ratio: 0.5, max_offset: 9}
metrics: [bleu, chrf]
"""
LINES = ["1 March 1999", "", "Tuesday 12 May 2020", "31/12/1987", "???"]

pytestmark = pytest.mark.usefixtures("one_thread")

Call = Callable[..., tuple[int, str, str]]


def new_recipe(*changes: str, name: str = "new") -> Recipe:
    overrides = ["data.pairs=120", "data.seed=9", "data.held_out=10", f"name={name}"]
    return load_recipe("recipe.yaml", [*overrides, *changes])


TAKEN = "tokenizer={kind: from_run, run: toy}"
INIT = "train.init_from={run: toy}"


def begun(recipe: Recipe) -> tuple[Run, dict[str, torch.Tensor], list[str]]:
    """The weights with which training begins, and what is said about them."""
    pipeline.prepare(recipe)
    run = Run.open(Path("runs") / str(recipe.name))
    tokenizers = load_tokenizers(run.tokenizer_folder)
    corpus = open_corpus(run.folder, "train")
    model = build_task(recipe, tokenizers).initial_model(corpus)
    lines = list(begin(model, run, recipe, tokenizers, corpus))
    return run, {name: p.detach() for name, p in model.named_parameters()}, lines


def test_all_parts_without_an_update_are_the_trained_model(run: Run) -> None:
    new, weights, lines = begun(new_recipe(TAKEN, INIT))
    assert differing(weights, run.read_weights("best")) == []
    best = run.checkpoints().best
    count = sum(tensor.numel() for tensor in weights.values())
    assert lines == [
        f"begins with {count:,} of {count:,} parameters from runs/toy, checkpoint {best} "
        "(all parts)"
    ]
    new.write_checkpoint(0, weights, score=0.0, is_best=True)
    both = [
        load(name, device="cpu", quiet=True).translate(LINES, n_best=3, search="beam", beam=4)
        for name in ("toy", "new")
    ]
    assert both[0] == both[1]
    assert any(output.text for outputs in both[0] for output in outputs)


def test_another_checkpoint(run: Run) -> None:
    _, weights, _ = begun(new_recipe(TAKEN, "train.init_from={run: toy, checkpoint: last}"))
    assert differing(weights, run.read_weights("last")) == []


def test_named_parts_and_no_others(run: Run) -> None:
    recipe = new_recipe(
        TAKEN, "train.init_from={run: toy, parts: [encoder, attention]}", "model.decoder.width=17"
    )
    _, weights, lines = begun(recipe)
    _, untrained, _ = begun(new_recipe(TAKEN, name="plain"))
    trained = run.read_weights("best")
    taken = [name for name in weights if torch.equal(weights[name], trained[name])]
    left = [name for name in weights if torch.equal(weights[name], untrained[name])]
    assert {name.split(".")[0] for name in taken} == {"encoder", "decoder"}
    assert all(name.startswith(("encoder.", "decoder.scores.")) for name in taken)
    assert sorted([*taken, *left]) == sorted(weights)
    assert lines[0].endswith("(encoder, attention)")


def test_an_exported_model_is_a_run_too(run: Run, call: Call) -> None:
    assert call("export", "toy", "-o", "model.s2s")[0] == 0
    _, weights, lines = begun(
        new_recipe("tokenizer={kind: from_run, run: model.s2s}", "train.init_from={run: model.s2s}")
    )
    assert differing(weights, run.read_weights("best")) == []
    assert "from model.s2s, checkpoint" in lines[0]


def test_fine_tuning_is_one_line_of_a_recipe(run: Run, call: Call) -> None:
    Path("tuned.yaml").write_text(
        "task: translation\n"
        "data: {kind: generated, corpus: dates, pairs: 120, seed: 9, held_out: 10}\n"
        "train: {init_from: toy, max_updates: 2, precision: fp32}\n"
    )
    status, _, err = call("train", "tuned.yaml", "--device", "cpu")
    assert status == 0, err
    tuned = Run.open(Path("runs/tuned"))
    model = dataclasses.replace(tuned.recipe.model, dropout=run.recipe.model.dropout)
    assert model == run.recipe.model
    assert load_tokenizers(tuned.tokenizer_folder) == load_tokenizers(run.tokenizer_folder)
    assert "tokenizer: {kind: from_run, run: toy} (as in toy, with whose weights" in err
    # A model of its own wins.
    draft = load_draft("tuned.yaml", ["model.encoder={width: 10}", "name=other"])
    with pytest.raises(UsageError, match="cannot take over 'encoder'"):
        pipeline.train(draft, device="cpu")


# ---------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            [TAKEN, INIT, "model.encoder.width=8"],
            r"train.init_from: runs/toy, checkpoint \d+: cannot take over 'encoder' \("
            r"encoder.forward_layers.0.[a-z_0-9.]+: \[.*\] here, \[.*\] there.*\), 'decoder' .*; "
            r"parts: \[source_embeddings, target_embeddings, output\] fit$",
        ),
        (
            [TAKEN, "train.init_from={run: toy, parts: [encoder]}", "model.encoder.layers=2"],
            r"encoder.forward_layers.1.*: \[.*\] here, none there",
        ),
        (
            [TAKEN, INIT, "model.coverage=true"],
            r"'attention' \(decoder.coverage: \[1\] here, none there\); parts: \[encoder, decoder,",
        ),
        (
            [INIT, "tokenizer.vocabulary=100"],
            r"the source tokenizer is another one.*from_run.*takes over the tokenizer too",
        ),
        (
            ["train.init_from={run: toy, parts: [attention]}", "model.attention={kind: additive}"],
            r"'attention' \(decoder.scores.*",
        ),
        ([TAKEN, "train.init_from={run: nowhere}"], "train.init_from.run: nowhere: no such run"),
        (["tokenizer={kind: from_run, run: nowhere}"], "tokenizer.run: nowhere: no such run"),
        ([TAKEN, "train.init_from={run: new}"], "train.init_from.run: new is this run itself"),
        (
            [TAKEN, "train.init_from={run: toy, checkpoint: 99}"],
            "no checkpoint 99; there: ",
        ),
        (
            [TAKEN, "train.init_from={run: toy, checkpoint: a b}"],
            "train.init_from.checkpoint: expected best, last, a number",
        ),
        (
            [
                "train.freeze=[encoder, attention]",
                "model.attention={kind: dot}",
                "model.decoder.width=22",
            ],
            "train.freeze: the model has no weights in 'attention'",
        ),
        (
            ["data.tag=<2fr>", TAKEN],
            r"data.tag: the tokenizer of toy has no tag <2fr> \(its tags: none\)",
        ),
        ([TAKEN, "model.tied=all"], None),
    ],
)
def test_refusals(run: Run, changes: list[str], message: str | None) -> None:
    recipe = new_recipe(*changes)
    if message is None:
        pipeline.prepare(recipe)
        return
    with pytest.raises((UsageError, RunError), match=message) as caught:
        pipeline.train(recipe, device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.init_from={run: toy, parts: [encoders]}", "expected"),
        ("train.init_from={run: toy, parts: some}", "expected"),
        ("train.init_from={run: toy, parts: []}", "parts"),
        ("train.init_from={run: toy, parts: [encoder, encoder]}", "parts has 'encoder' twice"),
        ("train.init_from=3", "train.init_from: expected a section"),
        ("train.freeze=[output, output]", "freeze has 'output' twice"),
        (
            "train.freeze=[encoder, decoder, source_embeddings, target_embeddings, attention,"
            " output]",
            "freeze has all parts",
        ),
        ("tokenizer={kind: from_run}", "tokenizer.run: missing key"),
    ],
)
def test_faults_of_recipes(run: Run, change: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        new_recipe(change)


def test_two_tokenizers_cannot_be_one_matrix(run: Run) -> None:
    separate = "tokenizer={kind: separate, source: {kind: character}, target: {kind: word}}"
    pipeline.prepare(new_recipe(separate, name="two"))
    with pytest.raises(DataError, match=r"model.tied 'all' needs one tokenizer.*and two has two"):
        pipeline.prepare(new_recipe("tokenizer={kind: from_run, run: two}", "model.tied=all"))


# ------------------------------------------------------------------------- tied and untied matrices


def test_a_tied_matrix_has_several_parts(run: Run) -> None:
    trained = run.read_weights("best")
    _, weights, _ = begun(
        new_recipe(TAKEN, "train.init_from={run: toy, parts: [output]}", "model.tied=none")
    )
    assert torch.equal(weights["output.weight"], trained["target_embedding.weight"])
    assert torch.equal(weights["output.bias"], trained["output.bias"])
    assert not torch.equal(weights["target_embedding.weight"], trained["target_embedding.weight"])


def test_two_matrices_do_not_become_one_by_chance(run: Run) -> None:
    pipeline.train(new_recipe(TAKEN, "model.tied=none", name="untied"), device="cpu")
    both = "train.init_from={run: untied, parts: [target_embeddings, output]}"
    with pytest.raises(UsageError, match=r"are one matrix here \(model.tied\), and 2 in"):
        begun(new_recipe(TAKEN, both))
    one = "train.init_from={run: untied, parts: [output]}"
    _, weights, _ = begun(new_recipe(TAKEN, one))
    untied = Run.open(Path("runs/untied")).read_weights("best")
    assert torch.equal(weights["target_embedding.weight"], untied["output.weight"])


# ---------------------------------------------------------------- resuming, and runs that disappear


VARIANTS: dict[str, dict[str, Any]] = {
    "taken": {"init_from": InitFrom(run="old")},
    "frozen": {"freeze": ("encoder", "target_embeddings")},
    "both, averaged": {
        "init_from": InitFrom(run="old", parts=("encoder", "decoder")),
        "freeze": ("decoder",),
        "average": 0.9,
    },
}


def toy(tmp_path: Path, root: Path, **train: Any) -> Recipe:
    """A recipe whose tokenizer is that of `old` in `root`, which has been trained."""
    data = write_task(tmp_path / "task")
    old = dataclasses.replace(small_recipe(data, max_updates=9), name="old")
    if not (root / "old").exists():
        pipeline.train(old, runs=root, device="cpu", reporter=Listener())
    return small_recipe(data, max_updates=25, **train)


def train_toy(recipe: Recipe, root: Path, workers: int = 1) -> tuple[Run, Listener]:
    listener = Listener()
    pipeline.train(recipe, runs=root, device="cpu", reporter=listener, workers=workers)
    return Run.open(root / "toy"), listener


@pytest.mark.parametrize("variant", VARIANTS)
def test_resumed_is_uninterrupted_without_the_other_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str
) -> None:
    roots = [tmp_path / name for name in ("straight", "stopped")]
    for root in roots:
        recipe = toy(tmp_path, root, **VARIANTS[variant])
    straight, _ = train_toy(recipe, roots[0])
    stop_after([4, 15], monkeypatch)
    for update in (4, 15):
        with pytest.raises(Interrupted, match=f"saved at update {update}"):
            train_toy(recipe, roots[1])
        shutil.rmtree(roots[1] / "old", ignore_errors=True)
    run, _ = train_toy(recipe, roots[1])
    assert differing(run.read_weights("last"), straight.read_weights("last")) == []
    assert run.checkpoints() == straight.checkpoints()


def test_a_copy_is_enough_before_the_first_checkpoint(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    recipe = toy(tmp_path, root, init_from=InitFrom(run="old"))
    pipeline.prepare(recipe, runs=root)
    expected = load_file(root / "old/checkpoints/9/weights.safetensors")
    shutil.rmtree(root / "old")
    copied = load_file(weights_folder(root / "toy") / "weights.safetensors")
    assert differing(copied, expected) == []
    train_toy(recipe, root)
    with pytest.raises(UsageError, match=r"train.init_from.run: other: no such run"):
        changed = dataclasses.replace(recipe.train, init_from=InitFrom(run="other"))
        renamed = dataclasses.replace(recipe, train=changed, name="third")
        pipeline.prepare(renamed, runs=root)


def test_a_run_that_is_trained_on_does_not_change_the_copy(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    recipe = toy(tmp_path, root, init_from=InitFrom(run="old"))
    run, _ = train_toy(recipe, root)
    copied = (weights_folder(run.folder) / "weights.safetensors").read_bytes()
    old = Run.open(root / "old").recipe
    longer = dataclasses.replace(old, train=dataclasses.replace(old.train, max_updates=14))
    pipeline.train(longer, runs=root, device="cpu", reporter=Listener())
    assert (weights_folder(run.folder) / "weights.safetensors").read_bytes() == copied


def test_a_damaged_copy_is_noticed(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    recipe = toy(tmp_path, root, init_from=InitFrom(run="old"))
    pipeline.prepare(recipe, runs=root)
    shutil.rmtree(root / "old")
    path = weights_folder(root / "toy") / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.unlink()
    path.write_bytes(content)
    with pytest.raises(RunError, match="not the weights that were copied"):
        train_toy(recipe, root)


# ----------------------------------------------------------------------------------------- freezing


def frozen_and_trained(
    recipe: Recipe, run: Run, initial: dict[str, torch.Tensor]
) -> tuple[list[str], list[str]]:
    """The names of the weights that training has left as they were, and of the others."""
    left = run.read_weights("last")
    changed = differing(initial, left)
    return sorted(left.keys() - set(changed)), sorted(changed)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("average", [0.0, 0.9])
def test_frozen_parts_stay_bit_for_bit(tmp_path: Path, workers: int, average: float) -> None:
    data = write_task(tmp_path / "task")
    recipe = small_recipe(
        data, max_updates=12, freeze=("encoder", "source_embeddings"), average=average
    )
    pipeline.prepare(recipe, runs=tmp_path)
    run = Run.open(tmp_path / "toy")
    tokenizers, corpus = load_tokenizers(run.tokenizer_folder), open_corpus(run.folder, "train")
    model = build_task(recipe, tokenizers).initial_model(corpus)
    initial = {name: p.detach().clone() for name, p in model.named_parameters()}
    run, listener = train_toy(recipe, tmp_path, workers)
    expected = sorted(names_of(model, recipe.train.freeze))
    assert frozen_and_trained(recipe, run, initial)[0] == expected
    last = run.checkpoints().last
    assert last is not None
    saved = run.read_training(last)
    assert saved is not None
    moments = {name.partition("/")[2] for name in saved.tensors if name.startswith("exp_avg/")}
    assert moments == initial.keys() - set(expected)
    trained = sum(initial[name].numel() for name in moments)
    said = next(note for note in listener.notes if "training begins" in note)
    assert f"parameters, {trained:,} of them trained, fp32" in said


def test_workers_freeze_what_one_process_does(tmp_path: Path) -> None:
    """More processes than parameters that are left to train."""
    data = write_task(tmp_path / "task")
    every = ("encoder", "decoder", "source_embeddings", "target_embeddings", "attention")
    model = small_model(tied="none", dropout=dataclasses.replace(small_model().dropout, word=0.0))
    plain = dataclasses.replace(
        model, dropout=type(model.dropout)(embedding=0, encoder=0, decoder=0, readout=0)
    )
    recipe = small_recipe(data, max_updates=6, freeze=every, average=0.9)
    recipe = dataclasses.replace(recipe, model=plain)
    runs = [train_toy(recipe, tmp_path / str(count), count)[0] for count in (1, 3)]
    one, three = (run.read_weights("last") for run in runs)
    for name, tensor in one.items():
        torch.testing.assert_close(three[name], tensor, rtol=1e-4, atol=1e-6)


# --------------------------------------------------------------------------------------- tokenizers


def test_one_side_of_a_run(run: Run) -> None:
    """A new source language beside the old target (Zoph et al. 2016)."""
    separate = (
        "tokenizer={kind: separate, source: {kind: character}, target: {kind: from_run, run: toy}}"
    )
    recipe = new_recipe(
        separate, "train.init_from={run: toy, parts: [decoder, target_embeddings, output]}"
    )
    new, weights, _ = begun(recipe)
    old, own = load_tokenizers(run.tokenizer_folder), load_tokenizers(new.tokenizer_folder)
    assert own.target == old.target
    assert own.source != old.source
    trained = run.read_weights("best")
    assert torch.equal(weights["target_embedding.weight"], trained["target_embedding.weight"])


def test_data_are_prepared_again_where_the_other_tokenizer_changed(run: Run) -> None:
    recipe = new_recipe(TAKEN)
    assert pipeline.prepare(recipe).redone == ("tokenizer", "data")
    assert pipeline.prepare(recipe).redone == ()
    toy_recipe = load_recipe("recipe.yaml", ["tokenizer.vocabulary=100"])
    pipeline.train(toy_recipe, device="cpu", restart=True)
    assert pipeline.prepare(recipe).redone == ("tokenizer", "data")
    assert load_tokenizers(Path("runs/new/tokenizer")).source.size == 100


def test_extension_takes_rows_and_makes_new_ones(run: Run) -> None:
    Path("x").write_text("".join(f"zażółć {n} gęślą\n" for n in range(40)))
    Path("y").write_text("".join(f"jaźń {n}\n" for n in range(40)))
    files = "data={kind: files, train: {source: x, target: y}, hold_out: {share: 0.1}}"
    taken = "tokenizer={kind: from_run, run: toy, extend: 30, extend_min_count: 5}"
    recipe = load_recipe("recipe.yaml", ["name=new", files, taken, INIT])
    new, weights, _ = begun(recipe)
    trained = run.read_weights("best")
    old, own = (
        load_tokenizers(run.tokenizer_folder).target,
        load_tokenizers(new.tokenizer_folder).target,
    )
    grown = growth(old, own)
    assert grown is not None
    assert 0 < own.size - old.size <= 30
    embedding = weights["target_embedding.weight"]
    assert torch.equal(embedding[: old.size], trained["target_embedding.weight"])
    assert torch.equal(weights["output.bias"][: old.size], trained["output.bias"])
    for token, parts in grown.parts.items():
        rows = trained["target_embedding.weight"]
        mean = rows[parts].mean(0) if parts else rows[4:].mean(0)
        assert torch.equal(embedding[token], mean)
    assert any(grown.parts.values())
    assert not all(grown.parts.values())


def test_extension_without_new_tokens_changes_nothing(run: Run) -> None:
    taken = "tokenizer={kind: from_run, run: toy, extend: 30, extend_min_count: 100000}"
    _, weights, _ = begun(new_recipe(taken, INIT))
    assert differing(weights, run.read_weights("best")) == []


def test_a_new_tag_moves_no_embedding(run: Run) -> None:
    taken = "tokenizer={kind: from_run, run: toy, extend: 1, extend_min_count: 100000}"
    new, weights, _ = begun(new_recipe(taken, INIT, "data.tag=<2fr>"))
    old = run.read_weights("best")["source_embedding.weight"]
    assert torch.equal(weights["source_embedding.weight"][:-1], old)
    assert load_tokenizers(new.tokenizer_folder).source.pieces([len(old)]) == ["<2fr>"]


def test_the_log_says_how_many_parameters_are_trained(tmp_path: Path) -> None:
    recipe = small_recipe(write_task(tmp_path / "task"), max_updates=1, freeze=("decoder",))
    run, _ = train_toy(recipe, tmp_path)
    start = next(event for event in run.read_events() if event["event"] == "start")
    assert 0 < start["trained_parameters"] < start["parameters"]
    assert json.loads((run.folder / "checkpoints.json").read_text())["last"] == 1
