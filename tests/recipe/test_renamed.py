"""Old keys of recipes are still read, and a line names the new ones."""

from pathlib import Path

import pytest

from s2s.errors import RecipeError
from s2s.recipe import load
from s2s.recipe.load import dump_recipe, load_recipe
from s2s.recipe.renamed import RENAMED, current_keys
from s2s.recipe.schema import spot_at

OLD = """task: captioning
data:
  kind: files
  train: {table: train.jsonl}
  columns: {source: text, features: tags, target: caption}
  features: [{path: grid.npy, ids: ids.txt}]
tokenizer: {kind: separate, source: {kind: word}, target: {kind: word}, features: {kind: word}}
model:
  features: [{dropout: 0}]
"""
NEW = (
    OLD.replace("features: tags", "source_features: tags")
    .replace("features: {kind", "source_features: {kind")
    .replace("  features: [", "  image_features: [")
)


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(load, "_report", found.append)
    return found


def recipe_file(folder: Path, text: str) -> Path:
    path = folder / "r.yaml"
    path.write_text(text)
    return path


def test_an_old_recipe_is_the_new_one_and_a_line_names_each_key(
    tmp_path: Path, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "features: " not in NEW.replace("image_features: ", "").replace("source_features: ", "")
    old = load_recipe(recipe_file(Path(), OLD))
    assert sorted(notes) == [
        "r.yaml:5: data.columns.features is now called data.columns.source_features",
        "r.yaml:6: data.features is now called data.image_features",
        "r.yaml:7: tokenizer.features is now called tokenizer.source_features",
        "r.yaml:9: model.features is now called model.image_features",
    ]
    notes.clear()
    assert load_recipe(recipe_file(Path(), NEW)) == old
    assert load_recipe(recipe_file(Path(), dump_recipe(old))) == old
    assert notes == []


def test_an_old_key_of_an_override_is_read_too(tmp_path: Path, notes: list[str]) -> None:
    path = recipe_file(tmp_path, NEW)
    found = load_recipe(path, ["model.features=[{dropout: 0.5}]", "data.features=[{path: b.npy}]"])
    assert found.model.image_features[0].dropout == 0.5
    assert notes == [
        "--set model.features: model.features is now called model.image_features",
        "--set data.features: data.features is now called data.image_features",
    ]
    notes.clear()
    tokenizer = "tokenizer={kind: separate, source: {kind: word}, target: {kind: word}, features: "
    assert load_recipe(path, [tokenizer + "{kind: word}}"]) == load_recipe(path)
    assert notes == ["--set tokenizer: tokenizer.features is now called tokenizer.source_features"]


def test_both_names_in_one_section_are_a_fault_with_its_line(
    tmp_path: Path, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file(Path(), NEW + "  features: [{dropout: 0.5}]\n"))
    assert str(caught.value) == (
        "r.yaml:10: model.features: the old name of 'image_features', which stands here too"
    )


@pytest.mark.parametrize("empty", ["null", "[]"])
def test_an_empty_key_beside_its_other_name_says_nothing(
    tmp_path: Path, notes: list[str], empty: str
) -> None:
    expected = load_recipe(recipe_file(tmp_path, NEW))
    assert load_recipe(recipe_file(tmp_path, NEW + f"  features: {empty}\n")) == expected
    old = OLD + ("  image_features: []\n" if empty == "[]" else "")
    columns = "target: caption, source_features: null}"
    assert load_recipe(recipe_file(tmp_path, old.replace("target: caption}", columns))) == expected


def test_a_fault_below_an_old_key_has_its_line_and_the_new_name(
    tmp_path: Path, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=r"r.yaml:9: model.image_features\[0\].dropout: "):
        load_recipe(recipe_file(Path(), OLD.replace("{dropout: 0}", "{dropout: 7}")))


def test_every_new_name_is_a_key_and_no_old_name_is(notes: list[str]) -> None:
    for section, names in RENAMED.items():
        keys = tuple(part for key in section for part in ((key, 0) if key == "corpora" else (key,)))
        for old, new in names.items():
            assert new in spot_at(keys).names()
            assert old not in spot_at(keys).names()
            assert current_keys((*section, old)) == (*section, new)
