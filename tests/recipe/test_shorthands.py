"""A run in place of `train.init_from`: the same section, wherever it is said."""

from pathlib import Path

import jsonschema
import pytest

from s2s.errors import RecipeError
from s2s.recipe.load import load_draft, load_recipe, recipe_schema
from s2s.recipe.recipe import Recipe
from s2s.recipe.transfer import InitFrom

BASE = "task: translation\ndata: {kind: generated, corpus: dates}\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def said(text: str, *overrides: str, name: str = "recipe.yaml") -> Recipe:
    Path(name).write_text(text)
    return load_recipe(name, overrides)


def test_a_text_is_the_run() -> None:
    short = said(BASE + "train: {init_from: toy}\n")
    assert short == said(BASE + "train: {init_from: {run: toy}}\n")
    assert short == said(BASE, "train.init_from=toy")
    assert load_draft(overrides=["train.init_from=toy"]).says(("train", "init_from", "run"))


def test_a_text_is_the_teacher() -> None:
    short = said(BASE + "train: {distill: toy}\n")
    assert short == said(BASE + "train: {distill: {teacher: toy}}\n")
    assert short == said(BASE, "train.distill=toy")
    document = {"task": "translation", "data": {"kind": "generated", "corpus": "dates"}}
    jsonschema.validate({**document, "train": {"distill": "toy"}}, recipe_schema())


def test_what_builds_on_it_changes_its_fields() -> None:
    expected = InitFrom(run="toy", checkpoint="last", parts=("encoder",))
    said(BASE + "train: {init_from: toy}\n", name="below.yaml")
    text = "base: below.yaml\ntrain: {init_from: {checkpoint: last, parts: [encoder]}}\n"
    assert said(text).train.init_from == expected
    overrides = ("train.init_from=toy", "train.init_from.checkpoint=last")
    assert said(BASE, *overrides, "train.init_from.parts=[encoder]").train.init_from == expected
    text = "base: below.yaml\ntrain: {init_from: other}\n"
    assert said(text).train.init_from == InitFrom(run="other")


def test_faults_have_its_line() -> None:
    with pytest.raises(RecipeError) as caught:
        said(BASE + "train:\n  init_from: ''\n")
    assert caught.value.faults == (
        "recipe.yaml:4: train.init_from.run: expected some text, found empty text",
    )


def test_the_schema_takes_both() -> None:
    data = {"task": "translation", "data": {"kind": "generated", "corpus": "dates"}}
    for value, is_valid in (("toy", True), ({"run": "toy"}, True), ("", False), (3, False)):
        recipe = {**data, "train": {"init_from": value}}
        check = jsonschema.Draft202012Validator(recipe_schema())
        assert check.is_valid(recipe) == is_valid
