"""Embeddings that begin with vectors from files: which rows, their scale, what is reported."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from s2s import pipeline
from s2s.data.preparation.prepare import open_corpus
from s2s.errors import DataError, RecipeError, UsageError
from s2s.nn.model import Seq2Seq
from s2s.recipe.load import load_recipe
from s2s.run.directory import Run
from s2s.tasks.build import build_task
from s2s.text.tokenizer_pair import TokenizerPair, load_tokenizers
from s2s.training.begin import begin

RECIPE = """\
task: translation
name: toy
data: {kind: files, train: {source: x, target: y}}
tokenizer: {kind: separate, source: {kind: word}, target: {kind: word}}
model:
  embeddings: 4
  tied: output
  encoder: {width: 6}
  decoder: {kind: luong, width: 8}
train: {max_updates: 2, batch_tokens: 100, precision: fp32, best: loss}
"""

SOURCE = ["ein haus", "ein baum", "haus", "baum baum", "neu"]
TARGET = ["a house", "a tree", "house", "tree tree", "new"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(RECIPE)
    Path("x").write_text("".join(f"{line}\n" for line in SOURCE * 20))
    Path("y").write_text("".join(f"{line}\n" for line in TARGET * 20))
    Path("v").write_text("house 1 2 3 4\ntree 0 0 5 0\nbird 9 9 9 9\n▁x 1 1 1 1\n")
    return tmp_path


def begun(*changes: str) -> tuple[Seq2Seq, TokenizerPair, list[str]]:
    recipe = load_recipe("recipe.yaml", changes)
    pipeline.prepare(recipe)
    run = Run.open(Path("runs/toy"))
    tokenizers, corpus = load_tokenizers(run.tokenizer_folder), open_corpus(run.folder, "train")
    model = build_task(recipe, tokenizers).initial_model(corpus)
    return model, tokenizers, list(begin(model, run, recipe, tokenizers, corpus))


def row(model: Any, tokenizers: TokenizerPair, word: str, side: str = "target") -> np.ndarray:
    tokenizer = getattr(tokenizers, side)
    ((token,),) = tokenizer.encode([word])
    return getattr(model, f"{side}_embedding").weight[token].detach().numpy()


def test_rows_are_the_vectors_times_one_number(folder: Path) -> None:
    Path("v").write_text("house 1 2 3 4\ntree 0 0 5 0\nbird 9 9 9 9\n")
    model, tokenizers, lines = begun("model.pretrained={target: v}")
    scale = ((1 + 4 + 9 + 16 + 25) / 2) ** -0.5
    np.testing.assert_allclose(row(model, tokenizers, "house"), scale * np.array([1, 2, 3, 4]))
    np.testing.assert_allclose(row(model, tokenizers, "tree"), scale * np.array([0, 0, 5, 0]))
    # Two of four words, and 5 of 8 tokens of the targets.
    assert lines == [
        "target embeddings: 2 of 4 tokens of the vocabulary (50.0%), 62.5% of those in training, "
        f"begin with vectors of v, times {scale:.3g}"
    ]


def test_everything_else_is_initialized_as_usual(folder: Path) -> None:
    plain, tokenizers, _ = begun()
    model, _, _ = begun("model.pretrained={target: v}")
    theirs = dict(plain.named_parameters())
    for name, parameter in model.named_parameters():
        same = (parameter == theirs[name]).reshape(len(parameter), -1).all(1)
        changed = [token for token, one in enumerate(same.tolist()) if not one]
        expected = sorted(tokenizers.target.encode(["house tree"])[0])
        assert changed == (expected if name == "target_embedding.weight" else [])


def test_both_sides(folder: Path) -> None:
    Path("s").write_text("haus 1 0 0 0\n")
    model, tokenizers, lines = begun("model.pretrained={source: s, target: v}")
    np.testing.assert_allclose(row(model, tokenizers, "haus", "source"), [1, 0, 0, 0])
    assert [line.partition(":")[0] for line in lines] == ["source embeddings", "target embeddings"]


def test_one_matrix_for_both_sides(folder: Path) -> None:
    """Tokens of both sides are counted."""
    shared = ("tokenizer={kind: word}", "model.tied=all")
    model, tokenizers, lines = begun("model.pretrained={source: v}", *shared)
    assert model.source_embedding is model.target_embedding
    np.testing.assert_allclose(
        row(model, tokenizers, "tree") / np.linalg.norm(row(model, tokenizers, "tree")),
        [0, 0, 1, 0],
    )
    assert "2 of 8 tokens of the vocabulary (25.0%), 31.2% of those in training" in lines[0]
    with pytest.raises(RecipeError, match="both sides have one matrix; name one file"):
        begun("model.pretrained={source: v, target: v}", *shared)


@pytest.mark.parametrize(
    ("extra", "expected"), [("", {"▁house"}), ("▁tree 1 1 1 1\n", {"▁tree", "e"})]
)
def test_pieces_of_words_and_whole_words(folder: Path, extra: str, expected: set[str]) -> None:
    """A file of words has vectors for pieces that are words; a file of pieces for its pieces."""
    Path("y").write_text("".join(f"{line}\n" for line in ["house tree house tree"] * 100))
    Path("v").write_text(f"house 1 2 3 4\ne 5 5 5 5\n{extra}")
    tokenizer = (
        "tokenizer={kind: separate, source: {kind: word}, target: {kind: bpe, vocabulary: 24}}"
    )
    plain, tokenizers, _ = begun(tokenizer)
    model, _, _ = begun(tokenizer, "model.pretrained={target: v}")
    same = (model.target_embedding.weight == plain.target_embedding.weight).all(1)
    changed = [token for token, one in enumerate(same.tolist()) if not one]
    pieces = set(tokenizers.target.pieces(changed))
    assert {"▁house", "▁tree", "e"} < set(tokenizers.target.spellings())
    assert pieces == expected


def test_training_resumes_without_the_file(folder: Path) -> None:
    recipe = load_recipe("recipe.yaml", ["model.pretrained={target: v}"])
    pipeline.train(recipe, device="cpu")
    Path("v").unlink()
    pipeline.train(recipe, device="cpu")  # there is nothing left to do
    changed = load_recipe(
        "recipe.yaml",
        ["model.pretrained={target: v}", "train.max_updates=4", "train.schedule={kind: constant}"],
    )
    with pytest.raises(UsageError, match="trained with another recipe"):
        pipeline.train(changed, device="cpu")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("bird 1 2 3 4\n", "model.pretrained.target: v: has no vector of any word"),
        ("house 0 0 0 0\n", "model.pretrained.target: v: all vectors of the vocabulary are zero"),
        ("house 1 2 3\n", "its vectors have 3 numbers, and model.embeddings is 4"),
    ],
)
def test_files_that_are_no_use(folder: Path, content: str, message: str) -> None:
    Path("v").write_text(content)
    with pytest.raises(DataError) as caught:
        pipeline.train(load_recipe("recipe.yaml", ["model.pretrained={target: v}"]), device="cpu")
    assert message in str(caught.value)


def test_a_missing_file_is_noticed_before_data_are_prepared(folder: Path) -> None:
    with pytest.raises(DataError, match=r"^model.pretrained.target: none: no such file$"):
        pipeline.train(load_recipe("recipe.yaml", ["model.pretrained={target: none}"]))
    assert not Path("runs/toy/data").exists()
    model = "tokenizer={kind: sentencepiece, model: none}"
    with pytest.raises(DataError, match=r"^tokenizer.model: none: no such file$"):
        pipeline.train(load_recipe("recipe.yaml", [model]))


def test_two_origins_of_one_matrix_are_refused(folder: Path) -> None:
    changes = ["model.pretrained={target: v}", "train.init_from={run: old, parts: [output]}"]
    with pytest.raises(RecipeError, match=r"and train.init_from.parts 'output' both name"):
        load_recipe("recipe.yaml", changes)
    load_recipe("recipe.yaml", [changes[0], "train.init_from={run: old, parts: [encoder]}"])
    load_recipe("recipe.yaml", [*changes, "model.tied=none"])
    with pytest.raises(RecipeError, match="expected a file for 'source', 'target' or both"):
        load_recipe("recipe.yaml", ["model.pretrained={}"])


def test_frozen_vectors_stay(folder: Path) -> None:
    model, tokenizers, _ = begun("model.pretrained={target: v}", "train.freeze=[target_embeddings]")
    expected = row(model, tokenizers, "tree").copy()
    recipe = load_recipe(
        "recipe.yaml", ["model.pretrained={target: v}", "train.freeze=[target_embeddings]"]
    )
    pipeline.train(recipe, device="cpu")
    weights = Run.open(Path("runs/toy")).read_weights("last")["target_embedding.weight"]
    (token,) = tokenizers.target.encode(["tree"])[0]
    assert torch.equal(weights[token], torch.from_numpy(expected))
