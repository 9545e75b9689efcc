"""Recipes with features: what can be asked for, and what is refused in one line."""

from pathlib import Path
from typing import Any

import pytest

from s2s.errors import RecipeError
from s2s.recipe.image_features import ImageFeatureEncoder
from s2s.recipe.load import dump_recipe, load_recipe
from s2s.recipe.model import Model
from s2s.recipe.recipe import Recipe
from tests.captions import RECIPE


def load(folder: Path, *overrides: str, text: str = RECIPE) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return load_recipe(path, overrides)


WITH_TEXT = RECIPE.replace("source: null", "source: question").replace(
    "image_features: [{width: 24, dropout: 0}]", "encoder: {width: 12}"
)


@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        (
            ["data.image_features=[]", "task=translation"],
            "data.columns.source: null leaves no source; name its column",
        ),
        (
            ["data.image_features=[]", "data.columns.source=question"],
            "task 'captioning' needs data.image_features",
        ),
        (
            ["tokenizer={kind: separate, source: {kind: word}, target: {kind: word}}"],
            "tokenizer 'separate' has a source tokenizer, which has no effect without source",
        ),
        (["model.tied=all"], "model.tied 'all' ties source embeddings, and there are none"),
        (["model.copy=pointer"], "model.copy 'pointer' has no words to copy without source text"),
        (["data.truncate.source=5"], "data.truncate.source has no effect without source"),
        (["search.shortlist=4"], "search.shortlist needs source tokens, and there are none"),
        (["data.tag=<2en>"], "data.tag has no effect without source"),
        (
            [
                "data.image_features=[{path: a.npy}, {path: b.npy}]",
                "model.image_features=[{}, {}, {}]",
            ],
            "model.image_features: expected 1 or 2 sections, one for each of data.image_features, "
            "found 3",
        ),
        (
            [
                "data.image_features=[{path: a.npy}, {path: b.npy}]",
                "model.image_features=[{width: 8}, {width: 9}]",
            ],
            "model.image_features: a width of 9 beside the first of 8; all that is attended to "
            "together",
        ),
        (
            ["model.image_features=[{width: 7, layers: 1}]"],
            "both directions of an LSTM share an even",
        ),
        (["model.attention={kind: none}", "model.context_gate=true"], "context_gate needs"),
        (
            ["model.attention={kind: none}", "train.doubly_stochastic=1"],
            "train.doubly_stochastic needs a model with attention",
        ),
        (["data.image_features=[{path: grid.npy, max_missing: 2}]"], "expected at most 1, found 2"),
        (["data.image_features=[{file: grid.npy}]"], "missing key"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, overrides: list[str], what: str) -> None:
    with pytest.raises(RecipeError) as found:
        load(tmp_path, *overrides)
    assert any(what in line for line in str(found.value).splitlines()), str(found.value)


@pytest.mark.parametrize(
    ("overrides", "what"),
    [
        (["model.image_features=[{width: 8}]"], "a width of 8 beside a text's states of 24"),
        (
            ["data.image_features=[]", "task=translation", "model.image_features=[{}]"],
            "model.image_features has no effect: data.image_features names no files",
        ),
    ],
)
def test_what_cannot_be_beside_text(tmp_path: Path, overrides: list[str], what: str) -> None:
    with pytest.raises(RecipeError, match=what):
        load(tmp_path, *overrides, text=WITH_TEXT)


def test_corpora_that_are_mixed_have_the_same_sources(tmp_path: Path) -> None:
    part = (
        ""
        "{kind: files, train: {table: a.jsonl}, columns: {source: %s}, "
        "image_features: [{path: %s}]}"
    )
    start = "tokenizer: {kind: word}\ntask: captioning\ndata: {kind: several, corpora: [%s, %s]}\n"

    def two(*second: str) -> str:
        return start % (part % ("null", "a.npy"), part % second)

    assert load(tmp_path, text=two("null", "a.npy")).data.has_validation is False
    for second, what in (
        (
            ("null", "b.npy"),
            r"data.corpora\[1\].image_features: expected the files of corpora\[0\]",
        ),
        (("text", "a.npy"), r"data.corpora\[1\].columns.source: expected source text in all"),
    ):
        with pytest.raises(RecipeError, match=what):
            load(tmp_path, text=two(*second))


@pytest.mark.parametrize("text", [RECIPE, WITH_TEXT], ids=["images", "text"])
def test_a_recipe_is_written_and_read_back_equal(tmp_path: Path, text: str) -> None:
    recipe = load(tmp_path, text=text)
    assert load(tmp_path, text=dump_recipe(recipe)) == recipe


def test_states_are_as_wide_as_those_of_text_by_default() -> None:
    def width(has_text: bool, **fields: Any) -> int:
        return Model(**fields).state_width(has_text)

    assert width(True) == width(False) == 512
    assert width(False, image_features=(ImageFeatureEncoder(width=8),)) == 8
    assert (
        width(True, image_features=(ImageFeatureEncoder(width=8),)) == 512
    )  # refused by the recipe
    several = Model(image_features=(ImageFeatureEncoder(), ImageFeatureEncoder(dropout=0.5)))
    assert several.image_feature_encoder(1).dropout == 0.5
    assert Model(image_features=several.image_features[1:]).image_feature_encoder(3).dropout == 0.5
