"""Preparation redoes only what has changed, and leaves complete folders or none."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from rich.console import Console

from s2s.data.preparation import encode
from s2s.data.preparation import prepare as prepare_module
from s2s.data.preparation.filters import SeenPairs, pair_hashes
from s2s.data.preparation.prepare import is_prepared, open_corpus, prepare
from s2s.data.preparation.report import PrepareReport
from s2s.data.sources import open as sources
from s2s.errors import DataError, RunError
from s2s.recipe.data import Columns, DatasetData, FilesData, FileSet, GeneratedData, Splits
from s2s.recipe.filters import Filters
from s2s.recipe.recipe import Recipe
from s2s.recipe.tokenizer import (
    CharacterTokenizer,
    SeparateTokenizers,
    SubwordTokenizer,
    WordTokenizer,
)
from s2s.recipe.train import Train
from s2s.special import UNK
from s2s.text.byte_lines import ByteLines, LineWords
from s2s.text.tokenizer_pair import load_tokenizers
from tests.places import CORPORA

RANDOM = Random(1)
WORDS = ["".join(RANDOM.choices("abcdefgh", k=RANDOM.randint(2, 6))) for _ in range(200)]
PAIRS = [tuple(" ".join(RANDOM.choices(WORDS, k=n)) for n in (4, 6)) for _ in range(120)]

Snapshot = dict[str, tuple[int, bytes]]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "CHUNK_PAIRS", 32)


def write_split(folder: Path, split: str, pairs: list[tuple[str, ...]]) -> FileSet:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{split}.{side}" for side in ("de", "en")]
    for side, path in enumerate(paths):
        path.write_text("".join(pair[side] + "\n" for pair in pairs))
    return FileSet(source=str(paths[0]), target=str(paths[1]))


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """100 training pairs, 10 of validation (with an empty side), 10 of test; words as tokens."""
    raw = tmp_path / "raw"
    data = FilesData(
        kind="files",
        train=write_split(raw, "train", PAIRS[:100]),
        validation=write_split(raw, "validation", [*PAIRS[100:109], ("", PAIRS[110][1])]),
        test=write_split(raw, "test", PAIRS[110:]),
    )
    return Recipe(task="translation", data=data, tokenizer=WordTokenizer(kind="word"))


def with_filters(recipe: Recipe, **filters: Any) -> Recipe:
    return replace(recipe, data=replace(recipe.data, filters=Filters(**filters)))


def with_train(recipe: Recipe, pairs: list[tuple[str, ...]]) -> Recipe:
    assert isinstance(recipe.data, FilesData) and recipe.data.train.source is not None
    write_split(Path(recipe.data.train.source).parent, "train", pairs)
    return recipe


def snapshot(folder: Path) -> Snapshot:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def text_of(folder: Path, split: Any) -> list[tuple[str, str]]:
    corpus, pair = open_corpus(folder, split), load_tokenizers(folder / "tokenizer")
    sides = []
    for values, offsets, tokenizer in (
        (corpus.source_values, corpus.source_offsets, pair.source),
        (corpus.target_values, corpus.target_offsets, pair.target),
    ):
        rows = [values[offsets[i] : offsets[i + 1]].tolist() for i in range(len(corpus))]
        sides.append(tokenizer.decode(rows))
    return list(zip(*sides, strict=True))


def test_what_is_written_decodes_to_what_was_read(recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    report = prepare(recipe, run)
    assert text_of(run, "train") == PAIRS[:100]
    validation = open_corpus(run, "validation")
    assert validation.source_texts == [*(pair[0] for pair in PAIRS[100:109]), ""]
    assert validation.source_lengths.tolist() == [4] * 9 + [0]
    assert open_corpus(run, "test").target_texts == [pair[1] for pair in PAIRS[110:]]
    assert open_corpus(run, "train").source_texts is None
    assert report.redone == ("tokenizer", "data")
    assert list(report.splits) == ["train", "validation", "test"]
    assert (report.splits["train"].read, report.splits["train"].kept) == (100, 100)
    assert report.splits["train"].source.tokens == 400
    assert report.splits["test"].target.lengths == (6, 6, 6, 6)


def test_every_kind_of_tokenizer(recipe: Recipe, tmp_path: Path) -> None:
    characters = CharacterTokenizer(kind="character")
    subwords = SubwordTokenizer(kind="unigram", vocabulary=60)
    separate = SeparateTokenizers(kind="separate", source=characters, target=subwords)
    for tokenizer in (characters, subwords, separate):
        prepare(replace(recipe, tokenizer=tokenizer), tmp_path / "run")
        assert text_of(tmp_path / "run", "train") == PAIRS[:100]


def test_again_without_a_change_does_nothing(recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert not is_prepared(recipe, run)
    first = prepare(recipe, run)
    before = snapshot(run)
    assert is_prepared(recipe, run)
    again = prepare(replace(recipe, train=Train(epochs=99)), run)
    assert again == replace(first, redone=())
    assert snapshot(run) == before


CHANGES: dict[str, tuple[Callable[[Recipe], Recipe], tuple[str, ...]]] = {
    "filters": (lambda r: with_filters(r, max_length=50), ("data",)),
    "held-out data": (lambda r: replace(r, data=replace(r.data, test=None)), ("data",)),
    "seed": (lambda r: replace(r, seed=2), ("tokenizer", "data")),
    "tokenizer": (
        lambda r: replace(r, tokenizer=WordTokenizer(kind="word", min_count=2)),
        ("tokenizer", "data"),
    ),
    "training data": (lambda r: with_train(r, PAIRS[:99]), ("tokenizer", "data")),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_redoes_what_depends_on_it(recipe: Recipe, tmp_path: Path, name: str) -> None:
    change, redone = CHANGES[name]
    run = tmp_path / "run"
    prepare(recipe, run)
    before = snapshot(run)
    changed = change(recipe)
    assert not is_prepared(changed, run)
    assert prepare(changed, run).redone == redone
    kept = {path for path, _ in before.items() & snapshot(run).items()}
    is_kept = {path.startswith("tokenizer") for path in kept}
    assert is_kept == (set() if "tokenizer" in redone else {True})
    assert prepare(changed, run).redone == ()


def test_force_redoes_everything(recipe: Recipe, tmp_path: Path) -> None:
    run = tmp_path / "run"
    prepare(recipe, run)
    before = snapshot(run)
    assert prepare(recipe, run, force=True).redone == ("tokenizer", "data")
    after = snapshot(run)
    assert not before.items() & after.items()
    unequal = {path for path in before if before[path][1] != after[path][1]}
    assert unequal <= {"data/report.json"}  # which says how many seconds it took


@pytest.mark.parametrize("lost", ["test.arrow", "report.json", "fingerprint"])
def test_a_file_that_is_lost_is_made_again(recipe: Recipe, tmp_path: Path, lost: str) -> None:
    run = tmp_path / "run"
    prepare(recipe, run)
    (run / "data" / lost).unlink()
    assert prepare(recipe, run).redone == ("data",)
    assert (run / "data" / lost).exists()


def test_a_damaged_report_is_made_again(recipe: Recipe, tmp_path: Path) -> None:
    prepare(recipe, tmp_path)
    for content in ("", "[]", "{}", '{"splits": {"train": 1}}'):
        (tmp_path / "data" / "report.json").write_text(content)
        assert prepare(recipe, tmp_path).redone == ("data",)


@pytest.mark.parametrize("at", ["train", "save", "encode", "report"])
def test_a_failure_half_way_leaves_whole_folders(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    run = tmp_path / "run"
    prepare(recipe, run)
    before = snapshot(run)
    changed = replace(recipe, tokenizer=CharacterTokenizer(kind="character"))

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    target = {
        "train": (prepare_module, "train_tokenizers"),
        "save": (prepare_module, "remove"),
        "encode": (encode.Overlap, "update"),
        "report": (PrepareReport, "to_json"),
    }[at]
    with monkeypatch.context() as patch:
        patch.setattr(*target, fail)
        with pytest.raises(RunError) as error:
            prepare(changed, run)
    assert str(error.value) == f"{run}: preparation failed (No space left on device)"
    after = snapshot(run)
    if at in ("train", "save"):
        assert after == before
    else:  # the new tokenizer is there; what the old one had encoded is not
        assert {path.split("/")[0] for path in after} == {"tokenizer"}
    assert prepare(changed, run).redone[-1] == "data"
    assert text_of(run, "train") == PAIRS[:100]
    assert sorted(path.name for path in run.iterdir()) == ["data", "tokenizer"]


def test_filters_drop_from_training_alone_and_count(recipe: Recipe, tmp_path: Path) -> None:
    odd = [
        ("", "a"),
        ("a", "  "),
        ("a " * 21, "b"),
        ("a " * 11, "b"),
        ("a " * 10, "b"),
        PAIRS[0],
        PAIRS[1],
        PAIRS[0],
    ]
    filters = {"max_length": 20, "max_ratio": 10.5, "duplicates": True}
    changed = with_filters(with_train(recipe, [*PAIRS[:100], *odd]), **filters)
    report = prepare(changed, tmp_path / "run")
    assert report.splits["train"].dropped == {
        "empty side": 2,
        "too long": 1,
        "length ratio": 1,
        "duplicate": 3,
    }
    assert report.splits["train"].read == 108
    assert report.splits["train"].kept == 101
    assert text_of(tmp_path / "run", "train") == [*PAIRS[:100], (("a " * 10).strip(), "b")]
    assert report.splits["validation"].dropped == {}
    assert report.splits["validation"].kept == 10


def message(recipe: Recipe, folder: Path) -> str:
    with pytest.raises(DataError) as error:
        prepare(recipe, folder)
    return str(error.value)


def test_dropping_too_much_is_an_error(recipe: Recipe, tmp_path: Path) -> None:
    pairs = [*PAIRS[:2], *[("a", "")] * 3, *[("a b c d e f g", "b")] * 4]
    changed = with_filters(with_train(recipe, pairs), max_length=6)
    assert message(changed, tmp_path) == (
        "train: 7 of 9 pairs are dropped (empty side 3, too long 4), more than "
        "data.filters.max_dropped 0.5 allows"
    )
    changed = with_filters(changed, max_length=1, max_dropped=1.0)
    assert message(changed, tmp_path) == (
        "train: none of 9 pairs is left (empty side 3, too long 6)"
    )
    assert not (tmp_path / "data").exists()
    enough = with_filters(changed, max_length=6, max_dropped=0.8)
    assert prepare(enough, tmp_path).redone == ("data",)


def test_pairs_shared_with_training_are_counted_and_kept(recipe: Recipe, tmp_path: Path) -> None:
    swapped = (PAIRS[105][1], PAIRS[105][0])
    changed = with_train(recipe, [*PAIRS[:104], swapped, PAIRS[115]])
    report = prepare(changed, tmp_path)
    assert report.splits["train"].in_train is None
    assert report.splits["validation"].in_train == 4
    assert report.splits["test"].in_train == 1
    assert report.splits["train"].kept == 106
    assert report.warnings == (
        "validation: 4 of 10 pairs are in the training data too; a score on them says little "
        "(data.filters.unseen: pairs drops them from training)",
        "test: 1 of 10 pairs are in the training data too; a score on them says little "
        "(data.filters.unseen: pairs drops them from training)",
    )


def test_numbers_that_foretell_a_low_score_are_warnings(recipe: Recipe, tmp_path: Path) -> None:
    assert isinstance(recipe.data, FilesData)
    raw = tmp_path / "raw"
    train = [(f"source {i}", f"wort{i % 20}") for i in range(100)]
    held = [(f"source {i}", "trow9" if i < 3 else "wort1") for i in range(10)]
    data = replace(
        recipe.data,
        train=write_split(raw, "train", train),
        validation=write_split(raw, "validation", [(f"new {i}", "wort2") for i in range(10)]),
        test=write_split(raw, "test", held),
    )
    one_word = replace(recipe, data=data)
    unknown = (
        "test: 30.0% of the target tokens are unknown, 0.0% in training; no output can have them: "
        "a tokenizer of kind 'unigram' or 'character' knows the parts of new words"
    )
    shared = (
        "test: 10 of 10 sources are in the training data too; a score on them says little "
        "(data.filters.unseen: sources drops their pairs from training)"
    )
    flat = (
        "train.best bleu: 100% of the targets are one word, and BLEU of outputs of fewer than four "
        "words is 0; choose exact, cer or chrf (metrics and train.best)"
    )
    report = prepare(one_word, tmp_path)
    assert set(report.warnings) == {unknown, shared, flat} | {
        line for line in report.warnings if line.startswith("test: 1 of 10 pairs")
    }
    again = prepare(one_word, tmp_path)
    assert (again.redone, again.warnings) == ((), report.warnings)
    chrf = replace(one_word, train=replace(one_word.train, best="chrf"))
    assert flat not in prepare(chrf, tmp_path).warnings
    unseen = with_filters(chrf, unseen="sources")
    characters = replace(unseen, tokenizer=CharacterTokenizer(kind="character"))
    assert prepare(characters, tmp_path).warnings == ()


def test_line_breaks_are_reported(recipe: Recipe, tmp_path: Path) -> None:
    rows = [{"source": "a\nb c", "target": "d e"}, {"source": "f\r\n", "target": "g\n\r\nh\n"}]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = FilesData(kind="files", train=FileSet(table=str(path)))
    report = prepare(replace(recipe, data=data), tmp_path)
    assert report.warnings == ("train: 2 texts had line breaks, now spaces",)
    assert text_of(tmp_path, "train") == [("a b c", "d e"), ("f", "g h")]


def test_unknown_tokens_are_counted(recipe: Recipe, tmp_path: Path) -> None:
    changed = with_train(recipe, [*PAIRS[:100], ("once only", PAIRS[0][1])])
    changed = replace(changed, tokenizer=WordTokenizer(kind="word", min_count=2))
    report = prepare(changed, tmp_path)
    source = report.splits["train"].source
    values = open_corpus(tmp_path, "train").source_values
    assert source.unknown == int((values == UNK).sum()) >= 2
    assert source.unknown_rate == source.unknown / source.tokens


def test_the_report_comes_back_and_shows(recipe: Recipe, tmp_path: Path) -> None:
    report = prepare(recipe, tmp_path)
    assert PrepareReport.from_json(report.to_json()) == replace(report, redone=())
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(report.table())
    shown = console.export_text()
    for part in ("train", "validation", "too long", "4 4 4 4"):
        assert part in shown
    assert report.lines()[0].startswith(f"vocabulary {report.source_vocabulary} → ")


def test_progress_tells_stages_and_totals(recipe: Recipe, tmp_path: Path) -> None:
    stages: list[tuple[str, int, int | None]] = []
    prepare(recipe, tmp_path, progress=lambda *step: stages.append(step))
    assert stages == [
        *(("reading", done, 100) for done in (0, 32, 64, 96, 100)),
        ("training the tokenizer", 0, 1),
        ("training the tokenizer", 1, 1),
        *[("encoding test", 10, 10)] * 2,
        *[("encoding validation", 10, 10)] * 2,
        *(("encoding train", done, 100) for done in (32, 64, 96, 100, 100)),
    ]


def test_an_unchanged_run_imports_neither_torch_nor_datasets(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from s2s.data.preparation.prepare import prepare\n"
        "from s2s.recipe.data import GeneratedData\n"
        "from s2s.recipe.recipe import Recipe\n"
        "from s2s.recipe.tokenizer import CharacterTokenizer\n"
        "data = GeneratedData(kind='generated', corpus='dates', pairs=100, held_out=10)\n"
        "tokenizer = CharacterTokenizer(kind='character')\n"
        "recipe = Recipe(task='translation', data=data, tokenizer=tokenizer)\n"
        "print(prepare(recipe, Path(sys.argv[1])).redone)\n"
        "print({'torch', 'datasets', 'babel', 'pandas'} & set(sys.modules))\n"
    )
    stages = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            capture_output=True,
            text=True,
            check=True,
        )
        stages.append(done.stdout.splitlines())
    assert stages[0][0] == "('tokenizer', 'data')"
    assert stages[1] == ["()", "set()"]


def test_a_missing_source_is_an_error_at_once(recipe: Recipe, tmp_path: Path) -> None:
    assert isinstance(recipe.data, FilesData)
    missing = FileSet(source="nowhere.de", target="nowhere.en")
    changed = replace(recipe, data=replace(recipe.data, test=missing))
    assert message(changed, tmp_path / "run") == "nowhere.de: no such file"
    assert not (tmp_path / "run").exists()


def test_seen_pairs_is_a_set() -> None:
    random, seen, known = Random(1), SeenPairs(), set[int]()
    for _ in range(50):
        values = [random.randrange(500) for _ in range(random.randrange(1, 30))]
        lines = [str(v) for v in values], ["x"] * len(values)
        source, target = (LineWords.of(ByteLines.of(side)) for side in lines)
        expected = []
        for value in values:
            expected.append(value not in known)
            known.add(value)
        assert seen.add(pair_hashes(source, target)).tolist() == expected


def test_generated_data(tmp_path: Path) -> None:
    data = GeneratedData(kind="generated", corpus="dates", pairs=100, held_out=10)
    characters = CharacterTokenizer(kind="character")
    recipe = Recipe(task="translation", data=data, tokenizer=characters)
    report = prepare(recipe, tmp_path)
    assert [split.kept for split in report.splits.values()] == [100, 10, 10]
    assert not report.warnings


def test_multi30k(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = CORPORA / "multi30k"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not here")
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    data = DatasetData(
        kind="dataset",
        dataset=str(folder),
        columns=Columns(source="de", target="en"),
        splits=Splits(train="train[:2000]"),
    )
    tokenizer = SubwordTokenizer(kind="bpe", vocabulary=500)
    report = prepare(Recipe(task="translation", data=data, tokenizer=tokenizer), tmp_path)
    assert [split.kept for split in report.splits.values()] == [2000, 1014, 1000]
