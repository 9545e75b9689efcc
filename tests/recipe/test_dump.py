"""Recipes as programs write them: dumps, differences, the schema, and those that are shipped."""

import dataclasses
import json
import random

import pytest

from s2s.errors import RecipeError
from s2s.recipe.data import FilesData, FileSet
from s2s.recipe.load import differences, dump_recipe, load_recipe, recipe_schema, shipped_recipes
from s2s.recipe.recipe import Recipe
from s2s.recipe.suggestions import OTHER_NAMES, all_paths
from s2s.recipe.tokenizer import SubwordTokenizer
from s2s.recipe.train import CosineSchedule, InverseSqrtSchedule, Optimizer, Train
from s2s.recipe.yaml import dotted
from tests.recipe.test_load import folder, load

__all__ = ["folder"]

RICH = Recipe(
    task="translation",
    name="r",
    data=FilesData(
        kind="files",
        train=FileSet(source="yes", target="a: b # c"),
        test=FileSet(table=" 1e-3\n\t\x85\u2028 \x07 'x' \"y\" \\ ~ " + "long " * 40),
    ),
    tokenizer=SubwordTokenizer(kind="bpe", character_coverage=0.9995),
    train=Train(optimizer=Optimizer(epsilon=1e-30, learning_rate=1e-5)),
)


@pytest.mark.parametrize("recipe", [RICH, dataclasses.replace(RICH, seed=2**62)])
def test_dump_reads_back_equal(recipe: Recipe) -> None:
    text = dump_recipe(recipe)
    assert load(text) == recipe
    assert "label_smoothing: 0.1" in text  # defaults are written out


def test_differences_are_lines_in_the_recipes_order() -> None:
    new = dataclasses.replace(
        RICH,
        seed=2,
        metrics=("bleu",),
        train=Train(
            optimizer=Optimizer(learning_rate=0.002, epsilon=1e-30),
            schedule=InverseSqrtSchedule(kind="inverse_sqrt"),
            clip_norm=None,
        ),
    )
    assert differences(RICH, RICH) == []
    assert differences(RICH, new) == [
        "seed: 1 -> 2",
        "train.optimizer.learning_rate: 1e-05 -> 0.002",
        "train.schedule.kind: cosine -> inverse_sqrt",
        "train.clip_norm: 1 -> null",
        "metrics: [bleu, chrf] -> [bleu]",
    ]
    assert isinstance(RICH.train.schedule, CosineSchedule)


def test_the_schema_describes_every_field() -> None:
    schema = recipe_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"] == "s2s recipe"
    assert schema["properties"]["seed"]["description"] == "Seed of all random numbers."
    epochs = schema["$defs"]["Train"]["properties"]["epochs"]
    assert (epochs["minimum"], epochs["default"]) == (1, 30)
    json.dumps(schema)


def test_words_of_other_toolkits_lead_to_fields_that_exist() -> None:
    paths = {dotted(path) for path in all_paths()}
    for word, targets in OTHER_NAMES.items():
        assert paths.issuperset(targets), word


@pytest.mark.parametrize("shipped", shipped_recipes(), ids=lambda shipped: shipped.name)
def test_every_shipped_recipe_loads(shipped) -> None:
    assert load_recipe(shipped.path).name == shipped.name
    assert shipped.summary


def test_no_text_makes_a_traceback() -> None:
    """Random damage to a valid recipe ends in a recipe or in faults, never in another exception."""
    source = random.Random(5)
    pieces = [
        "\t",
        "\n",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "&a ",
        "*a",
        "!!",
        "!x ",
        "'",
        '"',
        "<<: ",
    ]
    pieces += [
        "|",
        ">",
        "%",
        "---\n",
        "...\n",
        "\0",
        "\x85",
        "\ud7ff",
        "~",
        "1e9",
        ".inf",
        "\\u",
        "# ",
    ]
    text = dump_recipe(RICH)
    for _ in range(100):
        damaged = text
        for _ in range(source.randint(1, 4)):
            start = source.randrange(len(damaged))
            end = start + source.choice([0, 0, 1, 5, 30])
            damaged = damaged[:start] + source.choice(pieces) + damaged[end:]
        try:
            load(damaged)
        except RecipeError as error:
            assert all("\n" not in fault for fault in error.faults)
