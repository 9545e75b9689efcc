"""`s2s inspect model`: parts sum up to the model, and to the operations that are counted."""

import json
from pathlib import Path

import pytest
import torch

from s2s.bench.flops import Operations
from s2s.bench.model_parts import parts_of, parts_of_draft
from s2s.nn.encoders.regions import FeatureShape
from s2s.nn.model import Seq2Seq
from s2s.recipe.cells import ElementwiseCell, GRUCell
from s2s.recipe.image_features import ImageFeatureEncoder
from s2s.recipe.load import load_draft, shipped_recipes
from s2s.recipe.model import Encoder, LuongDecoder, Model, NoAttention, PlainDecoder
from s2s.run.directory import Run
from s2s.text.tokenizer_pair import load_tokenizers
from tests.bench.test_bench import MODELS
from tests.commands import Call, call, write_example
from tests.tasks.labels.test_label_models import DECODERS
from tests.tasks.labels.test_label_models import build as labels

__all__ = ["call"]

SHAPES = [FeatureShape(9, 4), FeatureShape(8, 1)]
OTHERS = {
    "layers": Model(
        encoder=Encoder(
            width=5, layers=3, residual=True, layer_norm=True, cell=GRUCell(kind="gru")
        ),
        decoder=LuongDecoder(
            kind="luong", width=11, layers=3, cell=ElementwiseCell(kind="sru"), layer_norm=True
        ),
        context_gate=True,
    ),
    "one direction": Model(encoder=Encoder(width=5, bidirectional=False)),
    "tied": Model(encoder=Encoder(width=5), tied="all"),
    "untied": Model(encoder=Encoder(width=5), tied="none"),
    "language model": Model(
        attention=NoAttention(kind="none", context="start"),
        decoder=PlainDecoder(kind="plain", layers=2, width=7),
    ),
}
FEATURES = {
    "grid": ImageFeatureEncoder(width=10, layers=1),
    "set": ImageFeatureEncoder(width=10),
}
CASES = [
    *(
        pytest.param(recipe, (), recipe.decoder.kind != "plain", id=name)
        for name, recipe in {**MODELS, **OTHERS}.items()
    ),
    *(
        pytest.param(
            Model(encoder=Encoder(width=5), image_features=(one,) * len(shapes)),
            tuple(shapes),
            has_text,
            id=f"{len(shapes)} {name}{' and a text' * has_text}",
        )
        for name, one in FEATURES.items()
        for shapes in (SHAPES[:1], SHAPES)
        for has_text in (True, False)
    ),
]


@pytest.mark.parametrize(("recipe", "shapes", "has_text"), CASES)
def test_sums_are_the_models(
    recipe: Model, shapes: tuple[FeatureShape, ...], has_text: bool
) -> None:
    table = torch.arange(17) if recipe.copy == "pointer" else None
    model = Seq2Seq(recipe, 17 if has_text else None, 17, None, table, features=shapes)
    parts, operations = parts_of(model), Operations.of(model)
    assert sum(part.parameters for part in parts) == sum(p.numel() for p in model.parameters())
    assert len({part.name for part in parts}) == len(parts)
    for place in ("sentence", "source", "target", "pair"):
        assert sum(getattr(part, place) for part in parts) == getattr(operations, place), place
    named = {part.name: part for part in parts}
    attention = named["attention"].region if shapes else 0
    assert (
        tuple(
            named[f"image features {place + 1}"].region + attention for place in range(len(shapes))
        )
        == operations.regions
    )
    layers = [part for part in parts if part.name.startswith("decoder, layer")]
    # The first layer of a conditional step is two cells.
    assert len(layers) == recipe.decoder.layers + (recipe.decoder.kind == "conditional")
    for place, part in enumerate(layers):
        layer = model.decoder.layers[place]
        assert part.parameters == sum(p.numel() for p in layer.parameters())
    is_tied = named["output"].is_tied
    assert is_tied == (recipe.tied != "none")
    assert named["output"].parameters == 17 + (0 if is_tied else 17 * recipe.embeddings)


@pytest.mark.parametrize("spelled", [False, True], ids=["words", "characters"])
@pytest.mark.parametrize("name", DECODERS)
def test_models_of_labels_have_parts(name: str, spelled: bool) -> None:
    model = labels(name, spelled=spelled)
    parts = {part.name: part for part in parts_of(model)}
    total = sum(part.parameters for part in parts.values())
    assert total == sum(p.numel() for p in model.parameters())
    assert ("characters" in parts) == spelled
    assert ("pooling" in parts) == (name == "attention")
    assert ("label scores" in parts) == (name == "crf")


@pytest.mark.parametrize("shipped", shipped_recipes(), ids=lambda one: one.name)
def test_every_shipped_recipe_without_its_data(
    shipped, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = parts_of_draft(load_draft(shipped.path), Path("runs"))
    assert found.total.parameters > 10_000
    assert any("assumed" in line for line in found.notes)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def spelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_example()
    return tmp_path


@pytest.mark.usefixtures("one_thread")
def test_the_command(spelled: Path, call: Call) -> None:
    """Of a recipe, then with its vocabularies, then of its run, which is not trained."""
    status, out, err = call("inspect", "model", "--json")
    assert (status, "tokens: those of the recipe, or assumed" in err) == (0, True)
    assumed = json.loads(out)
    assert assumed["source_vocabulary"] == assumed["target_vocabulary"] == 10_000
    assert call.fault("inspect", "model", "spell") == (
        2,
        "spell: no such run, neither as a folder nor in runs",
    )
    call.output("prep", "--json")
    status, out, err = call("inspect", "model", "recipe.yaml", "--json")
    assert err == "s2s: vocabularies are those of runs/spell\n"
    known = json.loads(out)
    tokenizers = load_tokenizers(Path("runs/spell/tokenizer"))
    sizes = tokenizers.source.size, tokenizers.target.size
    assert (known["source_vocabulary"], known["target_vocabulary"]) == sizes
    run = json.loads(call.output("inspect", "model", "spell", "--json"))
    assert run["parts"] == known["parts"] and run["model"] == "runs/spell"
    total = run["total"]
    assert total["parameters"] == sum(part["parameters"] for part in run["parts"])
    assert total["bytes"] == 4 * total["parameters"]
    text = call.output("inspect", "model", "spell").decode()
    assert f"{total['parameters']:,}" in text
    for part in run["parts"]:
        assert part["name"] in text
    call.output("train", "--set", "train.epochs=1", "--set", "name=short", "-q")
    weights = Run.open(Path("runs/short")).read_weights()
    short = json.loads(call.output("inspect", "model", "short", "--json"))
    assert short["total"]["parameters"] == sum(one.numel() for one in weights.values())
    call.output("export", "--run", "short", "--output", "short.s2s")
    exported = json.loads(call.output("inspect", "model", "short.s2s", "--json"))
    assert exported["total"] == short["total"]
    huge = ("inspect", "model", "recipe.yaml", "--set", "model.decoder.width=10000000000")
    assert call.fault(*huge, "-q") == (
        2,
        "recipe.yaml: the recipe describes a model that is too large; expected smaller widths, "
        "layers or vocabularies",
    )
    large = ("inspect", "model", "recipe.yaml", "--set", "model.decoder.width=1000000")
    total = json.loads(call.output(*large, "--json"))["total"]
    assert f"{total['parameters']:,}" in call.output(*large).decode()
    # A recipe that says another width than its run is not that run.
    wider = ("inspect", "model", "recipe.yaml", "--set", "model.decoder.width=32", "--json")
    assert json.loads(call.output(*wider))["target_vocabulary"] == 10_000
    assert call.fault("inspect", "model", "spell", "--set", "seed=2") == (
        2,
        "--set: changes a recipe; a run has its own, expected RECIPE",
    )
