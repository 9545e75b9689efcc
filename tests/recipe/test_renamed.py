"""Recipes with the keys of older versions: read as before, with a line for each old key."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s2s.errors import RecipeError
from s2s.recipe import renamed
from s2s.recipe.load import dump_recipe, load_recipe
from s2s.recipe.schema import all_paths

OLD = """\
task: captioning
data:
  kind: files
  train: {table: train.tsv}
  columns: {source: text, features: tags}
  features:
    - {path: a.npy}
tokenizer:
  kind: separate
  source: {kind: word}
  target: {kind: word}
  features: {kind: word}
model:
  features: [{dropout: 0}]
"""
NEW = (
    OLD.replace(", features", ", source_features")
    .replace("\n  features: {kind", "\n  source_features: {kind")
    .replace("\n  features:", "\n  image_features:")
)
LINES = {
    5: "data.columns.features -> data.columns.source_features",
    6: "data.features -> data.image_features",
    12: "tokenizer.features -> tokenizer.source_features",
    14: "model.features -> model.image_features",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder, in a process that has reported nothing."""
    monkeypatch.chdir(tmp_path)
    renamed.report_once.cache_clear()
    yield
    renamed.report_once.cache_clear()


def load(text: str, *overrides: str) -> Any:
    Path("r.yaml").write_text(text)
    return load_recipe(Path("r.yaml"), overrides)


def faults(text: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(text, *overrides)
    return str(caught.value).splitlines()


def test_old_keys_mean_what_they_meant_with_a_line_each(capfd: Any) -> None:
    new = load(NEW)
    assert capfd.readouterr().err == ""
    assert load(OLD) == new
    err = capfd.readouterr().err.splitlines()
    assert sorted(err) == sorted(
        f"s2s: r.yaml:{line}: {what}; the old key is still read" for line, what in LINES.items()
    )
    assert load(OLD) == new
    assert capfd.readouterr().err == ""  # once for a command
    assert "\n  features" not in dump_recipe(new)


def test_old_keys_in_overrides(capfd: Any) -> None:
    new = load(
        NEW, "model.image_features=[{dropout: 0.5}]", "tokenizer.source_features.min_count=2"
    )
    old = ("model.features=[{dropout: 0.5}]", "tokenizer.features.min_count=2")
    assert load(NEW, *old) == new
    assert capfd.readouterr().err.splitlines() == [
        "s2s: --set model.features -> model.image_features; the old key is still read",
        "s2s: --set tokenizer.features.min_count -> tokenizer.source_features.min_count; the old "
        "key is still read",
    ]
    section = "model={features: [{dropout: 0.5}]}"
    assert load(NEW, section).model == new.model
    assert "--set model: model.features -> model.image_features" in capfd.readouterr().err


@pytest.mark.parametrize("text", [OLD, NEW], ids=["old", "new"])
@pytest.mark.parametrize("key", ["model.features", "model.image_features"])
def test_an_override_replaces_the_key_under_either_name(text: str, key: str) -> None:
    assert load(text, f"{key}=[{{dropout: 0.3}}]").model.image_features[0].dropout == 0.3


def test_keys_of_several_corpora(capfd: Any) -> None:
    corpus = (
        "{kind: files, train: {table: a.tsv}, columns: {source: null}, features: [{path: a.npy}]}"
    )
    text = (
        "task: captioning\ntokenizer: {kind: word}\n"
        f"data:\n  kind: several\n  corpora:\n    - {corpus}\n    - {corpus}\n"
    )
    recipe = load(text)
    assert [one.image_features[0].path for one in recipe.data.corpora] == ["a.npy", "a.npy"]
    assert "r.yaml:7: data.corpora[1].features -> data.corpora[1].image_features" in (
        capfd.readouterr().err
    )


def test_a_key_without_a_choice_is_renamed_silently(capfd: Any) -> None:
    """The recipe in a run's folder has every default written out."""
    text = "task: translation\ndata: {kind: files, train: {table: t.tsv}, features: []}\n"
    text += "tokenizer: {kind: word}\nmodel: {features: []}\n"
    assert load(text).model.image_features == ()
    assert capfd.readouterr().err == ""


def test_both_names_are_one_fault() -> None:
    both = NEW + "  features: [{dropout: 0.1}]\n"
    assert faults(both) == [
        "r.yaml:15: model.features: is the old name of 'model.image_features', which r.yaml:14 "
        "has too; leave one out"
    ]


def test_faults_name_the_line_of_the_old_key() -> None:
    assert faults(OLD.replace("dropout: 0", "dropout: 2")) == [
        "r.yaml:14: model.image_features[0].dropout: expected less than 1, found 2"
    ]


def test_new_keys_exist_and_old_ones_do_not() -> None:
    paths = all_paths()
    for old, new in renamed.RENAMED.items():
        if renamed.ANY not in old:
            assert (*old[:-1], new) in paths and old not in paths
