"""`s2s inspect gradients` on runs that are there: numbers, a picture, and what has none."""

import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from s2s import pipeline
from s2s.data.batches import collate
from s2s.data.preparation.prepare import open_corpus
from s2s.inference.load import model_of_weights
from s2s.nn.gradient_flow import decoder_trace, lag_norms
from s2s.nn.state_dict import feature_shapes
from s2s.pipeline.gradients import GradientOptions, cell_kinds, cell_of, inspect_gradients
from s2s.recipe.load import load_recipe
from s2s.run.directory import Run
from s2s.text.tokenizer_pair import load_tokenizers
from tests.commands import Call, call
from tests.run.test_made_before import MADE, TIME
from tests.tasks.labels.test_label_commands import RECIPES, write_data

__all__ = ["call"]

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs with their data: verbs of characters, captions of features."""
    for path in MADE.iterdir():
        if path.is_dir():
            shutil.copytree(path, tmp_path / "runs" / path.name)
        else:
            os.utime(shutil.copy(path, tmp_path), (TIME, TIME))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_means_are_those_of_the_lines_one_by_one() -> None:
    run = Run.open(Path("runs/verbs"))
    found = inspect_gradients(run, GradientOptions(lags=4, device="cpu"))
    (curve,) = found.curves
    weights = run.read_weights()
    tokenizers = load_tokenizers(run.tokenizer_folder)
    model = model_of_weights(run.recipe, tokenizers, weights, "verbs").eval().requires_grad_(False)
    corpus = open_corpus(run.folder, "validation")
    rows = [
        [
            norms[:, 0]
            for norms in lag_norms(decoder_trace(model, collate(corpus, np.array([i]))), 4)
        ]
        for i in range(len(corpus))
    ]
    assert found.lines == len(corpus)
    for lag in range(5):
        norms = torch.cat([row[lag] for row in rows if lag < len(row)])
        firsts = torch.cat([row[0][lag:] for row in rows if lag < len(row)])
        assert found.counts[lag] == len(norms) == len(firsts)
        assert curve.norms[lag] == pytest.approx(float(norms.mean()), rel=1e-4)
        assert curve.relative[lag] == pytest.approx(float(norms.sum() / firsts.sum()), rel=1e-4)
    assert curve.relative[0] == 1.0


@pytest.mark.parametrize("side", ["decoder", "encoder"])
def test_untrained_models_stand_beside_it(side: str) -> None:
    run = Run.open(Path("runs/verbs"))
    options = GradientOptions(
        side=side, lags=4, lines=3, untrained=True, cells=tuple(cell_kinds()), device="cpu"
    )
    found = inspect_gradients(run, options)
    others = [kind for kind in cell_kinds() if kind != "lstm"]
    expected = ["trained lstm", "untrained lstm", *(f"untrained {kind}" for kind in others)]
    assert [one.name for one in found.curves] == expected
    assert [one.trained for one in found.curves] == [True] + [False] * len(cell_kinds())
    assert found.lines == 3
    for one in found.curves:
        assert len(one.norms) == len(one.relative) == len(found.counts) == 5
        assert all(np.isfinite(one.norms)) and one.norms[0] > 0
    # Each is another network, and the same one every time.
    assert len({one.norms[1] for one in found.curves}) == len(found.curves)
    assert inspect_gradients(run, options) == found


def test_a_cell_of_the_run_keeps_its_settings() -> None:
    """--cells lstm in a run of LSTMs is --untrained."""
    run = Run.open(Path("runs/verbs"))
    one, other = (
        inspect_gradients(run, GradientOptions(untrained=is_asked, cells=cells, device="cpu"))
        for is_asked, cells in ((True, ()), (False, ("lstm",)))
    )
    assert one == other


def test_every_cell_can_be_named(call: Call) -> None:
    assert {"lstm", "gru", "tanh", "minlstm"} <= {*cell_kinds()}
    assert [cell_of(kind).kind for kind in cell_kinds()] == cell_kinds()
    said = " ".join(call.output("inspect", "gradients", "--help").decode().split())
    assert f"with these cells: {', '.join(cell_kinds())}." in said


def test_image_features_are_read() -> None:
    run = Run.open(Path("runs/captions"))
    found = inspect_gradients(run, GradientOptions(untrained=True, device="cpu"))
    assert len(feature_shapes(run.read_weights())) == 1
    assert [one.name for one in found.curves] == ["trained lstm", "untrained lstm"]
    assert found.curves[0].relative[1] > 0


LANGUAGE_MODEL = """\
task: lm
name: lm
data:
  kind: files
  train: {target: train.txt}
  validation: {target: train.txt}
tokenizer: {kind: word}
model:
  embeddings: 6
  decoder: {kind: plain, width: 7}
train: {epochs: 1, batch_tokens: 60}
metrics: [perplexity]
"""


def test_a_language_model_has_a_decoder_alone(call: Call) -> None:
    Path("train.txt").write_text("a b c a\nb c\nc a b\n" * 10)
    Path("lm.yaml").write_text(LANGUAGE_MODEL)
    pipeline.train(load_recipe("lm.yaml"), device="cpu")
    found = json.loads(call.output("inspect", "gradients", "lm", "--cells", "gru", "--json"))
    assert [one["name"] for one in found["curves"]] == ["trained lstm", "untrained gru"]
    assert found["counts"] == [120, 90, 60, 30, 10]
    status, line = call.fault("inspect", "gradients", "lm", "--side", "encoder")
    assert status == 2
    assert line == (
        "runs/lm: its model reads no source text, so it has no such encoder; expected --side "
        "decoder"
    )


@pytest.mark.parametrize("task", RECIPES)
def test_models_of_labels_have_an_encoder_alone(call: Call, task: str) -> None:
    """Steps are words, where the source has their characters too."""
    write_data()
    Path("labels.yaml").write_text(RECIPES[task])
    assert call("train", "labels.yaml", "--set", "train.epochs=1", "--device", "cpu")[0] == 0
    assert call.fault("inspect", "gradients", task) == (
        2,
        f"runs/{task}: its model predicts labels, by a decoder without recurrence; expected "
        "--side encoder",
    )
    named = ("inspect", "gradients", task, "--side", "encoder", "--cells", "tanh", "--json")
    found = json.loads(call.output(*named))
    assert [one["name"] for one in found["curves"]] == ["trained lstm", "untrained tanh"]
    lines = Path("validation.words").read_text().splitlines()
    lengths = [len(line.split() if task == "tag" else line) + 1 for line in lines]
    assert found["counts"][:3] == [sum(max(0, one - lag) for one in lengths) for lag in range(3)]
    weights = Run.open(Path("runs") / task).read_weights()
    parts = json.loads(call.output("inspect", "model", task, "--json"))
    assert parts["total"]["parameters"] == sum(one.numel() for one in weights.values())
    assert call("inspect", "model", "labels.yaml", "--runs", "elsewhere")[0] == 0


def test_the_command_writes_a_table_a_picture_and_json(call: Call) -> None:
    pytest.importorskip("matplotlib")
    named = ("inspect", "gradients", "verbs", "--cells", "tanh", "--lags", "4")
    status, out, err = call(*named, "--png", "g.png")
    assert status == 0
    assert "runs/verbs: the decoder's first layer, validation," in err
    assert err.endswith("s2s: g.png written\n")
    text = out.decode()
    found = json.loads(call.output(*named, "--json"))
    for curve in found["curves"]:
        assert curve["name"] in text
        for share in (*curve["relative"], curve["norms"][0]):
            assert f"{share:.3g}" in text
    picture = Path("g.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert call.output(*named, "--png", "-") == picture
    from matplotlib.image import imread

    pixels = imread(io.BytesIO(picture))
    assert pixels.shape[0] > 300 and pixels.std() > 0.05
    Path("folder").mkdir()
    status, line = call.fault(*named, "--png", "folder", "-q")
    assert (status, line) == (2, "folder: cannot write it: Is a directory")


FAULTS = [
    (
        ["nothing"],
        "nothing: no such run, neither as a folder nor in runs; runs has captions, verbs",
    ),
    (
        ["verbs", "--split", "test"],
        "runs/verbs: its recipe has no test split, or data/ was deleted",
    ),
    (
        ["verbs", "--cells", "lstm,ltsm"],
        "--cells: expected some of lstm, gru, tanh, relu, sru, ssru, mingru, minlstm, found 'ltsm'",
    ),
    (
        ["verbs", "--png", "-", "--json"],
        "--png -, --json: expected one on stdout; give the picture a file",
    ),
    (
        ["captions", "--side", "encoder"],
        "runs/captions: its model reads no source text, so it has no such encoder; expected "
        "--side decoder",
    ),
]


@pytest.mark.parametrize(("arguments", "expected"), FAULTS, ids=[" ".join(f[0]) for f in FAULTS])
def test_what_cannot_be_measured(call: Call, arguments: list[str], expected: str) -> None:
    assert call.fault("inspect", "gradients", *arguments, "-q") == (2, expected)


def test_targets_of_one_word_have_nothing_to_go_back_to(call: Call) -> None:
    Path("one.x").write_text("a b\nb\n" * 5)
    Path("one.y").write_text("x\ny\n" * 5)
    Path("one.yaml").write_text(
        LANGUAGE_MODEL.replace("task: lm\nname: lm", "task: translation\nname: one")
        .replace("target: train.txt", "source: one.x, target: one.y")
        .replace("decoder: {kind: plain, width: 7}", "decoder: {kind: luong, width: 7}")
        .replace("perplexity", "exact")
    )
    pipeline.train(load_recipe("one.yaml", ["model.encoder.width=4"]), device="cpu")
    call.captured.readouterr()
    assert call.fault("inspect", "gradients", "one") == (
        2,
        "runs/one: the longest target of the first 10 validation lines has 1 token; going back "
        "takes two or more",
    )
    assert call("inspect", "gradients", "one", "--side", "encoder")[0] == 0


TRANSLATION = """\
task: translation
name: two-cells
data:
  kind: files
  train: {source: train.txt, target: train.txt}
  validation: {source: train.txt, target: train.txt}
tokenizer: {kind: word}
model: {embeddings: 8, encoder: {width: 8}, decoder: {kind: conditional, width: 8}}
train: {epochs: 1, batch_tokens: 60}
metrics: [perplexity]
"""


def test_a_decoder_with_attention_within_a_step_is_refused(call: Call) -> None:
    Path("train.txt").write_text("a b c a\nb c\nc a b\n" * 10)
    Path("two.yaml").write_text(TRANSLATION)
    assert call("train", "two.yaml", "--device", "cpu")[0] == 0
    status, line = call.fault("inspect", "gradients", "two-cells")
    assert status == 2
    assert line.startswith("runs/two-cells: a step of its decoder, 'conditional', has two cells")
    assert line.endswith("expected --side encoder")
    assert call("inspect", "gradients", "two-cells", "--side", "encoder", "--json")[0] == 0


def test_an_exported_model_has_no_data(call: Call) -> None:
    call.output("export", "--run", "verbs", "--output", "verbs.s2s")
    assert call.fault("inspect", "gradients", "verbs.s2s") == (
        2,
        "verbs.s2s: an exported model, which has no data to measure on",
    )


def test_a_picture_needs_matplotlib(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s2s.pipeline.gradient_plot.find_spec", lambda name: None)
    assert call.fault("inspect", "gradients", "verbs", "--png", "g.png") == (
        2,
        "--png needs matplotlib: pip install matplotlib; --json needs nothing",
    )
