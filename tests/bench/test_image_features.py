"""`s2s bench` of models with image features: counted operations, random features, a run's own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from s2s import pipeline
from s2s.bench import matmul as products
from s2s.bench import random_features as drawing
from s2s.bench.decoding import Decoding
from s2s.bench.flops import Operations
from s2s.bench.measure import Amounts, Plan, measure
from s2s.bench.random_features import ASSUMED_GRID, ASSUMED_VECTOR, random_features
from s2s.bench.report import FeatureSizes
from s2s.bench.startup import Program
from s2s.bench.tables import tables
from s2s.bench.workload import Workload, random_workload, read_lengths, run_workload
from s2s.errors import DataError
from s2s.nn.batch import Regions
from s2s.nn.encoders.regions import FeatureShape
from s2s.nn.model import Seq2Seq
from s2s.pipeline.evaluation import open_texts
from s2s.recipe.image_features import ImageFeatureEncoder
from s2s.recipe.load import load_recipe, shipped_recipes
from s2s.recipe.model import (
    AdditiveAttention,
    BahdanauDecoder,
    Encoder,
    GeneralAttention,
    LuongDecoder,
    Model,
    NoAttention,
    StackedDecoder,
)
from s2s.recipe.recipe import Recipe
from s2s.run.directory import Run
from tests.captions import REGIONS, WIDTH, write_captions

CPU = torch.device("cpu")
PLAN = Plan(
    only=("training", "decoding"),
    repeats=1,
    device="cpu",
    amounts=Amounts(updates=2, sentences=4, pairs=60, square=24),
    program=Program(start=(), commands=()),
)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(drawing, "IMAGES", 6)
    monkeypatch.setattr("s2s.bench.workload.IMAGES", 6)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """A recipe of captions, in a folder with its data."""
    write_captions(tmp_path)
    monkeypatch.chdir(tmp_path)
    return load_recipe(Path("recipe.yaml"), ["train.epochs=1"])


GRIDS = {
    "grid": Model(
        image_features=(ImageFeatureEncoder(width=12),),
        attention=AdditiveAttention(kind="additive", width=6),
        decoder=BahdanauDecoder(kind="bahdanau", width=11),
    ),
    "vector": Model(
        image_features=(ImageFeatureEncoder(width=12),),
        attention=NoAttention(kind="none"),
        decoder=LuongDecoder(kind="luong", width=11),
    ),
    "LSTM along rows and columns": Model(
        image_features=(ImageFeatureEncoder(width=12, layers=2, rows=3),),
        attention=GeneralAttention(kind="general"),
        decoder=StackedDecoder(kind="stacked", width=11),
        context_gate=True,
    ),
}


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("has_text", [False, True])
def test_operations_are_those_that_pytorch_counts(name: str, has_text: bool) -> None:
    """With two files of features and a text, or with one file alone."""
    recipe = replace(GRIDS[name], encoder=Encoder(width=6))
    regions, widths = ((9, 6), (8, 5)) if has_text else ((9,), (8,))
    shapes = [FeatureShape(width, count) for width, count in zip(widths, regions, strict=True)]
    model = Seq2Seq(recipe, 17 if has_text else None, 23, features=shapes).eval()
    pairs, source, target = 3, 7 * has_text, 4
    features = [
        Regions(torch.rand(pairs, count, width), torch.full((pairs,), count))
        for width, count in shapes
    ]
    ids_BS, ids_BT = torch.full((pairs, source), 5), torch.full((pairs, target), 6)
    lengths_B = torch.full((pairs,), source)
    with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
        model(ids_BS, lengths_B, ids_BT, features)
    counted = Operations.of(model).forward(
        np.full(pairs, source), np.tile(regions, (pairs, 1)), np.full(pairs, target)
    )
    assert counted == counter.get_total_flops()


def test_every_shipped_recipe_of_features_is_drawn_without_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = {}
    for shipped in shipped_recipes():
        recipe = load_recipe(shipped.path)
        lines = random_features(recipe)
        if lines is not None:
            found[shipped.name] = [(one.width, one.max_regions) for one in lines.stores]
    assert found == {
        "flickr8k-grid": [ASSUMED_GRID],
        "flickr8k-vector": [ASSUMED_VECTOR],
        "easy-vqa": [(ASSUMED_GRID.width, 64)],
    }


def test_files_that_are_there_have_the_shape(recipe: Recipe) -> None:
    lines = random_features(recipe)
    assert lines is not None
    (store,) = lines.stores
    assert (store.width, store.max_regions, len(store)) == (WIDTH, REGIONS, 6)
    again = random_features(recipe)
    assert again is not None
    rows = np.arange(6)
    assert (store.gather(rows).values_BRD == again.stores[0].gather(rows).values_BRD).all()


def test_grids_of_other_rows_are_reported(recipe: Recipe) -> None:
    model = replace(recipe.model, image_features=(ImageFeatureEncoder(width=24, layers=1, rows=3),))
    with pytest.raises(DataError, match=r"^grid.npy: expected grids of 3 rows .* found 5$"):
        random_workload(replace(recipe, model=model), CPU)


def test_features_are_trained_on_and_searched(recipe: Recipe) -> None:
    found = measure(recipe, PLAN, lambda stage, done, total: None)
    assert found.is_complete
    assert found.training is not None
    assert found.sizes.features == [FeatureSizes(width=WIDTH, regions=REGIONS)]
    assert (found.sizes.source_vocabulary, found.sizes.source_length) == (0, 0)
    assert {one.sentences for one in found.decoding} == {4}
    (measured,) = (table for table in tables(found) if table.title == "Measured")
    assert ("features", f"{REGIONS} regions x {WIDTH}") in measured.rows


def test_random_weights_write_captions_of_the_mean_length(recipe: Recipe) -> None:
    workload = random_workload(recipe, CPU)
    decoding = Decoding(workload, 3, ["fp32"])
    for turn in decoding.turns:
        turn.run()
    length = round(float(workload.corpus.target_lengths.mean())) + 1
    assert {work.tokens for work in decoding.work.values()} == {3 * length}


def own_workload(recipe: Recipe, runs: Path) -> Workload:
    pipeline.train(recipe, runs=runs, device="cpu")
    return run_workload(Run(runs / "shapes"), CPU)


def test_a_run_is_measured_on_its_own_features(recipe: Recipe, tmp_path: Path) -> None:
    workload = own_workload(recipe, tmp_path / "runs")
    decoding = Decoding(workload, 5, ["fp32"])
    for turn in decoding.turns:
        turn.run()
    translator = pipeline.load_translator(workload.run, device="cpu")  # type: ignore[arg-type]
    texts, _ = open_texts(workload.run, "validation")  # type: ignore[arg-type]
    greedy = replace(translator, search=decoding.setups[0].settings)
    words = sum(len(text.split()) + 1 for text in greedy(texts[:5]))
    assert decoding.work[decoding.setups[0].key].tokens == words
    assert workload.line == texts[0]
    sources_N, regions_NF = read_lengths(workload.corpus, np.arange(3))
    assert (sources_N == 0).all() and (regions_NF == REGIONS).all() and regions_NF.shape == (3, 1)


def test_the_first_line_has_text_and_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_captions(tmp_path)
    monkeypatch.chdir(tmp_path)
    asked = ["train.epochs=1", "data.columns={source: question, target: answer}"]
    recipe = load_recipe(Path("recipe.yaml"), [*asked, "model.encoder.width=12"])
    workload = own_workload(recipe, tmp_path / "runs")
    texts, _ = open_texts(workload.run, "validation")  # type: ignore[arg-type]
    assert workload.line.split("\t")[1:] == texts[0].split("\t")[1:]
    assert pipeline.load_translator(workload.run, device="cpu")([workload.line])[0]  # type: ignore[arg-type]
