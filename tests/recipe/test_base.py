"""Recipes on top of others: what is merged, what is replaced, and which file a fault comes from."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from s2s.errors import RecipeError
from s2s.recipe.load import (
    dump_recipe,
    load_draft,
    load_recipe,
    recipe_schema,
    shipped_recipes,
)
from s2s.recipe.recipe import Recipe
from s2s.recipe.said import dump_said
from s2s_cli.main import run as command_line

COMMON = """\
task: translation
name: common
data:
  kind: files
  train: {source: a.de, target: a.en}
tokenizer: {kind: unigram, vocabulary: 4000}
model:
  decoder: {kind: luong, width: 96}
  dropout: {embedding: 0.1, decoder: 0.4}
train: {schedule: {kind: cosine, warmup: 50}}
metrics: [bleu, chrf]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the current one, with a recipe beside and the others below it."""
    monkeypatch.chdir(tmp_path)
    Path("common.yaml").write_text(COMMON)
    Path("sub").mkdir()
    return tmp_path


def load(text: str, *overrides: str, base: str = "../common.yaml") -> Recipe:
    Path("sub/own.yaml").write_text(f"base: {base}\n{text}")
    return load_recipe(Path("sub/own.yaml"), overrides)


def faults(text: str, *overrides: str, base: str = "../common.yaml") -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(text, *overrides, base=base)
    return list(caught.value.faults)


def by_hand(text: str) -> Recipe:
    """The recipe that is written out without a base."""
    Path("sub/own.yaml").write_text(text)
    return load_recipe(Path("sub/own.yaml"))


SIDES = "{source: a.de, target: a.en}"

MERGED = [
    ("", COMMON),
    ("seed: 7", COMMON + "seed: 7"),
    ("data: {filters: {max_length: 9}}",
     COMMON.replace("files\n", "files\n  filters: {max_length: 9}\n")),
    ("model: {decoder: {width: 8}}", COMMON.replace("96", "8")),
    ("model: {decoder: {kind: luong, width: 8}}", COMMON.replace("96", "8")),
    # another kind has none of the other's fields
    ("model: {decoder: {kind: bahdanau}}", COMMON.replace("luong, width: 96", "bahdanau")),
    ("train: {schedule: {kind: inverse_sqrt}}",
     COMMON.replace("cosine, warmup: 50", "inverse_sqrt")),
    ("tokenizer: {kind: bpe}", COMMON.replace("unigram, vocabulary: 4000", "bpe")),
    ("data: {kind: generated, corpus: dates}",
     COMMON.replace("kind: files", "kind: generated").replace(f"train: {SIDES}", "corpus: dates")),
    # lists are replaced, null is a value
    ("metrics: [chrf]\ntrain: {best: chrf}",
     COMMON.replace("[bleu, chrf]", "[chrf]").replace("{schedule", "{best: chrf, schedule")),
    ("data: {train: {source: null, target: null, table: a.tsv}}",
     COMMON.replace(SIDES, "{table: a.tsv}")),
    ("data: {train: {source: [b.de, c.de], target: [b.en, c.en]}}",
     COMMON.replace(SIDES, "{source: [b.de, c.de], target: [b.en, c.en]}")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "whole"), MERGED)
def test_a_recipe_and_its_base_are_the_recipe_written_out(text: str, whole: str) -> None:
    assert load(text) == by_hand(whole.replace("name: common\n", ""))


def test_the_name_is_that_of_the_file_and_never_the_bases() -> None:
    assert load("").name == "own"
    assert load("name: mine").name == "mine"
    assert load("", "name=other").name == "other"


def test_a_base_may_have_a_base_and_the_nearest_counts() -> None:
    Path("sub/deep").mkdir()
    Path("sub/deep/middle.yaml").write_text(
        "base: ../../common.yaml\nseed: 5\nmodel: {decoder: {width: 17}}\n"
        "metrics: [chrf]\ntrain: {best: loss}\n"
    )
    found = load("model: {decoder: {layers: 3}}\nseed: 6", base="deep/middle.yaml")
    assert (found.seed, found.metrics, found.train.best) == (6, ("chrf",), "loss")
    decoder = found.model.decoder
    assert (decoder.kind, decoder.width, decoder.layers) == ("luong", 17, 3)
    assert found.model.dropout.decoder == 0.4


def test_overrides_are_on_top() -> None:
    found = load("model: {decoder: {width: 8}}", "model.decoder.width=5", "model.dropout.decoder=0")
    assert (found.model.decoder.width, found.model.dropout.decoder) == (5, 0.0)
    assert found.model.dropout.embedding == 0.1


def test_a_base_need_not_be_complete_and_null_is_none() -> None:
    Path("part.yaml").write_text("model: {decoder: {kind: stacked}}")
    whole = "task: translation\ndata: {kind: generated, corpus: dates}"
    assert load(whole, base="../part.yaml").model.decoder.kind == "stacked"
    assert load(whole, base="null").model.decoder.kind == by_hand(whole).model.decoder.kind


def test_absolute_paths_links_and_other_folders(folder: Path) -> None:
    assert load("", base=str(folder / "common.yaml")) == load("")
    Path("elsewhere").mkdir()
    Path("elsewhere/link.yaml").symlink_to(folder / "common.yaml")
    assert load("", base="../elsewhere/link.yaml") == load("")
    Path("linked").symlink_to(folder / "sub")
    assert load_recipe(Path("linked/own.yaml")) == load("")


FAULTS = [
    # in the recipe, in its base, in both: the places of both files
    ("sede: 2", {}, ["sub/own.yaml:2: sede: unknown key (did you mean 'seed'?)"]),
    ("", {"96": "0"}, ["common.yaml:8: model.decoder.width: expected at least 1, found 0"]),
    ("", {"luong": "lung"},
     ["common.yaml:8: model.decoder.kind: expected one of 'luong', 'bahdanau', 'stacked', "
      "'conditional', 'plain', 'classifier', 'tagger', found 'lung' (did you mean 'luong'?)"]),
    ("seed: x", {"96": "0"},
     ["common.yaml:8: model.decoder.width: expected at least 1, found 0",
      "sub/own.yaml:2: seed: expected a whole number, found 'x' (text)"]),
    # replaced, so no fault
    ("model: {decoder: {width: 7}}", {"96": "0"}, []),
    ("model: {decoder: {kind: bahdanau}}", {"width: 96": "wdth: 96"}, []),
    # of the merge alone
    ("data: {train: {table: a.tsv}}", {},
     ["sub/own.yaml:2: data.train: 'table' excludes 'source' and 'target'; give one or the other "
      "(source: common.yaml:5, target: common.yaml:5)"]),
    ("\ntrain: {best: cer}", {},
     ["sub/own.yaml:3: train.best 'cer' is not among the values of the metrics, bleu, chrf; "
      "'loss' is always available (metrics: common.yaml:11)"]),
    ("metrics: [chrf]", {"\ntrain: {": "\ntrain: {best: bleu, "},
     ["common.yaml:10: train.best 'bleu' is not among the values of the metrics, chrf; 'loss' is "
      "always available (metrics: sub/own.yaml:2)"]),
    # keys of the YAML itself
    ("seed: 1\nseed: 2", {"metrics:": "task: captioning\nmetrics:"},
     ["common.yaml:11: task: duplicate key (first on line 1)",
      "sub/own.yaml:3: seed: duplicate key (first on line 2)"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "damage", "expected"), FAULTS)
def test_faults_name_the_file_and_the_line(
    text: str, damage: dict[str, str], expected: list[str]
) -> None:
    common = COMMON
    for before, after in damage.items():
        common = common.replace(before, after)
    Path("common.yaml").write_text(common)
    if not expected:
        load(text)
        return
    assert faults(text) == expected


def test_a_base_that_is_no_yaml_hides_all_other_faults() -> None:
    Path("common.yaml").write_text(COMMON.replace("tokenizer: {", "tokenizer: {{"))
    (found,) = faults("sede: 1")
    assert found.startswith("common.yaml:7: not valid YAML: ")


def test_bases_that_cannot_be_read() -> None:
    place = "sub/own.yaml:1: base:"
    assert faults("", base="none.yaml") == [
        f"{place} sub/none.yaml: no such file (relative to this recipe)"
    ]
    assert faults("sede: 1", base="..") == [
        f"{place} .: expected a recipe file, found a folder or device"
    ]
    one_file = "expected the name of one recipe file, found"
    assert faults("", base="[a.yaml]") == [
        f"{place} {one_file} a list; a base may itself have a base"
    ]
    assert faults("", base="''") == [f"{place} {one_file} empty text"]
    assert faults("", base="{a: b}") == [f"{place} {one_file} a section"]
    assert faults("", base="3") == [f"{place} {one_file} 3"]
    assert faults("", "base=x.yaml") == ["--set base: a recipe names its base in its file alone"]
    assert faults("model: {base: x}")[0].startswith("sub/own.yaml:2: model.base: unknown key")


def test_circles() -> None:
    circle = "recipes build on each other in a circle:"
    assert faults("", base="own.yaml") == [
        f"sub/own.yaml:1: base: {circle} sub/own.yaml → sub/own.yaml"
    ]
    Path("sub/b.yaml").write_text("seed: 2\nbase: ../c.yaml")
    Path("c.yaml").write_text("base: sub/./b.yaml")
    assert faults("", base="b.yaml") == [
        f"c.yaml:1: base: {circle} sub/own.yaml → sub/b.yaml → c.yaml → sub/b.yaml"
    ]


def test_old_keys_of_a_base_and_of_a_recipe_meet() -> None:
    """A recipe with the new name replaces what its base says under the old one."""
    Path("old.yaml").write_text("model: {features: [{width: 5}]}")
    Path("sub/own.yaml").write_text(
        "base: ../old.yaml\ntask: captioning\n"
        "data: {kind: dataset, dataset: x, columns: {source: null}, "
        "image_features: [{path: f.npy, column: i}]}\n"
        "model: {image_features: [{width: 6}]}\n"
    )
    assert load_recipe(Path("sub/own.yaml")).model.image_features[0].width == 6


def test_the_resolved_recipe_is_one_recipe_without_a_base() -> None:
    recipe = load("model: {decoder: {width: 8}}\nmetrics: [chrf]\ntrain: {best: chrf}", "seed=9")
    assert "base" not in dump_recipe(recipe)
    draft = load_draft(Path("sub/own.yaml"), ["seed=9"])
    text = dump_said(draft)
    lines = {line.strip() for line in text.splitlines()}
    assert {
        "kind: files # common.yaml:4",
        "width: 8 # sub/own.yaml:2",
        "metrics: # sub/own.yaml:3",
        "best: chrf # sub/own.yaml:4",
        "seed: 9 # --set seed",
    } <= lines
    Path("sub/own.yaml").write_text(text)
    again = load_draft(Path("sub/own.yaml"))
    assert (again.recipe, again.data) == (recipe, draft.data)
    plain = dump_said(again)
    assert "#" not in plain
    Path("sub/own.yaml").write_text(plain)
    assert load_draft(Path("sub/own.yaml")).data == draft.data


def test_check_prints_it(capfd: pytest.CaptureFixture[str]) -> None:
    load("seed: 4")
    for name in ("a.de", "a.en"):
        Path(name).write_text("x\n")
    assert command_line(["check", "sub/own.yaml", "--print", "--set", "model.tied=all"]) == 0
    out, err = capfd.readouterr()
    assert err == (
        "s2s: sub/own.yaml: ok (translation, data files, tokenizer unigram, decoder luong, "
        "run own)\n"
    )
    Path("printed.yaml").write_text(out)
    assert command_line(["check", "sub/own.yaml", "--print", "--json"]) == 2
    printed, given = (
        load_draft(Path("printed.yaml")),
        load_draft(Path("sub/own.yaml"), ["model.tied=all"]),
    )
    assert printed.data == given.data


@pytest.mark.parametrize("shipped", shipped_recipes(), ids=lambda shipped: shipped.name)
def test_a_shipped_recipe_is_a_base(shipped: Any) -> None:
    assert load("", f"name={shipped.name}", base=str(shipped.path)) == load_recipe(shipped.path)


def plain(text: str) -> Any:
    from ruamel.yaml import YAML

    return json.loads(json.dumps(YAML(typ="safe", pure=True).load(text)))


def test_the_schema_allows_parts_where_there_is_a_base_and_only_there() -> None:
    validator = Draft202012Validator(recipe_schema())
    Draft202012Validator.check_schema(recipe_schema())
    assert validator.is_valid(plain(COMMON))
    parts = [text for text, _ in MERGED]
    for text in parts:
        assert validator.is_valid({"base": "c.yaml", **(plain(text) or {})}), text
    for text in ["", "model: {decoder: {width: 8}}", "data: {train: {source: a, target: b}}"]:
        assert not validator.is_valid(plain(text) or {}), text
        assert not validator.is_valid({"base": None, **(plain(text) or {})}), text
    wrong = (
        "sede: 1",
        "seed: x",
        "model: {decoder: {widht: 8}}",
        "metrics: []",
        "model: {tied: x}",
    )
    for text, base in product(wrong, ({}, {"base": "c.yaml"})):
        assert not validator.is_valid({**base, **plain(text)}), text
    for shipped in shipped_recipes():
        whole = plain(shipped.path.read_text())
        assert validator.is_valid(whole), shipped.name
