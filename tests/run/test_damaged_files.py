"""Every reader of a run's files: a file that is damaged is used, or refused in one line."""

import json
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from s2s.data.preparation.prepare import open_corpus
from s2s.data.preparation.report import PrepareReport
from s2s.data.store import Encoded, write_corpus
from s2s.errors import RunError, S2sError
from s2s.inference.load import build_model, load_translator, model_of_weights
from s2s.inference.resume import check_note
from s2s.nn.state_dict import feature_shapes
from s2s.report.build_page import ReportOptions, report_page
from s2s.run.directory import Run
from s2s.run.history import parse_event, read_history
from s2s.run.summary import summarize
from s2s.text.tokenizer_pair import load_tokenizers
from s2s.training.state import Position, TrainingState
from s2s.training.trackers.base import Tracked
from tests.torture.mutations import damaged

RECIPE = """\
task: translation
name: toy
data: {kind: generated, corpus: dates, pairs: 200, held_out: 10, filters: {max_dropped: 1.0}}
tokenizer: {kind: unigram, vocabulary: 80}
model: {embeddings: 8, encoder: {width: 8}, decoder: {kind: luong, width: 8}}
train: {max_updates: 3, batch_tokens: 400, schedule: {kind: constant}, precision: fp32}
search: {kind: greedy}
"""

NESTED = b"[" * 200_000 + b"]" * 200_000


def _restore(run: Run) -> None:
    recipe = run.recipe
    tokenizers = load_tokenizers(run.tokenizer_folder)
    weights = run.read_weights("last")
    state = TrainingState(
        build_model(recipe, tokenizers, features=feature_shapes(weights)), recipe.train
    )
    last = run.checkpoints().last
    assert last is not None
    saved = run.read_training(last)
    assert saved is not None
    state.restore(weights, saved.tensors, saved.meta)


def _events(run: Run) -> None:
    list(run.read_events())
    read_history(run.read_events())
    summarize(run.folder)
    report_page(run, ReportOptions(limit=0), lambda line: None)


def _corpus(run: Run) -> None:
    tokenizers = load_tokenizers(run.tokenizer_folder)
    for split in ("train", "validation", "test"):
        corpus = open_corpus(run.folder, split, tokenizers=tokenizers)  # type: ignore[arg-type]
        assert corpus.source_texts is None or corpus.references is not None


def _tracked(run: Run) -> None:
    tracked = Tracked(folder=run.folder, name="toy", fields={}, update=0)
    assert isinstance(tracked.read_id("wandb"), str | None)


def _report(run: Run) -> None:
    text = (run.data_folder / "report.json").read_bytes().decode(errors="replace")
    try:
        PrepareReport.from_json(text).lines()
    except ValueError as error:
        raise RunError("damaged") from error  # readers make it again, or go without


READERS: dict[str, Callable[[Run], object]] = {
    "checkpoints.json": lambda run: run.resolve_checkpoint("best"),
    "metrics.jsonl": _events,
    "environment.json": lambda run: Run.open(run.folder),
    "defaults.json": lambda run: run.text_of(run.recipe),
    "recipe.yaml": lambda run: run.recipe,
    "trackers.json": _tracked,
    "note.resume": lambda run: check_note(run.folder / "note", {"model": ["toy"]}),
    "tokenizer/**/*.json": lambda run: load_tokenizers(run.tokenizer_folder),
    "tokenizer/**/*.model": lambda run: load_tokenizers(run.tokenizer_folder),
    "checkpoints/*/weights.safetensors": lambda run: load_translator(run, device="cpu"),
    "checkpoints/*/training.safetensors": _restore,
    "data/*.arrow": _corpus,
    "data/report.json": _report,
}


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Run:
    """A copy of a trained run, with the files that not every run has."""
    folder = tmp_path / "toy"
    shutil.copytree(trained / "runs" / "toy", folder)
    (folder / "trackers.json").write_text('{"wandb": "x1"}')
    (folder / "note.resume").write_text('{"format": 1, "model": ["toy"]}')
    choice = {"values": [[["seed"], 1]], "reason": "it is one"}
    (folder / "defaults.json").write_text(json.dumps({"key": "x", "choices": [choice]}))
    return Run.open(folder)


def refused(work: Callable[[], object]) -> str:
    """The line that refuses a file; empty if it was used. Any other error fails the test."""
    began = time.monotonic()
    try:
        work()
    except S2sError as error:
        text = str(error)
        assert len(text) < 5000
        assert "\n" not in text or "recipe" in text  # a recipe has a line for each fault
        return text
    finally:
        assert time.monotonic() - began < 60
    return ""


@pytest.mark.parametrize("pattern", READERS)
def test_damage_is_refused_in_one_line_or_does_not_matter(run: Run, pattern: str) -> None:
    paths = sorted(run.folder.glob(pattern))
    assert paths, pattern
    assert refused(lambda: READERS[pattern](run)) == ""
    count = 0
    for seed in range(40):
        draw = random.Random(f"{pattern} {seed}")
        path = draw.choice(paths)
        content = path.read_bytes()
        path.write_bytes(damaged(content, draw))
        count += refused(lambda: READERS[pattern](run)) != ""
        path.write_bytes(content)
    forgiving = ("metrics.jsonl", "defaults.json", "trackers.json")
    assert (count == 0) == (pattern in forgiving)


@pytest.mark.parametrize("pattern", [name for name in READERS if "json" in name or "note" in name])
@pytest.mark.parametrize("content", [NESTED, b"{}", b"[]", b"3", b"null", b"\xff", b'"\\ud800"'])
def test_json_of_another_form(run: Run, pattern: str, content: bytes) -> None:
    for path in sorted(run.folder.glob(pattern)):
        kept = path.read_bytes()
        path.write_bytes(content)
        refused(lambda: READERS[pattern](run))
        path.write_bytes(kept)


@pytest.mark.parametrize("missing", ["exp_avg/output.bias", "exp_avg_sq/output.bias"])
def test_a_training_state_without_a_tensor(run: Run, missing: str) -> None:
    path = run.folder / "checkpoints" / "3" / "training.safetensors"
    saved = run.read_training(3)
    assert saved is not None
    tensors = load_file(path)
    del tensors[missing]
    save_file(tensors, path, {"state": json.dumps(saved.meta)})
    assert refused(lambda: _restore(run)).startswith(
        f"training state: expected '{missing}' of [80]"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("update", -1), ("update", "3"), ("epoch", 1.5), ("ended", 3), ("seconds", [])],
)
def test_a_position_of_another_type(name: str, value: object) -> None:
    meta = {**vars(Position()), name: value}
    assert refused(lambda: Position.from_json(meta)).startswith(
        f"the training state is damaged ('{name}' is "
    )


def test_ids_beyond_the_vocabulary(tmp_path: Path, run: Run) -> None:
    """They would read behind the embedding's matrix."""
    ids = np.array([5, 80], dtype=np.int32)
    path = run.data_folder / "train.arrow"
    with write_corpus(path, vocabulary=80, with_text=False) as writer:
        writer.append(Encoded(ids, np.array([2])), Encoded(ids[:1], np.array([1])))
    tokenizers = load_tokenizers(run.tokenizer_folder)
    line = refused(lambda: open_corpus(run.folder, "train", tokenizers=tokenizers))
    assert line == (
        f"{path}: damaged, or prepared with other tokenizers: expected source ids below 80, found "
        "80; 's2s prep --force' makes it again"
    )


@pytest.mark.parametrize("change", ["  embeddings: 10000000", "  embeddings: 4000000000000"])
def test_a_recipe_that_claims_a_huge_model(run: Run, change: str) -> None:
    """Shapes are compared before memory is taken."""
    text = run.recipe_path.read_text()
    assert "  embeddings: 8\n" in text
    run.recipe_path.write_text(text.replace("  embeddings: 8\n", f"{change}\n"))
    weights = run.read_weights()
    tokenizers = load_tokenizers(run.tokenizer_folder)
    line = refused(lambda: model_of_weights(run.recipe, tokenizers, weights, "toy"))
    assert line.startswith("toy: ")
    assert "they belong to another model" in line
    assert torch.get_default_device().type == "cpu"


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"event": 3},
        {"event": "start"},
        {"event": "update", "update": 10**400},
        {"event": "update", "update": True},
        {"event": "validation", "update": 3, "scores": {"bleu": "x"}},
        {"event": "validation", "update": 3},
        {"event": "end", "update": 3, "seconds": "long"},
    ],
)
def test_an_event_of_another_form_is_left_out(event: dict[str, object]) -> None:
    assert parse_event(json.dumps(event).encode()) is None


@pytest.mark.parametrize(
    "event",
    [
        {"event": "validation", "update": 3, "nll": None, "scores": {"bleu": {"value": 1.5}}},
        {"event": "average", "name": "average", "updates": [3, 6], "scores": {"bleu": 1.5}},
        {"event": "of a later version"},
    ],
)
def test_an_event_is_read(event: dict[str, object]) -> None:
    assert parse_event(json.dumps(event).encode()) == event


@pytest.mark.parametrize("reason", [None, [1], {"a": 1}, 7, True])
def test_reasons_that_are_no_texts_are_left_out(run: Run, reason: object) -> None:
    sound = {"values": [[["seed"], 1]], "reason": "it is one"}
    other = {"values": [[["name"], "toy"]], "reason": reason}
    (run.folder / "defaults.json").write_text(json.dumps({"choices": [other, sound]}))
    text = run.text_of(run.recipe)
    assert "# chosen: it is one" in text
    assert text.count("# chosen") == 1
