"""Text and features together: questions about drawn shapes, answered through the same code."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from s2s import pipeline
from s2s.data.preparation.prepare import open_corpus
from s2s.recipe.load import load_recipe
from s2s.run.directory import Run
from s2s_cli.main import run as command_line
from tests.captions import RECIPE, REGIONS, write_captions

QUESTIONS = (
    RECIPE.replace("task: captioning", "task: translation")
    .replace("name: shapes", "name: questions")
    .replace("{source: null, target: captions}", "{source: question, target: answer}")
    .replace(
        "image_features: [{width: 24, dropout: 0}]",
        "encoder: {width: 12}\n  image_features: [{dropout: 0}]",
    )
    .replace("epochs: 10", "epochs: 20")
    .replace("batch_tokens: 200", "batch_tokens: 100")
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("questions")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_captions(folder, QUESTIONS)
        command_line(["train", "recipe.yaml"])
    yield folder


@pytest.fixture(autouse=True)
def inside(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(trained)


def rows() -> list[dict[str, str]]:
    return [json.loads(line) for line in Path("test.jsonl").read_text().splitlines()]


def said(lines: list[str]) -> list[str]:
    target = io.BytesIO()
    run = Run.open(Path("runs/questions"))
    source = io.BytesIO("".join(f"{line}\n" for line in lines).encode())
    pipeline.translate(run=run, source=source, target=target, device="cpu")
    return target.getvalue().decode().splitlines()


def test_questions_are_answered_from_the_image() -> None:
    lines = [f"{row['question']}\t{row['image']}" for row in rows()]
    right = [found == row["answer"] for found, row in zip(said(lines), rows(), strict=True)]
    assert sum(right) >= 18
    # The other question about the same image has another answer: both sources are read.
    others = [
        line.replace("colour", "shape") if "colour" in line else line.replace("shape", "colour")
        for line in lines
    ]
    assert not set(said(others)) & {""}
    assert all(a != b for a, b in zip(said(others), said(lines), strict=True))


def test_a_line_needs_both(capfd: pytest.CaptureFixture[str]) -> None:
    found = said(["what shape is it", "what shape is it\tnobody", "", "\timg 141.jpg"])
    assert found[:3] == ["", "", ""]
    err = capfd.readouterr().err
    assert "line 1: expected text, tab, id, found 'what shape is it'; its output is empty" in err
    assert "line 2: grid.npy: no features for 'nobody'" in err


def test_a_batch_counts_words_and_regions() -> None:
    recipe = load_recipe(Path("recipe.yaml"))
    from s2s.data.features.lookup import open_features

    corpus = open_corpus(Path("runs/questions"), "train", open_features(recipe.data))
    assert len(corpus) == 220  # one answer each
    assert set(corpus.source_lengths.tolist()) == {4}
    assert set(corpus.memory_lengths.tolist()) == {4 + REGIONS}
    texts = open_corpus(Path("runs/questions"), "test").source_texts
    assert texts == [f"{row['question']}\t{row['image']}" for row in rows()]


def test_attention_names_words_and_regions() -> None:
    from s2s.inference.attention.maps import attention_maps

    translator = pipeline.load_translator(Run.open(Path("runs/questions")), device="cpu")
    (found,) = attention_maps(translator, ["what colour is it\timg 150.jpg"])
    words = ("what", "colour", "is", "it", "</s>")
    assert found.source == (*words, *(f"[{place}]" for place in range(1, REGIONS + 1)))
    assert found.source_word_ids == (0, 1, 2, 3, *[-1] * (REGIONS + 1))
    assert found.weights.shape == (2, len(found.source))
