"""Minimum Bayes risk decoding by every command that searches."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import s2s
from s2s.inference.attention.maps import attention_maps
from s2s.inference.load import load_ensemble
from s2s.pipeline.evaluation import open_texts
from s2s.recipe.search_overrides import override
from s2s.run.directory import Run

RECIPE = """\
task: translation
name: toy
data: {kind: generated, corpus: dates, pairs: 300, held_out: 12, filters: {max_dropped: 1.0}}
tokenizer: {kind: character}
model: {embeddings: 13, encoder: {width: 11}, decoder: {kind: luong, width: 17}}
train: {max_updates: 30, batch_tokens: 300, precision: fp32, optimizer: {learning_rate: 1e-2}}
search: {kind: mbr, candidates: 6, temperature: 0.5, max_ratio: 0.5, max_offset: 9}
"""
LINES = ["en: May 3, 1999", "", "de: 31. Mai 2001"]

pytestmark = pytest.mark.usefixtures("one_thread")

Call = Callable[..., Any]


@pytest.fixture
def texts(run: Run) -> Run:
    """The run, beside a file of lines."""
    Path("in").write_text("".join(f"{line}\n" for line in LINES))
    return run


def test_translate_lists_expected_utilities_and_resumes(texts: Run, call: Call) -> None:
    options = ("translate", "toy", "--input", "in", "--nbest", "2", "--format", "jsonl")
    status, out, err = call(*options, "--output", "whole")
    assert status == 0, err
    assert out == ""
    whole = Path("whole").read_text()
    rows = [json.loads(line) for line in whole.splitlines()]
    assert [row["line"] for row in rows if row["rank"] == 1] == [1, 2, 3]
    assert rows[0]["score"] >= rows[1]["score"]
    assert all(0.0 <= row["score"] <= 100.0 for row in rows)
    assert call(*options, "--batch-size", "1")[1] == whole
    assert call("translate", "toy", "--input", "in")[1].splitlines() == [
        row["text"] for row in rows if row["rank"] == 1
    ]
    status, _, err = call("translate", "toy", "--input", "in", "--nbest", "7")
    assert (status, err.count("\n")) == (2, 1)
    assert "--candidates 7 has them" in err


def test_a_stopped_output_is_completed_with_the_same_utilities_alone(
    texts: Run, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("translate", "toy", "--input", "in", "--output")
    assert call(*options, "whole")[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr("s2s.pipeline.translation.remove_note", lambda path: None)
        assert call(*options, "part")[0] == 0
    assert Path("part").read_bytes() == Path("whole").read_bytes()
    Path("part").write_bytes(b"".join(Path("whole").read_bytes().splitlines(keepends=True)[:1]))
    changed = texts.folder / "recipe.yaml"
    before = changed.read_text()
    assert "lowercase: false" in before
    changed.write_text(before.replace("lowercase: false", "lowercase: true"))
    status, _, err = call(*options, "part", "--resume")
    assert (status, err.count("\n")) == (2, 1)
    assert "scoring.lowercase: False -> True" in err
    changed.write_text(before)
    assert call(*options, "part", "--resume")[0] == 0
    assert Path("part").read_bytes() == Path("whole").read_bytes()


def test_evaluation_saves_its_outputs_under_the_name_of_the_search(texts: Run, call: Call) -> None:
    options = ("--utility", "chrf", "--utility", "cer", "--candidates", "3")
    assert call("bleu", "--run", "toy", "--split", "validation", *options)[0] == 0
    (saved,) = (texts.folder / "outputs").iterdir()
    assert "mbr-candidates3-utilitychrf+cer" in saved.name
    search = override(texts.recipe.search, {"candidates": 3, "utility": ["chrf", "cer"]})
    translator = load_ensemble([texts], search=search, device="cpu")
    sources, _ = open_texts(texts, "validation")
    assert saved.read_text().splitlines() == translator(sources)


def test_a_recipe_names_the_search(texts: Run) -> None:
    model = s2s.load(texts.folder, device="cpu", quiet=True)
    by_recipe = model.translate(LINES)
    assert by_recipe == model.translate(LINES, search="mbr", utility="chrf", candidates=6)
    found = model.translate(LINES, n_best=6, utility=("exact",))
    assert [len(outputs) for outputs in found][1] == 1
    assert all(one[0].score >= one[-1].score for one in found)


def test_an_ensemble_and_attention_use_the_same_outputs(texts: Run) -> None:
    translator = load_ensemble([texts, texts], device="cpu")
    outputs = translator.outputs(LINES)
    maps = attention_maps(translator, LINES)
    assert [one.target_text for one in maps] == [several[0].text for several in outputs]
    assert maps[0].weights.shape[0] == outputs[0][0].length


def test_required_terms_need_candidates_of_a_beam(texts: Run, call: Call) -> None:
    must = ("translate", "toy", "--input", "in", "--must", "3")
    status, _, err = call(*must)
    assert (status, err.count("\n")) == (2, 1)
    assert "--candidates-from beam leaves them out" in err
    status, out, _ = call(*must, "--candidates-from", "beam", "--format", "jsonl")
    assert status == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert "3" in rows[0]["text"] or rows[0]["unmet"]
