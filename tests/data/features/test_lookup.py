"""Prepared data with features: lists of targets, rows that are stored, ids that do not match."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s2s.data.batches import collate
from s2s.data.epochs import Epochs
from s2s.data.features.lookup import open_features
from s2s.data.preparation.prepare import open_corpus, prepare
from s2s.data.preparation.report import PrepareReport
from s2s.data.subword_sampling import open_subword_sampler
from s2s.errors import DataError
from s2s.recipe.filters import TargetText
from s2s.recipe.image_features import ImageFeatureFile
from s2s.recipe.load import load_recipe
from s2s.recipe.recipe import Recipe
from s2s.text.normalize import normalize
from s2s.text.tokenizer_pair import load_tokenizers
from tests.captions import RECIPE, REGIONS, WIDTH, write_captions


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    monkeypatch.chdir(tmp_path)
    write_captions(tmp_path)
    return load_recipe(Path("recipe.yaml"))


def rows_of(split: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(f"{split}.jsonl").read_text().splitlines()]


def rewrite(split: str, rows: list[dict[str, Any]]) -> None:
    Path(f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def with_file(recipe: Recipe, **fields: Any) -> Recipe:
    (file,) = recipe.data.image_features  # type: ignore[union-attr]
    data = replace(recipe.data, image_features=(replace(file, **fields),))  # type: ignore[type-var]
    return replace(recipe, data=data)  # type: ignore[arg-type]


def test_each_caption_trains_and_all_are_references(recipe: Recipe) -> None:
    report = prepare(recipe, Path("run"))
    assert {name: (split.read, split.kept) for name, split in report.splits.items()} == {
        "train": (440, 440),
        "validation": (20, 20),
        "test": (20, 20),
    }
    test = open_corpus(Path("run"), "test")
    captions = [row["captions"] for row in rows_of("test")]
    assert test.source_texts == [row["image"] for row in rows_of("test")]
    assert test.target_texts == [first for first, _ in captions]
    assert test.references == [[c[0] for c in captions], [c[1] for c in captions]]
    ids = Path("ids.txt").read_text().splitlines()
    train = open_corpus(Path("run"), "train")
    assert train.rows_NF is not None
    wanted = [ids.index(row["image"]) for row in rows_of("train") for _ in row["captions"]]
    assert train.rows_NF.tolist() == [[row] for row in wanted]
    assert train.source_lengths.tolist() == [0] * 440


def test_a_batch_has_the_features_of_its_pairs(recipe: Recipe) -> None:
    prepare(recipe, Path("run"))
    corpus = open_corpus(Path("run"), "train", open_features(recipe.data))
    assert set(corpus.memory_lengths.tolist()) == {REGIONS - 1}  # an end of sentence is added
    plan = Epochs(corpus, recipe, 4)(0).plan
    longest = [max(REGIONS, int(corpus.target_lengths[pairs].max()) + 1) for pairs in plan]
    sizes = [len(pairs) * time for pairs, time in zip(plan, longest, strict=True)]
    assert 100 < max(sizes) <= recipe.train.batch_tokens
    batch = collate(corpus, plan[0], 4)
    assert batch.source.shape == (len(plan[0]), 0) and not batch.source_lengths.any()
    (regions,) = batch.features
    assert corpus.rows_NF is not None
    grids = np.load("grid.npy")[corpus.rows_NF[plan[0], 0]]
    np.testing.assert_array_equal(regions.values_BRD.numpy(), grids)
    assert regions.lengths_B.tolist() == [REGIONS] * len(plan[0])
    twice = batch.repeated(2)
    np.testing.assert_array_equal(twice.features[0].values_BRD[1::2].numpy(), grids)


def test_ids_without_features_are_refused_or_left_out(recipe: Recipe) -> None:
    rows = rows_of("train")
    rows[3]["image"] = "img 1O2.jpg"
    rewrite("train", rows)
    with pytest.raises(DataError) as found:
        prepare(recipe, Path("run"))
    assert str(found.value).startswith("train: grid.npy: no features for 'img 1O2.jpg' (did you me")
    assert "2 of 440 pairs have none, more than data.image_features[0].max_missing 0 allows" in str(
        found.value
    )
    report = prepare(with_file(recipe, max_missing=0.01), Path("run"))
    assert report.splits["train"].dropped["no features"] == 2
    assert (report.splits["train"].kept, report.splits["test"].dropped) == (438, {})
    (file,) = report.features
    assert (file.rows, file.unused, file.width, file.regions) == (263, 4, WIDTH, (5, 5))
    again = PrepareReport.from_json(report.to_json())
    assert again.features == report.features
    assert "grid.npy: 263 ids of 5 × 9, 4 in no split" in again.lines()


def test_a_split_none_of_whose_ids_has_features_is_refused(recipe: Recipe) -> None:
    rewrite("test", [{**row, "image": f"x{place}"} for place, row in enumerate(rows_of("test"))])
    with pytest.raises(DataError, match=r"test: grid.npy: no features for 'x0'.*20 of 20 pairs"):
        prepare(with_file(recipe, max_missing=1.0), Path("run"))


def test_features_without_captions_are_refused_where_the_recipe_says_so(recipe: Recipe) -> None:
    assert prepare(with_file(recipe, max_unused=0.02), Path("run")).features[0].unused == 3
    with pytest.raises(DataError, match=r"grid.npy: 3 of 263 ids are in no split, such as 'img 16"):
        prepare(with_file(recipe, max_unused=0.01), Path("other"))


def test_files_that_do_not_fit_are_refused(recipe: Recipe) -> None:
    ids = Path("ids.txt").read_text()
    for text, what in (
        (ids + "one more\n", "ids.txt: expected one id for each of 263 rows"),
        (ids.replace("img 7.jpg", "img 8.jpg"), "ids.txt:.*'img 8.jpg' occurs before"),
    ):
        Path("ids.txt").write_text(text)
        with pytest.raises(DataError, match=what):
            prepare(recipe, Path("run"))
    Path("ids.txt").write_text(ids)
    grids = np.load("grid.npy")
    grids[ids.splitlines().index("img 5.jpg"), 2, 3] = np.nan
    np.save("grid.npy", grids)
    with pytest.raises(DataError, match=r"expected finite numbers, found NaN or .* 'img 5.jpg'"):
        prepare(recipe, Path("run"))


def test_whole_numbers_may_be_ids_and_plain_lines_may_hold_them(recipe: Recipe) -> None:
    np.save("numbers.npy", np.ones((4, WIDTH), np.float32))
    Path("numbers.ids").write_text("0\n1\n2\n3\n")
    rewrite("train", [{"row": n % 4, "captions": ["a b", "c"]} for n in range(6)])
    table = recipe.data.train  # type: ignore[union-attr]
    files = (ImageFeatureFile(path="numbers.npy", column="row"),)
    data = replace(recipe.data, train=table, validation=None, test=None, image_features=files)  # type: ignore[type-var, call-arg]
    prepare(replace(recipe, data=data), Path("run"))  # type: ignore[arg-type]
    train = open_corpus(Path("run"), "train")
    assert train.rows_NF is not None
    assert train.rows_NF[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 0, 0, 1, 1]
    Path("train.x").write_text("a cat\t2\nno\t0\n")
    Path("train.y").write_text("b\nc\n")
    text = RECIPE.replace("{table: train.jsonl}", "{source: train.x, target: train.y}")
    for name in ("validation", "test"):
        text = text.replace(f"  {name}: {{table: {name}.jsonl}}\n", "")
    text = text.replace("{source: null, target: captions}", "{source: any}")
    text = text.replace("image_features: [{width: 24, dropout: 0}]", "encoder: {width: 12}")
    text = text.replace("{path: grid.npy, ids: ids.txt}", "{path: numbers.npy}")
    Path("recipe.yaml").write_text(text)
    prepare(load_recipe(Path("recipe.yaml")), Path("lines"))
    lines = open_corpus(Path("lines"), "train")
    assert lines.rows_NF is not None and lines.rows_NF.tolist() == [[2], [0]]
    assert lines.source_lengths.tolist() == [2, 1]


def test_held_out_validation_keeps_an_images_captions_together(recipe: Recipe) -> None:
    text = RECIPE.replace("  validation: {table: validation.jsonl}\n", "  hold_out: {share: 0.2}\n")
    Path("recipe.yaml").write_text(text)
    recipe = load_recipe(Path("recipe.yaml"))
    report = prepare(recipe, Path("run"))
    validation = open_corpus(Path("run"), "validation")
    assert validation.references is not None and len(validation.references) == 2
    assert report.splits["validation"].kept * 2 + report.splits["train"].kept == 440
    assert 20 < report.splits["validation"].kept < 70


def test_sampled_segmentations_keep_their_features(recipe: Recipe) -> None:
    tokenizer = "{kind: unigram, vocabulary: 30, sampling: {alpha: 0.1}}"
    Path("recipe.yaml").write_text(
        RECIPE.replace("tokenizer: {kind: word}", f"tokenizer: {tokenizer}")
    )
    recipe = load_recipe(Path("recipe.yaml"))
    prepare(recipe, Path("run"))
    corpus = open_corpus(Path("run"), "train", open_features(recipe.data))
    tokenizers = load_tokenizers(Path("run/tokenizer"))
    sampler = open_subword_sampler(corpus, tokenizers, recipe, Path("run/sampling"), 1)
    assert sampler is not None and corpus.rows_NF is not None
    sampled = sampler.epoch(0, np.array([5, 2, 9]))
    assert sampled.rows_NF is not None
    assert sampled.rows_NF.tolist() == corpus.rows_NF[[2, 5, 9]].tolist()
    assert sampled.features is corpus.features and not sampled.source_lengths.any()
    assert sampled.memory_lengths.tolist() == [REGIONS - 1] * 3
    texts = tokenizers.target.decode(
        [
            sampled.target_values[a:b].tolist()
            for a, b in zip(sampled.target_offsets, sampled.target_offsets[1:], strict=False)
        ]
    )
    assert texts == corpus.texts(np.array([2, 5, 9]))[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A black dog 's tail .", "a black dog 's tail"),
        ('Two "men" , in T-shirts !', "two men in t-shirts"),
        ("", ""),
        ("... -- '", ""),
        ("The man's hat (red).", "the man's hat red"),
    ],
)
def test_targets_without_case_and_punctuation(text: str, expected: str) -> None:
    assert normalize(text, TargetText(lowercase=True, punctuation=False)) == expected
    assert normalize(text, TargetText()) == text
    assert normalize(text, TargetText(lowercase=True)) == text.lower()


def test_targets_are_rewritten_in_all_splits_and_references(recipe: Recipe) -> None:
    for split in ("train", "test"):
        rows = rows_of(split)
        for row in rows:
            row["captions"] = [f"{caption.upper()} ." for caption in row["captions"]]
        rewrite(split, rows)
    normalized = replace(recipe.data, target_text=TargetText(lowercase=True, punctuation=False))  # type: ignore[type-var]
    prepare(replace(recipe, data=normalized), Path("run"))  # type: ignore[arg-type]
    assert load_tokenizers(Path("run/tokenizer")).target.size == 4 + 13
    for split in ("validation", "test"):
        references = open_corpus(Path("run"), split).references
        assert references is not None
        assert not any(
            line != line.lower() or line.endswith(".")
            for side in references
            for line in side
            if line
        )
