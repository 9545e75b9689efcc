"""Several corpora: who is drawn how often, tags, and what is refused before data are read."""

import io
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from s2s import pipeline
from s2s.data.batches import collate
from s2s.data.epochs import Epochs, sampled_pairs
from s2s.data.preparation.prepare import open_corpus, prepare
from s2s.data.preparation.report import PrepareReport
from s2s.data.sources import open as sources
from s2s.errors import DataError, Interrupted, RecipeError, RunError, UsageError
from s2s.inference.attention.maps import attention_maps
from s2s.recipe.data import Columns, FilesData, FileSet, SeveralData
from s2s.recipe.filters import Filters, Truncate
from s2s.recipe.load import differences, load_recipe, recipe_schema
from s2s.recipe.recipe import Recipe
from s2s.recipe.tokenizer import (
    CharacterTokenizer,
    SeparateTokenizers,
    SideTokenizer,
    SubwordTokenizer,
    WordTokenizer,
)
from s2s.recipe.train import Train
from s2s.run.directory import Run
from s2s.text.tags import Tagged, check_tag, front_of, is_blank
from s2s.text.tokenizer_pair import load_tokenizer, load_tokenizers, train_tokenizers
from s2s.text.vocabulary import Characters
from tests.inference.attention.test_maps import LETTERS, Copy, translator_of
from tests.training.test_resume import figures, stop_after
from tests.training.toys import Listener, differing, small_recipe, weights, write_task

RANDOM = Random(5)
WORDS = ["".join(RANDOM.choices("abcdefgh", k=RANDOM.randint(2, 6))) for _ in range(80)]
TEXTS = [tuple(" ".join(RANDOM.choices(WORDS, k=n)) for n in (4, 6)) for _ in range(90)]


# Who is drawn how often.


def test_every_pair_once_needs_no_drawing() -> None:
    assert sampled_pairs((5, 7), (1.0, 1.0), seed=1, epoch=3) is None


@pytest.mark.parametrize("weight", [0.07, 0.5, 1.0, 1.3, 2.0, 3.9])
def test_an_epoch_sees_a_share_of_each_corpus_and_epochs_even_it_out(weight: float) -> None:
    sizes = (13, 29)
    seen: Counter[int] = Counter()
    for epoch in range(12):
        rows = sampled_pairs(sizes, (weight, 2.0), seed=4, epoch=epoch)
        assert rows is not None
        first, second = rows[rows < 13], rows[rows >= 13]
        assert len(first) == max(1, round(weight * 13))
        assert Counter(second.tolist()) == dict.fromkeys(range(13, 42), 2)
        seen.update(first.tolist())
        counts = [seen[row] for row in range(13)]
        assert max(counts) - min(counts) <= 1


def test_what_is_drawn_is_a_function_of_seed_and_epoch() -> None:
    def rows(seed: int, epoch: int) -> list[int]:
        found = sampled_pairs((40, 40), (0.5, 0.5), seed=seed, epoch=epoch)
        assert found is not None
        return found.tolist()

    assert rows(1, 6) == rows(1, 6)
    assert rows(1, 6) != rows(2, 6)
    first, second = set(rows(1, 0)), set(rows(1, 1))
    assert not first & second and first | second == set(range(80))
    halves = rows(3, 0)
    assert {row for row in halves if row < 40} != {row - 40 for row in halves if row >= 40}


# Preparation.


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "CHUNK_PAIRS", 16)


def table(path: Path, texts: list[tuple[str, ...]], names: tuple[str, str]) -> FileSet:
    rows = [dict(zip(names, pair, strict=True)) for pair in texts]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return FileSet(table=str(path))


def two_corpora(folder: Path, **second: Any) -> SeveralData:
    """One of 30 pairs, untagged, and a tagged one of 40, which is evaluated, in other columns."""
    plain = FilesData(
        kind="files", train=table(folder / "a.jsonl", TEXTS[:30], ("source", "target")), weight=2.0
    )
    held_out = [*TEXTS[70:79], ("", TEXTS[79][1])]
    tagged = FilesData(
        kind="files",
        train=table(folder / "b.jsonl", TEXTS[30:70], ("de", "en")),
        validation=table(folder / "v.jsonl", held_out, ("de", "en")),
        test=table(folder / "t.jsonl", TEXTS[80:], ("de", "en")),
        columns=Columns(source="de", target="en"),
        weight=0.5,
        tag="<bt>",
        evaluated=True,
    )
    return SeveralData(kind="several", corpora=(plain, replace(tagged, **second)))


def recipe_of(data: Any, tokenizer: Any = None) -> Recipe:
    chosen = tokenizer or WordTokenizer(kind="word")
    return Recipe(task="translation", data=data, tokenizer=chosen)


def source_rows(folder: Path, split: Any) -> list[list[int]]:
    corpus = open_corpus(folder, split)
    values, offsets = corpus.source_values, corpus.source_offsets
    return [values[offsets[i] : offsets[i + 1]].tolist() for i in range(len(corpus))]


@pytest.mark.usefixtures("small_chunks")
def test_corpora_lie_one_after_the_other_with_their_tags(tmp_path: Path) -> None:
    recipe = recipe_of(two_corpora(tmp_path))
    report = prepare(recipe, tmp_path / "run")
    assert report.splits["train"].corpora == (30, 40)
    assert PrepareReport.from_json(report.to_json()) == replace(report, redone=())
    assert open_corpus(tmp_path / "run", "train").sizes == (30, 40)
    tokenizer = load_tokenizers(tmp_path / "run" / "tokenizer").source
    tagged = [f"<bt> {pair[0]}" for pair in TEXTS[30:70]]
    rows = source_rows(tmp_path / "run", "train")
    assert tokenizer.decode(rows) == [*(pair[0] for pair in TEXTS[:30]), *tagged]
    assert [len(row) for row in rows] == [4] * 30 + [5] * 40
    assert {row[0] for row in rows[30:]} == {tokenizer.size - 1}
    validation = open_corpus(tmp_path / "run", "validation")
    assert validation.source_texts == [*(f"<bt> {pair[0]}" for pair in TEXTS[70:79]), ""]
    assert validation.target_texts == [pair[1] for pair in TEXTS[70:80]]
    assert open_corpus(tmp_path / "run", "test").source_lengths.tolist() == [5] * 10


def test_an_epoch_of_two_corpora(tmp_path: Path) -> None:
    """Its batches hold the pairs that are drawn and are read from the map itself."""
    recipe = recipe_of(two_corpora(tmp_path))
    prepare(recipe, tmp_path / "run")
    corpus = open_corpus(tmp_path / "run", "train")
    for number in (0, 3):
        epoch = Epochs(corpus, recipe, 1)(number)
        rows = sampled_pairs((30, 40), (2.0, 0.5), seed=1, epoch=number)
        assert rows is not None and len(rows) == 2 * 30 + 20
        assert sorted(epoch.plan.order.tolist()) == sorted(rows.tolist())
        assert epoch.corpus is corpus
        batch = collate(epoch.corpus, epoch.plan[0])
        lengths = corpus.source_lengths[epoch.plan[0]] + 1
        assert np.array_equal(batch.source_lengths.numpy(), lengths)
    other = Epochs(corpus, replace(recipe, train=Train(batch_tokens=40)), 1)(0)
    assert len(other.plan) > len(Epochs(corpus, recipe, 1)(0).plan)


def test_changes_redo_what_depends_on_them(tmp_path: Path) -> None:
    run = tmp_path / "run"
    data = two_corpora(tmp_path)
    prepare(recipe_of(data), run)
    changes: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        ({"weight": 3.0}, ()),
        ({"filters": Filters(max_length=50)}, ("data",)),
        ({"tag": "<other>"}, ("tokenizer", "data")),
        ({"test": None}, ("tokenizer", "data")),  # back to the tag of before
    ]
    for change, redone in changes:
        second = replace(data.corpora[1], **change)
        recipe = recipe_of(replace(data, corpora=(data.corpora[0], second)))
        assert prepare(recipe, run).redone == redone, change
        assert prepare(recipe, run).redone == ()


def test_filters_are_those_of_the_corpus(tmp_path: Path) -> None:
    data = two_corpora(tmp_path, filters=Filters(max_length=5, max_dropped=1.0))
    with pytest.raises(DataError) as error:
        prepare(recipe_of(data), tmp_path / "run")
    assert str(error.value) == "train, corpus 2: none of 40 pairs is left (too long 40)"
    few = replace(data.corpora[0], filters=Filters(max_length=5))
    with pytest.raises(DataError, match=r"train, corpus 1: none of 30 pairs is left"):
        prepare(recipe_of(replace(data, corpora=(few, data.corpora[1]))), tmp_path / "run")


def test_a_tag_is_no_text_and_counts_where_sources_are_cut(tmp_path: Path) -> None:
    odd = table(tmp_path / "o.jsonl", [("", "x"), ("  ", "x"), *TEXTS[:30]], ("de", "en"))
    data = two_corpora(tmp_path, train=odd, filters=Filters(max_length=6))
    report = prepare(recipe_of(data), tmp_path / "run")
    assert report.splits["train"].dropped["empty side"] == 2
    exact = two_corpora(tmp_path, filters=Filters(max_length=6, max_ratio=1.5))
    assert prepare(recipe_of(exact), tmp_path / "exact").splits["train"].kept == 70
    cut = replace(exact, truncate=Truncate(source=3))
    prepare(recipe_of(cut), tmp_path / "cut")
    assert [len(row) for row in source_rows(tmp_path / "cut", "train")] == [3] * 70
    assert recipe_of(cut).data.longest_source == 3


def test_a_column_that_a_corpus_has_not_is_named_with_its_file(tmp_path: Path) -> None:
    data = two_corpora(tmp_path, columns=Columns(source="source", target="en"))
    with pytest.raises(DataError) as error:
        prepare(recipe_of(data), tmp_path / "run")
    assert str(error.value).startswith(f"{tmp_path}/b.jsonl:1: no column 'source'; found: de, en")


# Tokenizers.

SIDES: list[SideTokenizer] = [
    SubwordTokenizer(kind="unigram", vocabulary=60),
    SubwordTokenizer(kind="bpe", vocabulary=60, byte_fallback=False),
    CharacterTokenizer(kind="character"),
    WordTokenizer(kind="word"),
]
TAGS = ("<2en>", "<bt>")


@pytest.mark.parametrize("side", SIDES, ids=lambda side: side.kind)
def test_a_tag_is_one_token_whatever_the_tokenizer(side: SideTokenizer, tmp_path: Path) -> None:
    lines = [pair[0] for pair in TEXTS]
    plain = train_tokenizers(side, [(lines, lines)], seed=1).source
    pair = train_tokenizers(side, [(lines, lines)], seed=1, tags=TAGS)
    tagged = pair.source
    assert pair.is_shared and tagged.size == plain.size + 2
    first, second = plain.size, plain.size + 1
    line = lines[0]
    (alone,) = plain.encode([line])
    for text, front in [
        (line, []),
        (f"<2en> {line}", [first]),
        (f"<2en>{line}", [first]),
        (f" <bt> <2en> {line}", [second, first]),
    ]:
        assert tagged.encode([text]) == [front + alone]
        assert tagged.decode([front + alone]) == [tagged.normalize(text)]
        assert tagged.pieces(front + alone) == [
            *(TAGS[token - first] for token in front),
            *plain.pieces(alone),
        ]
    assert tagged.encode(["<2en>", "", "<2de> x"])[:2] == [[first], []]
    assert tagged.encode(["<2de> x"]) == plain.encode(["<2de> x"])
    assert tagged.decode([[*alone, second, *alone]]) == [f"{line} <bt> {line}"]
    assert tagged.decode([]) == []
    tagged.save(tmp_path / "t")
    assert load_tokenizer(tmp_path / "t") == tagged != plain
    assert front_of(tagged, f"<bt>  {line}") == "<bt> " and front_of(plain, "<bt> x") == ""
    assert is_blank(tagged, " <bt>  ") and not is_blank(plain, "<bt>") and is_blank(plain, " ")
    for content in ("", "{}", "[]", "[1]"):
        (tmp_path / "t" / "tags.json").write_text(content)
        with pytest.raises(RunError, match="tags"):
            load_tokenizer(tmp_path / "t")


def test_only_the_source_of_separate_tokenizers_has_tags() -> None:
    recipe = SeparateTokenizers(kind="separate", source=SIDES[2], target=SIDES[3])
    pair = train_tokenizers(recipe, [(["ab"], ["x y"])], seed=1, tags=TAGS)
    assert isinstance(pair.source, Tagged) and not isinstance(pair.target, Tagged)


def test_an_unknown_tag_is_refused_with_those_there_are() -> None:
    with pytest.raises(UsageError) as error:
        check_tag(Tagged(LETTERS, TAGS), "<2de>", "--tag")
    assert str(error.value) == "--tag: expected one of <2en>, <bt>, found '<2de>'"
    with pytest.raises(UsageError) as error:
        check_tag(LETTERS, "<2de>", "--tag")
    assert str(error.value) == "--tag: expected none: the run's data have no tags, found '<2de>'"


# Translation.

FEWER = Characters("abcdefghijklmnop ")
"""Two fewer than the model that copies knows: room for the tags."""


def test_a_long_line_keeps_its_tag_in_every_piece() -> None:
    notes: list[str] = []
    base = replace(translator_of(Copy(), notes, longest=4), source=FEWER, target=FEWER)
    one = replace(base, source=Tagged(FEWER, TAGS), target=Tagged(FEWER, TAGS))
    line = "abcd efgh abcd efgh abcd efgh"
    plain = base([line])
    assert len(plain[0].split()) == 6
    (found,) = one([f"<bt> {line}"])
    assert found.split() == [word for part in plain[0].split() for word in ("<bt>", part)]
    assert [m.target_text for m in attention_maps(one, [f"<bt> {line}"])] == [found]
    assert "pieces" in notes[0]
    assert one(["<bt>", "  <bt> ", ""]) == ["", "", ""]
    (short,) = attention_maps(one, ["<bt> abc"])
    assert (short.source[0], short.source_word_ids[:2]) == ("<bt>", (0, 1))


def test_a_tag_is_put_where_there_is_none() -> None:
    tokenizer = Tagged(FEWER, TAGS)
    one = replace(translator_of(Copy()), source=tokenizer, target=tokenizer)
    asked = replace(one, tag="<2en>")
    lines = ["abc", "<bt> abc", "", "  "]
    assert (
        asked(lines) == one(["<2en> abc", "<bt> abc", "", ""]) == ["<2en> abc", "<bt> abc", "", ""]
    )
    for space in " \t\u00a0\u3000\u200b\ufeff":  # as before any text
        assert asked([f"{space}<bt>abc"]) == ["<bt> abc"]


def tagged_recipe(folder: Path) -> Recipe:
    first = write_task(folder / "one")
    second = write_task(folder / "two", lambda text: text.upper(), validation=False)
    data = SeveralData(
        kind="several",
        corpora=(
            replace(first, tag="<2low>", weight=0.7),
            replace(second, test=None, tag="<2up>", weight=1.5),
        ),
    )
    return replace(small_recipe(first, average=0.9, batch_tokens=150, epochs=2), data=data)


def test_interrupted_and_resumed_is_uninterrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tagged_recipe(tmp_path)
    runs = []
    for name, stops in (("straight", []), ("stopped", [4, 24])):
        with monkeypatch.context() as patch:
            stop_after(stops, patch)
            for _ in stops:
                with pytest.raises(Interrupted):
                    train(recipe, tmp_path / name)
            runs.append(train(recipe, tmp_path / name))
    assert figures(runs[0]) == figures(runs[1])
    assert differing(weights(runs[0]), weights(runs[1])) == []

    run = runs[0]
    outputs = []
    for text, tag in (("<2up> abc\n\nbcd\n", "<2low>"), ("<2up> abc\n\n<2low> bcd\n", None)):
        output = io.BytesIO()
        source = io.BytesIO(text.encode())
        pipeline.translate(run=run, source=source, target=output, device="cpu", tag=tag)
        outputs.append(output.getvalue())
    assert outputs[0] == outputs[1] and outputs[0].count(b"\n") == 3
    with pytest.raises(UsageError, match="--tag: expected one of <2low>, <2up>, found '<2de>'"):
        pipeline.translate(
            run=run, source=io.BytesIO(), target=io.BytesIO(), device="cpu", tag="<2de>"
        )
    assert isinstance(recipe.data, SeveralData)
    first, second = recipe.data.corpora
    changed = replace(recipe.data, corpora=(first, replace(second, weight=2.0)))
    with pytest.raises(UsageError, match=r"data\.corpora\[1\]\.weight: 1\.5 -> 2\)"):
        train(replace(recipe, data=changed), tmp_path / "straight")


def train(recipe: Recipe, root: Path) -> Run:
    pipeline.train(recipe, runs=root, device="cpu", reporter=Listener())
    return Run.open(root / "toy")


# What is refused before data are read.

BASE = "task: translation\ntokenizer: {kind: word}\ndata:\n  kind: several\n  corpora:\n"
FILES = "{kind: files, train: {source: a, target: b}"
NOT_USED = (
    "has no effect: validation and test come from the first corpus, or from the one with "
    "'evaluated: true'"
)
ONE_SYMBOL = "expected one symbol such as <2en>, in angle brackets and without spaces, found"
FAULTS = [
    ([f"{FILES}, weight: 0}}"], "6: data.corpora[0].weight: expected more than 0, found 0"),
    (
        [f"{FILES}}}", f"{FILES}, weight: -1.5}}"],
        "7: data.corpora[1].weight: expected more than 0, found -1.5",
    ),
    ([f"{FILES}, weight: 5000}}"], "6: data.corpora[0].weight: expected at most 1000, found 5000"),
    ([f"{FILES}, tag: 2en}}"], f"6: data.corpora[0].tag: {ONE_SYMBOL} '2en'"),
    ([f'{FILES}, tag: "<2 en>"}}'], f"6: data.corpora[0].tag: {ONE_SYMBOL} '<2 en>'"),
    ([f'{FILES}, tag: "<a><b>"}}'], f"6: data.corpora[0].tag: {ONE_SYMBOL} '<a><b>'"),
    (
        [f"{FILES}, wieght: 1}}"],
        "6: data.corpora[0].wieght: unknown key (did you mean 'weight'?)",
    ),
    (
        [f"{FILES}, splits: {{}}}}"],
        "6: data.corpora[0].splits: unknown key ('splits' belongs to kind 'dataset')",
    ),
    (
        ["{kind: fiels}"],
        "6: data.corpora[0].kind: expected one of 'dataset', 'files', 'generated', found 'fiels' "
        "(did you mean 'files'?)\n"
        "6: data.corpora[0].train: missing section",
    ),
    (["{kind: dataset}"], "6: data.corpora[0].dataset: missing key"),
    (
        ["{train: 1}"],
        "6: data.corpora[0].kind: missing key, one of 'dataset', 'files', 'generated'\n"
        "6: data.corpora[0].train: expected a section (key: value), found 1",
    ),
    (
        [f"{FILES}}}", f"{FILES}, validation: {{table: x.tsv}}}}"],
        f"7: data: corpora[1].validation {NOT_USED}",
    ),
    (
        [f"{FILES}, hold_out: {{}}}}", f"{FILES}, evaluated: true}}"],
        f"6: data: corpora[0].hold_out {NOT_USED}",
    ),
    (
        [f"{FILES}, evaluated: true}}", f"{FILES}, evaluated: true}}"],
        "7: data: corpora[1].evaluated: corpora[0] has it already",
    ),
    (
        [f"{FILES}, truncate: {{source: 3}}}}"],
        "6: data: corpora[0].truncate: use data.truncate, which is for all corpora",
    ),
]


@pytest.mark.parametrize(("corpora", "fault"), FAULTS)
def test_a_fault_is_named_with_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpora: list[str], fault: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text(BASE + "".join(f"    - {corpus}\n" for corpus in corpora))
    with pytest.raises(RecipeError) as error:
        load_recipe(Path("r.yaml"))
    assert str(error.value) == "\n".join(f"r.yaml:{line}" for line in fault.splitlines())


def test_none_is_too_few_and_a_list_is_no_section(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(BASE.replace("corpora:\n", "corpora: []\n"))
    with pytest.raises(RecipeError, match=r"data\.corpora: expected a list of at least 1, found"):
        load_recipe(path)
    path.write_text(BASE + f"    - {FILES}}}\n")
    with pytest.raises(RecipeError, match=r"'data\.corpora' is not a section"):
        load_recipe(path, ["data.corpora.0.weight=2"])


def test_every_field_of_a_corpus_is_described() -> None:
    definitions = recipe_schema()["$defs"]
    for name in ("FilesData", "DatasetData", "GeneratedData", "SeveralData", "Truncate"):
        for field, found in definitions[name]["properties"].items():
            assert field == "kind" or found.get("description"), (name, field)


def test_differences_within_a_list_are_named_one_by_one(tmp_path: Path) -> None:
    one = recipe_of(two_corpora(tmp_path))
    assert differences(one, recipe_of(two_corpora(tmp_path, weight=4.0))) == [
        "data.corpora[1].weight: 0.5 -> 4"
    ]
