"""Long texts are cut to their first tokens, in every split and by everything that reads sources."""

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from s2s import pipeline
from s2s.data.preparation.prepare import fingerprints_of, open_corpus, open_splits, prepare
from s2s.data.preparation.report import PrepareReport
from s2s.data.preparation.token_rows import concatenate, truncate_rows
from s2s.inference.attention.maps import attention_maps
from s2s.pipeline import scoring as pipeline_score
from s2s.recipe.data import Columns, FilesData, FileSet, GeneratedData
from s2s.recipe.filters import Filters, Truncate
from s2s.recipe.recipe import Recipe
from s2s.recipe.tokenizer import SubwordTokenizer, WordTokenizer
from s2s.run.directory import Run
from tests.inference.attention.test_maps import Copy, translator_of
from tests.training.toys import Listener, small_recipe, write_task

RANDOM = Random(3)
PAIRS = [
    tuple(" ".join(RANDOM.choices("abcdefghij", k=RANDOM.randint(1, n))) for n in (9, 7))
    for _ in range(60)
]
SPLITS = {"train": PAIRS[:40], "validation": PAIRS[40:52], "test": PAIRS[52:]}


def recipe_of(folder: Path, truncate: Truncate, **filters: Any) -> Recipe:
    paths = {}
    for name, pairs in SPLITS.items():
        paths[name] = {}
        for place, side in enumerate(("source", "target")):
            path = folder / f"{name}.{side}"
            path.write_text("".join(f"{pair[place]}\n" for pair in pairs))
            paths[name][side] = str(path)
    files = {name: FileSet(**sides) for name, sides in paths.items()}
    data = FilesData(kind="files", **files, truncate=truncate, filters=Filters(**filters))
    return Recipe(task="translation", data=data, tokenizer=WordTokenizer(kind="word"))


def rows(folder: Path, split: Any, side: str) -> list[list[int]]:
    corpus = open_corpus(folder, split)
    values, offsets = getattr(corpus, f"{side}_values"), getattr(corpus, f"{side}_offsets")
    return [values[offsets[i] : offsets[i + 1]].tolist() for i in range(len(corpus))]


@pytest.mark.parametrize("most", [None, 1, 3, 99])
def test_the_first_ids_of_each_row_stay(most: int | None) -> None:
    lists = [[RANDOM.randrange(9) for _ in range(RANDOM.randrange(6))] for _ in range(50)]
    kept, lost = truncate_rows(concatenate(lists), most)
    expected = concatenate([row[:most] for row in lists])
    assert np.array_equal(kept.values, expected.values)
    assert np.array_equal(kept.lengths, expected.lengths)
    assert lost.tolist() == [len(row) - len(row[:most]) for row in lists]


@pytest.mark.parametrize(("source", "target"), [(4, None), (None, 3), (5, 2)])
def test_every_split_is_cut_and_its_text_is_not(
    tmp_path: Path, source: int | None, target: int | None
) -> None:
    whole = recipe_of(tmp_path, Truncate())
    prepare(whole, tmp_path / "whole")
    cut = replace(whole, data=replace(whole.data, truncate=Truncate(source=source, target=target)))
    report = prepare(cut, tmp_path / "cut")
    for split in SPLITS:
        for side, most in (("source", source), ("target", target)):
            full = rows(tmp_path / "whole", split, side)
            assert rows(tmp_path / "cut", split, side) == [row[:most] for row in full]
            lost = [len(row) - len(row[:most]) for row in full]
            found = getattr(report.splits[split], side)
            assert (found.cut, found.cut_tokens) == (np.count_nonzero(lost), sum(lost))
            assert bool(found.cut) == (most is not None)
    texts = open_corpus(tmp_path / "cut", "test")
    assert texts.source_texts == [pair[0] for pair in SPLITS["test"]]
    assert texts.target_texts == [pair[1] for pair in SPLITS["test"]]


def test_what_is_cut_is_not_too_long(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, Truncate(source=6), max_length=4)
    report = prepare(recipe, tmp_path / "run").splits["train"]
    long_targets = sum(len(pair[1].split()) > 4 for pair in SPLITS["train"])
    assert report.dropped["too long"] == long_targets > 0
    kept = [pair for pair in SPLITS["train"] if len(pair[1].split()) <= 4]
    assert report.source.lengths[-1] == 6
    assert report.source.cut == sum(len(pair[0].split()) > 6 for pair in kept) > 0
    assert recipe.data.longest_source == 6


def test_the_report_states_it_where_something_was_cut(tmp_path: Path) -> None:
    def table(truncate: Truncate, folder: str) -> str:
        from rich.console import Console

        report = prepare(recipe_of(tmp_path, truncate), tmp_path / folder)
        assert PrepareReport.from_json(report.to_json()) == replace(report, redone=())
        console = Console(width=120, record=True, file=io.StringIO())
        console.print(report.table())
        return console.export_text()

    shown = table(Truncate(source=4), "cut")
    assert "sources cut short" in shown and "tokens lost" in shown
    assert "targets cut short" not in shown
    assert "cut short" not in table(Truncate(), "whole")


def test_a_report_of_before_is_read(tmp_path: Path) -> None:
    report = prepare(recipe_of(tmp_path, Truncate()), tmp_path / "run")
    content = json.loads(report.to_json())
    for split in content["splits"].values():
        for side in ("source", "target"):
            del split[side]["cut"], split[side]["cut_tokens"]
    assert PrepareReport.from_json(json.dumps(content)) == replace(report, redone=())


def test_only_the_data_depend_on_it(tmp_path: Path) -> None:
    whole = recipe_of(tmp_path, Truncate())
    prepare(whole, tmp_path / "run")
    cut = replace(whole, data=replace(whole.data, truncate=Truncate(source=4)))
    assert prepare(cut, tmp_path / "run").redone == ("data",)
    assert prepare(cut, tmp_path / "run").redone == ()


def test_what_was_prepared_before_these_fields_stays(tmp_path: Path) -> None:
    """The fingerprint is that of the original fields, written out here."""
    recipe = Recipe(
        task="translation",
        data=GeneratedData(kind="generated", corpus="dates"),
        tokenizer=SubwordTokenizer(kind="unigram"),
    )
    fingerprints = {
        split: {
            "kind": "generated",
            "corpus": "dates",
            "pairs": 20_000,
            "held_out": 500,
            "seed": 1,
            "filters": None,
            "split": split,
        }
        for split in ("train", "validation", "test")
    }
    tokenizer = {
        "format": 1,
        "seed": 1,
        "tokenizer": {
            "kind": "unigram",
            "vocabulary": 8000,
            "character_coverage": 1.0,
            "byte_fallback": False,
            "normalization": "nmt_nfkc",
            "max_sentences": 200_000,
        },
        "train": fingerprints["train"],
    }
    filters = {"max_length": 200, "max_ratio": 9.0, "duplicates": False, "max_dropped": 0.5}
    data = {"tokenizer": tokenizer, "filters": filters, "splits": fingerprints}
    expected = {
        name: hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        for name, content in (("tokenizer", tokenizer), ("data", data))
    }
    found = fingerprints_of(recipe, open_splits(recipe), tmp_path)
    assert {part: one.before for part, one in found.items()} == expected


def test_a_long_line_is_cut_and_not_translated_in_pieces() -> None:
    notes: list[str] = []
    whole = translator_of(Copy(), longest=4)
    cut = replace(whole, truncate=4, report=notes.append)
    lines = ["abc", "", "abcdefghijabcdefghijabcdefghij", "abcde"]
    expected = whole([line[:4] for line in lines])
    assert cut(lines) == expected == ["abc", "", "abcd", "abcd"]
    note = "2 of 4 lines are longer than 4 tokens (data.truncate.source): only so many are read"
    assert notes == [note]
    assert [m.target_text for m in attention_maps(cut, lines)] == expected
    assert notes == [note, note]
    assert cut(["abcd"]) == ["abcd"] and len(notes) == 2


def test_a_run_reads_what_it_was_trained_on(tmp_path: Path) -> None:
    """Translation, scoring and validation read the same first tokens of a source."""
    recipe = small_recipe(write_task(tmp_path / "task"), max_updates=30)
    recipe = replace(recipe, data=replace(recipe.data, truncate=Truncate(source=2)))
    pipeline.train(recipe, runs=tmp_path, device="cpu", reporter=Listener())
    run = Run.open(tmp_path / "toy")
    translator = pipeline.load_translator(run, device="cpu")
    long, short = ["abcdefgh" * 5, "bcd"], ["ab", "bc"]
    assert translator(long) == translator(short)
    scores = []
    (tmp_path / "target").write_text("ba\nc\n")
    for name, lines in (("long", long), ("short", short)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
        output = io.BytesIO()
        pipeline_score.score_pairs(
            run=run,
            source=tmp_path / name,
            target=tmp_path / "target",
            output=output,
            device="cpu",
        )
        scores.append(output.getvalue())
    assert scores[0] == scores[1] and scores[0].count(b"\n") == 2


def test_line_breaks_within_a_parquet_field_become_spaces(tmp_path: Path) -> None:
    table = pa.table({"body": ["a\nb\n\nc", "d", "\n"], "subject": ["x", "y\nz", "w"]})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    files = FileSet(table=str(tmp_path / "t.parquet"))
    data = FilesData(
        kind="files",
        train=files,
        validation=files,
        columns=Columns(source="body", target="subject"),
    )
    recipe = Recipe(task="translation", data=data, tokenizer=WordTokenizer(kind="word"))
    report = prepare(recipe, tmp_path / "run")
    assert report.splits["validation"].line_breaks == 2  # one at the end is no text
    found = open_corpus(tmp_path / "run", "validation")
    assert found.source_texts == ["a b  c", "d", ""]
    assert found.target_texts == ["x", "y z", "w"]
