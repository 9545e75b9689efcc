"""Several references per pair: read from lists, kept by prep, used by every metric."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from s2s import pipeline
from s2s.data.preparation.prepare import open_corpus
from s2s.errors import DataError, UsageError
from s2s.metrics.corpus import Request, score
from s2s.pipeline.evaluation import open_texts
from s2s.pipeline.tuning import Grid, tune_search
from s2s.recipe.load import load_recipe
from s2s.recipe.recipe import Recipe
from s2s.recipe.search import GreedySearch
from s2s.run.directory import Run

TRAIN = [{"mail": f"word {i} and {i % 3}", "subject": f"{i % 3} word"} for i in range(30)]
HELD_OUT = [
    {"mail": "word 3 and", "subject": "3 word", "references": ["3 word", "a word"]},
    {"mail": "word 4", "subject": "4 word", "references": ["four\nwords"]},
    {"mail": "word", "subject": "word", "references": ["x", "", "word"]},
]
SETS = [["3 word", "four words", "x"], ["a word", None, ""], [None, None, "word"]]

RECIPE = """\
task: translation
name: mail
data:
  {data}
  columns: {{source: mail, target: subject, references: references}}
tokenizer: {{kind: word}}
model: {{embeddings: 8, encoder: {{width: 4}}, decoder: {{kind: luong, width: 8}}}}
train: {{epochs: 1, best: exact, precision: fp32}}
metrics: [exact, bleu, rouge]
"""
FILES = (
    "kind: files\n  train: {{table: train.{0}}}\n  validation: {{table: test.{0}}}\n"
    "  test: {{table: test.{0}}}"
)
FOLDER = "kind: dataset\n  dataset: ./data\n  splits: {validation: test}"


def write(path: str, rows: list[dict[str, Any]]) -> None:
    Path(path).parent.mkdir(exist_ok=True)
    if path.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))


def recipe(data: str) -> Recipe:
    Path("recipe.yaml").write_text(RECIPE.format(data=data))
    return load_recipe()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "folder"])
def test_references_are_read_and_kept(kind: str) -> None:
    """In a folder too, where `datasets` wants all splits to have the same columns."""
    suffix = "parquet" if kind == "folder" else kind
    place = "data/" if kind == "folder" else ""
    write(f"{place}train.{suffix}", TRAIN)
    write(f"{place}test.{suffix}", HELD_OUT)
    report = pipeline.prepare(recipe(FOLDER if kind == "folder" else FILES.format(suffix)))
    assert report.splits["test"].line_breaks == 1
    corpus = open_corpus(Path("runs/mail"), "test")
    assert corpus.references == SETS
    assert corpus.target_texts == [row["subject"] for row in HELD_OUT]
    assert open_corpus(Path("runs/mail"), "train").references is None
    assert pipeline.prepare(load_recipe()).redone == ()


def test_validation_and_test_use_all_of_them() -> None:
    write("train.jsonl", TRAIN)
    write("test.jsonl", HELD_OUT)
    pipeline.train(recipe(FILES.format("jsonl")), device="cpu")
    run = Run.open(Path("runs/mail"))
    (logged,) = (e for e in run.read_events() if e["event"] == "validation")
    greedy = GreedySearch(kind="greedy")
    found = pipeline.evaluate(run=run, split="validation", search=greedy, device="cpu")
    assert found.saved is not None
    said = found.saved.read_text().splitlines()
    assert found.scores == score(("exact", "bleu", "rouge"), said, SETS)
    assert {s["signature"].split("|")[0] for s in logged["scores"].values()} == {"nrefs:var"}
    grid = Grid(widths=(1,), penalties=(1.0,))
    (tried,) = tune_search(run=run, grid=grid, metric="bleu", device="cpu").tried
    assert tried[1] == found.scores.value("bleu")
    # Every reference counts: an output made of one from each list is right.
    assert open_texts(run, "test")[1] == SETS
    chosen = ["a word", "four words", "word"]
    assert score(("exact",), chosen, SETS).value("exact") == 100.0
    request = Request(metrics=("perplexity",))
    assert pipeline.evaluate(run=run, device="cpu", request=request).scores.value("perplexity") > 1


def test_references_leave_training_and_what_was_prepared_alone() -> None:
    write("train.jsonl", TRAIN)
    write("test.jsonl", HELD_OUT)
    plain = recipe(FILES.format("jsonl"))
    Path("recipe.yaml").write_text(
        Path("recipe.yaml").read_text().replace(", references: references", "")
    )
    pipeline.prepare(load_recipe())
    assert open_corpus(Path("runs/mail"), "test").references == [
        [row["subject"] for row in HELD_OUT]
    ]
    assert pipeline.prepare(plain).redone == ("data",)


@pytest.mark.parametrize(
    ("value", "suffix", "message"),
    [
        ([], "jsonl", "test.jsonl:2: column 'references' holds an empty list, expected a list of"),
        ("x", "jsonl", "test.jsonl:2: column 'references' holds text, expected a list of texts"),
        ([None], "jsonl", "test.jsonl:2: column 'references' holds null, expected text"),
        ([], "parquet", "test.parquet: column 'references' has no text, or a null, in row 2"),
        ([None], "parquet", "test.parquet: column 'references' has no text, or a null, in row 2"),
    ],
)
def test_rows_without_references(value: Any, suffix: str, message: str) -> None:
    write(f"train.{suffix}", TRAIN)
    rows = [HELD_OUT[0], {**HELD_OUT[1], "references": value}]
    write(f"test.{suffix}", rows)
    with pytest.raises(DataError) as caught:
        pipeline.prepare(recipe(FILES.format(suffix)))
    assert str(caught.value).startswith(message)


def test_columns_that_are_no_lists() -> None:
    write("train.parquet", TRAIN)
    write("test.parquet", [{**row, "references": "x"} for row in HELD_OUT])
    with pytest.raises(DataError, match="'references' holds string, expected lists of texts"):
        pipeline.prepare(recipe(FILES.format("parquet")))
    write("test.parquet", TRAIN)
    with pytest.raises(DataError, match=r"test.parquet: no column 'references'; found: mail, subj"):
        pipeline.prepare(load_recipe())
    for suffix in ("train.tsv", "test.tsv"):
        Path(suffix).write_text("mail\tsubject\treferences\na\tb\tc\n")
    with pytest.raises(DataError, match=r"needs lists of texts, which \.tsv does not have"):
        pipeline.prepare(recipe(FILES.format("tsv")))


# --------------------------------------------------------- references beside the files of a split

COLUMNS = [["3 word", "four words", ""], ["a word", "4 word", "word"]]
"""Two references of each of the held-out pairs."""


def write_sides(suffix: str) -> str:
    """The pairs in files of a kind; their `data` section, test having the references."""
    if suffix == "txt":
        for name, rows in (("train", TRAIN), ("test", HELD_OUT)):
            for key in ("mail", "subject"):
                Path(f"{name}.{key}").write_text("".join(f"{row[key]}\n" for row in rows))
        for number, texts in enumerate(COLUMNS):
            Path(f"r{number}").write_text("".join(f"{text}\n" for text in texts))
        train, test = (f"{{source: {n}.mail, target: {n}.subject" for n in ("train", "test"))
        return f"kind: files\n  train: {train}}}\n  test: {test}, references: [r0, r1]}}"
    pairs = [{key: row[key] for key in ("mail", "subject")} for row in HELD_OUT]
    held_out = [
        {**row, "r0": one, "r1": two} for row, one, two in zip(pairs, *COLUMNS, strict=True)
    ]
    for name, rows in (("train", TRAIN), ("test", held_out)):
        if suffix in ("tsv", "csv"):
            separator = "\t" if suffix == "tsv" else ","
            lines = [list(rows[0]), *(list(row.values()) for row in rows)]
            text = "".join(separator.join(cells) + "\n" for cells in lines)
            Path(f"{name}.{suffix}").write_text(text)
        else:
            write(f"{name}.{suffix}", rows)
    return (
        f"kind: files\n  train: {{table: train.{suffix}}}\n"
        f"  test: {{table: test.{suffix}, references: [r0, r1]}}"
    )


def recipe_of(data: str) -> Recipe:
    text = RECIPE.replace(", references: references", "")
    Path("recipe.yaml").write_text(text.format(data=data))
    return load_recipe()


@pytest.mark.parametrize("suffix", ["txt", "tsv", "csv", "jsonl", "parquet"])
def test_references_beside_a_split(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s2s.data.sources.open.CHUNK_PAIRS", 2)
    monkeypatch.setattr("s2s.data.sources.tables.CHUNK_PAIRS", 2)
    pipeline.prepare(recipe_of(write_sides(suffix)))
    corpus = open_corpus(Path("runs/mail"), "test")
    assert corpus.references == COLUMNS
    assert corpus.target_texts == [row["subject"] for row in HELD_OUT]
    assert pipeline.prepare(load_recipe()).redone == ()
    # Other references of the same pairs are other data; without them, the targets count.
    text = Path("recipe.yaml").read_text()
    for given, expected in (
        (", references: [r1]", COLUMNS[1:]),
        ("", [[row["subject"] for row in HELD_OUT]]),
    ):
        Path("recipe.yaml").write_text(text.replace(", references: [r0, r1]", given))
        assert pipeline.prepare(load_recipe()).redone == ("data",)
        assert open_corpus(Path("runs/mail"), "test").references == expected


def test_files_of_references_that_do_not_fit() -> None:
    made = recipe_of(write_sides("txt"))
    Path("r1").write_text("a\n" * 5)
    with pytest.raises(DataError, match=r"test\.mail has 3 lines but r1 has 5; line i of one must"):
        pipeline.prepare(made)
    Path("r0").unlink()
    with pytest.raises(DataError, match="r0: no such file"):
        pipeline.prepare(made)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            "kind: files\n  train: {source: a, target: b, references: [c]}",
            "5: data: train.references has no effect; only validation and test have references",
        ),
        (
            "kind: files\n  train: {table: a.jsonl}\n"
            "  validation: {table: b.jsonl, references: [c]}",
            "6: data: validation.references excludes columns.references; give one of them",
        ),
        (
            "kind: files\n  train: {table: a.jsonl}\n  test: {table: b.jsonl, references: []}",
            "6: data.test.references: expected a list of at least 1, found an empty list",
        ),
    ],
)
def test_recipes_whose_references_cannot_be(data: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        recipe(data)
    assert str(caught.value).startswith(f"recipe.yaml:{message}")


def test_columns_of_references_that_are_not_there() -> None:
    made = recipe_of(write_sides("tsv").replace("[r0, r1]", "[r0, r2]"))
    with pytest.raises(DataError, match=r"test\.tsv: no column 'r2'"):
        pipeline.prepare(made)
