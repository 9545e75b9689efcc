"""Shipped recipes: each says how it is run and what it reached, and each runs on its data.

The data are looked for in `../shared/data`, a folder for each data set laid out like one of the
hub; where they are missing, a recipe is only checked.
"""

import re
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest

from s2s import pipeline
from s2s.recipe.data import DatasetData
from s2s.recipe.image_features import ImageFeatureFile
from s2s.recipe.label_rules import DECODERS
from s2s.recipe.load import ShippedRecipe, load_draft, load_recipe, shipped_recipes
from s2s.recipe.metrics import VALUES
from s2s.recipe.recipe import Recipe
from s2s.recipe.search import GreedySearch
from s2s.run.directory import Run
from s2s.tasks.defaults.choice import says_everything
from s2s_cli.main import run as command_line
from tests.places import CORPORA

SMALL = (
    "train.max_updates=2",
    "train.validate_every=2",
    "train.precision=fp32",
    "model.embeddings=24",
    "model.encoder.width=20",
    "model.decoder.width=28",
)
"""Enough to see every part at work."""

SHIPPED = shipped_recipes()


def name_of(shipped: ShippedRecipe) -> str:
    return shipped.name


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs and what the data sets library caches stay in a folder of the test's own."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("shipped", SHIPPED, ids=name_of)
def test_a_recipe_says_what_it_takes_and_what_it_reached(
    shipped: ShippedRecipe, capfd: pytest.CaptureFixture[str]
) -> None:
    text = shipped.path.read_text(encoding="utf-8")
    opening = text[: text.index("\ntask:")]
    assert opening.startswith("# ")
    for what in (
        rf"s2s (recipes copy {shipped.name}|train {shipped.name}\.yaml)",
        r"\d minutes",
        r"(Intel|AMD)",
        r"\d\.\d",  # a score ...
        r"nrefs:\d\|(case|unit|match|tok):",  # ... with its signature
    ):
        assert re.search(what, opening), what
    command_line(["check", "--no-data", str(shipped.path)])
    assert capfd.readouterr().out.startswith(f"{shipped.path}: ok (")


@pytest.mark.parametrize("shipped", SHIPPED, ids=name_of)
def test_a_recipe_runs_on_its_data(
    shipped: ShippedRecipe, capfd: pytest.CaptureFixture[str]
) -> None:
    recipe = small(shipped)
    pipeline.train(recipe)
    assert "longer than an output may be" not in capfd.readouterr().err
    run = Run.open(Path("runs") / str(recipe.name))
    found = pipeline.evaluate(run=run, search=GreedySearch(kind="greedy", max_offset=2))
    asked = [figure for metric in recipe.metrics for figure in VALUES[metric]]
    assert [score.name for score in found.scores.values] == asked
    if recipe.task == "lm":  # it has no outputs
        assert found.saved is None
    else:
        assert found.saved is not None and len(found.saved.read_text().splitlines()) >= 10


def drawn_features(files: tuple[ImageFeatureFile, ...], data: Path) -> str:
    """An override that puts small files of random features in place of a recipe's."""
    found = []
    for number, file in enumerate(files):
        ids = data / Path(file.ids or "").name
        rows = len(ids.read_text().splitlines())
        features = np.random.default_rng(number).normal(size=(rows, 3, 8)).astype(np.float16)
        np.save(f"features{number}.npy", features)
        found.append(f"{{path: features{number}.npy, ids: {ids}, column: {file.column}}}")
    return f"data.image_features=[{', '.join(found)}]"


def made_by_head(shipped: ShippedRecipe, folder: Path) -> bool:
    """Run the lines of Python in a recipe's head, if there are any, on a little of their data."""
    lines = re.findall(r"^#     (.*)$", shipped.path.read_text(encoding="utf-8"), re.MULTILINE)
    program = [line for line in lines if not line.startswith(("s2s ", "echo ", "printf "))]
    if "from pathlib import Path" not in program:
        return False
    named = re.search(r'"(\w+)/\{split\}', "\n".join(program))
    assert named is not None
    raw, own = CORPORA / named[1], folder / named[1]
    if not raw.is_dir():
        pytest.skip(f"no data set at {raw}")
    own.mkdir()
    for split, count in (("train", 60), ("test", 3)):
        pixels = np.load(raw / f"{split}_pixels.npz")["images"][:count]
        np.savez(own / f"{split}_pixels.npz", images=pixels)
        table = pq.read_table(raw / f"{split}.parquet", filters=[("image", "<", count)])
        pq.write_table(table, own / f"{split}.parquet")
    exec("\n".join(program), {})
    return True


def small(shipped: ShippedRecipe) -> Recipe:
    """The recipe with a little data and two updates; skips where the data are not there."""
    recipe = load_recipe(shipped.path)
    overrides = list(SMALL)
    if isinstance(recipe.data, DatasetData):
        name = Path(recipe.data.dataset).name
        is_made = made_by_head(shipped, Path())
        data = Path(name) if is_made else CORPORA / name
        if not data.is_dir():
            pytest.skip(f"no data set at {data}")
        splits = recipe.data.splits
        overrides += [f"data.dataset={data}", f"data.splits.train={splits.train}[:250]"]
        if splits.validation is not None:
            overrides.append(f"data.splits.validation={splits.validation}[:12]")
        overrides.append(f"data.splits.test={splits.test}[:10]")
        if recipe.data.image_features and not is_made:
            overrides.append(drawn_features(recipe.data.image_features, data))
    else:
        overrides += ["data.pairs=250", "data.held_out=12"]
    if recipe.task == "lm":
        overrides.remove("model.encoder.width=20")
    if recipe.task in DECODERS:
        overrides.remove("model.decoder.width=28")
        assert recipe.tokenizer.kind == "separate"
        if recipe.tokenizer.source.kind == "unigram":  # as the recipe says it: the task adds labels
            overrides.append("tokenizer.vocabulary=200")
    tokenizer = recipe.tokenizer
    if tokenizer.kind in ("unigram", "bpe"):
        overrides.append("tokenizer.vocabulary=200")
    if tokenizer.kind == "separate" and tokenizer.target.kind in ("unigram", "bpe"):
        overrides.append("tokenizer.target.vocabulary=100")
    return load_recipe(shipped.path, overrides)


@pytest.mark.parametrize("shipped", SHIPPED, ids=name_of)
def test_nothing_is_chosen_for_a_shipped_recipe(shipped: ShippedRecipe) -> None:
    """Its scores are those of what it says, whatever defaults fit the data."""
    assert says_everything(load_draft(shipped.path))
