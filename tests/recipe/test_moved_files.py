"""The paths of one recipe in another: everything else stays."""

from dataclasses import replace

import pytest

from s2s.recipe.data import DatasetData, FilesData, FileSet, SeveralData
from s2s.recipe.image_features import ImageFeatureFile
from s2s.recipe.load import differences
from s2s.recipe.moved_files import moved, with_paths_of
from s2s.recipe.recipe import Recipe
from s2s.recipe.tokenizer import SentencePieceTokenizer, WordTokenizer


def files(folder: str, **more: object) -> FilesData:
    return FilesData(
        kind="files",
        train=FileSet(source=(f"{folder}/a", f"{folder}/b"), target=f"{folder}/y"),
        validation=FileSet(table=f"{folder}/v.tsv", references=("one", "two")),
        image_features=(ImageFeatureFile(path=f"{folder}/f.npy", ids=f"{folder}/ids"),),
        **more,
    )


def changed(one: object, other: object) -> list[str]:
    recipe = Recipe(task="translation", data=one, tokenizer=WordTokenizer(kind="word"))
    other_paths = replace(recipe, data=with_paths_of(one, other))
    return [
        line.partition(":")[0] for line in differences(other_paths, replace(recipe, data=other))
    ]


def test_paths_are_no_difference() -> None:
    assert changed(files("."), files("/data")) == []
    assert with_paths_of(files("."), files("/data")) == files("/data")


def test_in_several_corpora_too() -> None:
    one, other = (
        SeveralData(
            kind="several",
            corpora=(files(f), replace(files(f), validation=None)),
        )
        for f in (".", "/data")
    )
    assert changed(one, other) == []


def test_models_of_tokenizers() -> None:
    one, other = (
        Recipe(
            task="translation",
            data=files(folder),
            tokenizer=SentencePieceTokenizer(kind="sentencepiece", model=f"{folder}/m"),
        )
        for folder in (".", "/data")
    )
    assert one != other
    assert moved(one, other) == other


def test_folders_of_data_sets() -> None:
    one, other = (DatasetData(kind="dataset", dataset=name) for name in ("./d", "../d"))
    assert changed(one, other) == []


@pytest.mark.parametrize(
    ("other", "field"),
    [
        (files("x", header=False), "data.header"),
        (replace(files("x"), validation=None), "data.validation"),
        (replace(files("x"), image_features=()), "data.image_features"),
        (DatasetData(kind="dataset", dataset="d"), "data.kind"),
    ],
)
def test_other_differences_stay(other: object, field: str) -> None:
    assert field in changed(files("."), other)


def test_a_table_is_no_pair_of_files() -> None:
    table = FilesData(kind="files", train=FileSet(table="t.tsv"))
    pair = FilesData(kind="files", train=FileSet(source="x", target="y"))
    assert changed(table, pair) == ["data.train.source", "data.train.target", "data.train.table"]
