"""`filters.unseen`: no pair of training is in validation or test, and nothing else is missing."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from s2s.data.preparation.overlap import compared
from s2s.data.preparation.prepare import open_corpus, prepare
from s2s.data.sources import chunks
from s2s.data.sources import open as sources
from s2s.errors import DataError
from s2s.recipe.data import Columns, DatasetData, FilesData, FileSet, SeveralData
from s2s.recipe.filters import Filters
from s2s.recipe.recipe import Recipe
from s2s.recipe.tokenizer import WordTokenizer
from s2s.text.tokenizer_pair import load_tokenizers

Pair = tuple[str, str]

RANDOM = Random(7)
PLAIN: list[Pair] = [(f"i can ' t {n} .", f"why , {n % 9} ?") for n in range(40)]
SHOUTED: list[Pair] = [(f"I can't {n}", f"WHY  {n % 9}?!") for n in range(40)]
"""The same pairs in another spelling: 40 sources, 9 targets."""


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (chunks, sources):
        monkeypatch.setattr(module, "CHUNK_PAIRS", 16)


def table(path: Path, pairs: list[Pair], references: list[list[str]] | None = None) -> FileSet:
    rows: list[dict[str, Any]] = [{"source": source, "target": target} for source, target in pairs]
    for row, options in zip(rows, references or (), strict=False):
        row["references"] = options
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return FileSet(table=str(path))


def files(folder: Path, splits: dict[str, list[Pair]], **filters: Any) -> FilesData:
    found = {name: table(folder / f"{name}.jsonl", pairs) for name, pairs in splits.items()}
    chosen = Filters(max_dropped=1.0, max_ratio=99.0, **filters)
    return FilesData(kind="files", **found, filters=chosen)  # type: ignore[arg-type]


def recipe_of(data: Any) -> Recipe:
    return Recipe(task="translation", data=data, tokenizer=WordTokenizer(kind="word"))


def texts(folder: Path, split: Any) -> list[Pair]:
    """Prepared pairs of validation or test."""
    corpus = open_corpus(folder, split)
    assert corpus.source_texts is not None and corpus.target_texts is not None
    return list(zip(corpus.source_texts, corpus.target_texts, strict=True))


def decoded(folder: Path) -> list[Pair]:
    """Training pairs, from their ids."""
    corpus, pair = open_corpus(folder, "train"), load_tokenizers(folder / "tokenizer")
    sides = []
    for values, offsets, tokenizer in (
        (corpus.source_values, corpus.source_offsets, pair.source),
        (corpus.target_values, corpus.target_offsets, pair.target),
    ):
        rows = [values[offsets[i] : offsets[i + 1]].tolist() for i in range(len(corpus))]
        sides.append(tokenizer.decode(rows))
    return list(zip(*sides, strict=True))


def key(pair: Pair, kind: str) -> tuple[str, ...]:
    """The ASCII letters and digits of a pair, or of its source."""
    return tuple(
        re.sub("[^a-z0-9]", "", text.lower()) for text in pair[: 2 if kind == "pairs" else 1]
    )


def random_splits() -> dict[str, list[Pair]]:
    """Random pairs of shared sources and targets in two spellings, in all three splits."""

    def draw(count: int) -> list[Pair]:
        rows = RANDOM.choices(PLAIN + SHOUTED, k=count)
        others = RANDOM.choices(PLAIN + SHOUTED, k=count)
        return [(a[0], b[1]) for a, b in zip(rows, others, strict=True)]

    return {"train": draw(300), "validation": draw(60), "test": draw(15)}


@pytest.mark.parametrize("kind", ["pairs", "sources"])
def test_what_later_splits_have_is_dropped_and_nothing_else(tmp_path: Path, kind: Any) -> None:
    splits = random_splits()
    report = prepare(recipe_of(files(tmp_path, splits, unseen=kind)), tmp_path)
    keys = {name: {key(pair, kind) for pair in pairs} for name, pairs in splits.items()}
    train = [p for p in splits["train"] if key(p, kind) not in keys["validation"] | keys["test"]]
    validation = [p for p in splits["validation"] if key(p, kind) not in keys["test"]]
    assert 0 < len(train) < 300 and 0 < len(validation) < 60
    assert [key(p, "pairs") for p in decoded(tmp_path)] == [key(p, "pairs") for p in train]
    assert texts(tmp_path, "validation") == validation
    assert texts(tmp_path, "test") == splits["test"]
    counts = Counter(
        "test" if key(p, kind) in keys["test"] else "validation"
        for p in splits["train"]
        if key(p, kind) in keys["validation"] | keys["test"]
    )
    dropped = report.splits["train"].dropped
    assert dropped["in test"] == counts["test"] > 0
    assert dropped["in validation"] == counts["validation"] > 0
    assert report.splits["train"].kept == len(train) == 300 - sum(dropped.values())
    assert report.splits["validation"].dropped == {"in test": 60 - len(validation)}
    assert report.splits["test"].dropped == {}
    assert [report.splits[name].in_train for name in ("validation", "test")] == [0, 0]


def test_without_it_nothing_is_compared(tmp_path: Path) -> None:
    splits = {"train": PLAIN[:9], "validation": SHOUTED[:4], "test": PLAIN[3:7]}
    report = prepare(recipe_of(files(tmp_path, splits)), tmp_path)
    assert [split.kept for split in report.splits.values()] == [9, 4, 4]
    assert all("in test" not in split.dropped for split in report.splits.values())
    assert report.splits["test"].in_train == 4


def test_it_changes_the_data_and_keeps_the_tokenizer(tmp_path: Path) -> None:
    splits = {"train": PLAIN[:20], "test": SHOUTED[:3]}
    prepare(recipe_of(files(tmp_path, splits)), tmp_path)
    changed = recipe_of(files(tmp_path, splits, unseen="pairs"))
    assert prepare(changed, tmp_path).splits["train"].kept == 20 - 3
    assert prepare(changed, tmp_path).redone == ()
    table(tmp_path / "test.jsonl", SHOUTED[:5])
    again = prepare(changed, tmp_path)
    assert again.redone == ("data",) and again.splits["train"].kept == 20 - 5


def test_each_reference_makes_a_pair_and_goes_with_its_line(tmp_path: Path) -> None:
    held_out = [("a", "x"), ("b", "y"), ("c", "z")]
    options = [["x", "X 1"], ["y"], ["z", "z 3"]]
    train = [("A", "x1"), ("a", "2"), ("b", "y !"), ("c", "z."), ("c", "3"), ("d", "w")]
    data = files(tmp_path, {"train": train}, unseen="pairs")
    data = replace(
        data,
        validation=table(tmp_path / "v.jsonl", [("e", "v"), *held_out], [["v", "w"], *options]),
        test=table(tmp_path / "t.jsonl", held_out[:2], options[:2]),
        columns=Columns(references="references"),
    )
    prepare(recipe_of(data), tmp_path)
    assert decoded(tmp_path) == [("a", "2"), ("c", "3"), ("d", "w")]
    assert texts(tmp_path, "validation") == [("e", "v"), ("c", "z")]
    assert open_corpus(tmp_path, "validation").references == [["v", "z"], ["w", "z 3"]]


def test_each_of_several_corpora_has_its_own(tmp_path: Path) -> None:
    """Tags are not text; held-out pairs are those of the evaluated corpus."""
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        folder.mkdir()
    whole = files(first, {"train": PLAIN[:12]})
    held_out = {"validation": SHOUTED[:3], "test": SHOUTED[2:5]}
    strict = files(second, {"train": PLAIN[:14], **held_out}, unseen="sources")
    strict = replace(strict, tag="<2en>", evaluated=True)
    data = SeveralData(kind="several", corpora=(whole, strict))
    report = prepare(recipe_of(data), tmp_path)
    assert report.splits["train"].corpora == (12, 14 - 5)
    assert report.splits["validation"].kept == 2
    lenient = replace(strict, filters=whole.filters)
    data = SeveralData(kind="several", corpora=(replace(whole, filters=strict.filters), lenient))
    report = prepare(recipe_of(data), tmp_path)
    assert report.splits["train"].corpora == (12 - 5, 14)
    assert report.splits["validation"].kept == 3


def test_data_sets(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for name, pairs in (("train", PLAIN), ("validation", SHOUTED[:7]), ("test", SHOUTED[5:9])):
        table(folder / f"{name}.jsonl", pairs)
    data = DatasetData(kind="dataset", dataset=str(folder), filters=Filters(unseen="pairs"))
    report = prepare(recipe_of(data), tmp_path)
    assert decoded(tmp_path) == PLAIN[9:]
    assert report.splits["train"].dropped["in validation"] == 5
    assert report.splits["validation"].dropped == {"in test": 2}


def test_a_split_of_which_nothing_is_left_is_an_error(tmp_path: Path) -> None:
    splits = {"train": PLAIN[:9], "validation": PLAIN[:3], "test": SHOUTED[:3]}
    with pytest.raises(DataError) as error:
        prepare(recipe_of(files(tmp_path, splits, unseen="pairs")), tmp_path)
    assert str(error.value) == "validation: none of 3 pairs is left (in test 3)"
    splits["validation"] = PLAIN[1:4]
    data = files(tmp_path, splits, unseen="pairs")
    data = replace(data, filters=replace(data.filters, max_dropped=0.6))
    with pytest.raises(DataError) as error:
        prepare(recipe_of(data), tmp_path)
    assert str(error.value) == (
        "validation: 2 of 3 pairs are dropped (in test 2), more than data.filters.max_dropped 0.6 "
        "allows"
    )


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("", "   "),
        ("Straße", "STRASSE"),
        ("I don ' t  know .", "i don’t know"),
        ("Wait…what", "wait ... what?"),
        ("多谢。", "多 谢"),
        ("? !", "?!"),
        ("que\u0301", "Que\u0301\u00a0!"),
    ],
)
def test_texts_that_count_as_the_same(text: str, same: str) -> None:
    assert compared(text) == compared(same)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("a", "b"),
        ("", "."),
        ("!", "?"),
        ("3 + 2", "3 2"),
        ("costs $ 5", "costs € 5"),
        ("कि", "की"),  # they differ in a mark, which is no letter
        ("cafe", "cafe\u0301"),
    ],
)
def test_texts_that_differ(text: str, other: str) -> None:
    assert compared(text) != compared(other)
