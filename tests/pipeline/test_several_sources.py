"""Questions about drawn shapes, end to end: text, a grid and a vector are one source.

A grid says which shape and which colour, a vector of another file how large it is; only the
question says what of this is asked for.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from s2s.data.sources.hold_out import HoldOutSplit
from s2s.data.sources.open import open_split
from s2s.recipe.data import has_source_text, image_features_of
from s2s.recipe.load import load_recipe
from s2s_cli.main import run as command_line
from tests.captions import COLOURS, SHAPES, images
from tests.pipeline.test_captions import Call, call  # noqa: F401
from tests.places import ROOT

SIZES = ("small", "large")
ASKED = ("what shape is it", "which colour is it", "how large is it")
IMAGES, TRAINED = 180, 160

RECIPE = """\
task: captioning
name: questions
data:
  kind: files
  train: {table: train.jsonl}
  validation: {table: validation.jsonl}
  columns: {source: question, target: answer}
  image_features:
    - {path: grid.npy, column: picture}
    - {path: sizes.npz, column: scale}
tokenizer: {kind: separate, source: {kind: word}, target: {kind: word}}
model:
  embeddings: 20
  encoder: {width: 14}
  decoder: {kind: stacked, width: 28}
  image_features: [{dropout: 0}, {normalization: none, dropout: 0}]
  dropout: {embedding: 0, encoder: 0, decoder: 0, readout: 0}
train:
  epochs: 12
  best: exact
  batch_tokens: 300
  optimizer: {learning_rate: 1e-2}
  schedule: {kind: cosine, warmup: 20}
  label_smoothing: 0
  precision: fp32
search: {kind: greedy}
metrics: [exact]
"""


def write_questions(folder: Path) -> list[tuple[str, str]]:
    """Questions about 180 pictures, and a recipe; lines of validation with their answers.

    Pictures and their sizes are known by other ids; a shape's size is in the second file alone.
    """
    grids, captions = images(IMAGES, seed=3)
    draw = np.random.default_rng(4)
    large = draw.integers(2, size=IMAGES)
    np.save(folder / "grid.npy", grids)
    (folder / "grid.ids").write_text("".join(f"picture {row}\n" for row in range(IMAGES)))
    vectors = draw.normal(0, 0.1, (IMAGES, 4)).astype(np.float32)
    vectors[:, 1] += np.where(large, 1, -1)
    np.savez(folder / "sizes.npz", **{f"s{row}": one for row, one in enumerate(vectors)})
    lines: dict[str, list[tuple[str, str]]] = {"train": [], "validation": []}
    tables: dict[str, list[str]] = {"train": [], "validation": []}
    for row in range(IMAGES):
        said = captions[row][0].split()
        answers = (said[-1], said[-2], SIZES[large[row]])
        split = "train" if row < TRAINED else "validation"
        for question, answer in zip(ASKED, answers, strict=True):
            asked = {"question": question, "picture": f"picture {row}", "scale": f"s{row}"}
            tables[split].append(json.dumps({**asked, "answer": answer}))
            lines[split].append(("\t".join(asked.values()), answer))
    for name, table in tables.items():
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in table))
    (folder / "recipe.yaml").write_text(RECIPE)
    return lines["validation"]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[tuple[str, str]]]]:
    folder = tmp_path_factory.mktemp("questions")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        lines = write_questions(folder)
        assert command_line(["train", "recipe.yaml"]) == 0
    yield folder, lines


@pytest.fixture
def lines(
    asked: tuple[Path, list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> list[tuple[str, str]]:
    """Lines of validation and the answers to them; the run is in the current folder."""
    monkeypatch.chdir(asked[0])
    return asked[1]


def test_it_answers_from_the_source_that_is_asked_about(
    lines: list[tuple[str, str]],
    call: Call,  # noqa: F811
) -> None:
    status, out, _ = call("translate", stdin="".join(f"{line}\n" for line, _ in lines))
    assert status == 0
    said = out.splitlines()
    assert {*said} <= {*SHAPES, *COLOURS, *SIZES}
    right = sum(one == answer for one, (_, answer) in zip(said, lines, strict=True))
    assert right >= 55, said  # of 60; without any one of the sources a third is beyond it


def test_output_does_not_depend_on_batch_order_or_workers(
    lines: list[tuple[str, str]],
    call: Call,  # noqa: F811
) -> None:
    chosen = [line for line, _ in lines[:7]]
    whole = call("translate", "--scores", stdin="\n".join(chosen))[1].splitlines()
    assert len(whole) == 7
    scores = [line.split("\t", 1)[1] for line in whole]
    for options in (("--batch-size", "1"), ("--workers", "2")):
        found = call("translate", "--scores", *options, stdin="\n".join(chosen))[1].splitlines()
        assert found == whole
    backwards = call("translate", "--scores", stdin="\n".join(chosen[::-1]))[1].splitlines()
    assert [line.split("\t", 1)[1] for line in backwards][::-1] == scores


def test_what_is_missing_is_named(lines: list[tuple[str, str]], call: Call) -> None:  # noqa: F811
    asked = [
        lines[0][0],
        "what shape is it\tpicture 180\ts99",
        "what shape is it\tpicture 99\ts180",
        "what shape is it\tpicture 99",
        "what\tshape is it\tpicture 99\ts99",  # a tab within the question
    ]
    status, out, err = call("translate", stdin="\n".join(asked))
    assert status == 0
    assert [bool(line) for line in out.splitlines()] == [True, False, False, False, True]
    assert "line 2: grid.npy: no features for 'picture 180' (did you mean 'picture" in err
    assert "line 3: sizes.npz: no features for 's180'" in err
    wanted = "expected text, tab, id, tab, id, found 'what shape is it\\tpicture 99'"
    assert f"line 4: {wanted}; its output is empty" in err


def test_training_data_that_lack_a_source_are_refused_with_the_id(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: Call,  # noqa: F811
) -> None:
    monkeypatch.chdir(tmp_path)
    write_questions(tmp_path)
    table = Path("train.jsonl").read_text()
    Path("train.jsonl").write_text(table.replace('"s7"', '"s 7"', 1))
    status, _, err = call("prep", "recipe.yaml")
    assert status == 2
    assert err.splitlines()[-1].startswith(
        "s2s: error: train: sizes.npz: no features for 's 7' (did you"
    )
    assert "1 of 480 pairs have none, more than data.image_features[1].max_missing 0 allows" in err
    allowed = RECIPE.replace("column: scale", "column: scale, max_missing: 0.01")
    Path("recipe.yaml").write_text(allowed)
    assert call("prep", "recipe.yaml")[0] == 0


def test_all_questions_about_a_picture_are_held_out_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_questions(tmp_path)
    held = RECIPE.replace("  validation: {table: validation.jsonl}\n", "  hold_out: {share: 0.3}\n")
    Path("recipe.yaml").write_text(held)
    data = load_recipe(Path("recipe.yaml")).data
    found = []
    for name in ("train", "validation"):
        split = open_split(data, name)  # type: ignore[arg-type]
        assert isinstance(split, HoldOutSplit)
        sources = [line for chunk in split.chunks() for line in chunk.source]
        found.append({tuple(line.split("\t")[1:]) for line in sources})
        assert len(sources) == 3 * len(found[-1])
    assert not found[0] & found[1] and len(found[0] | found[1]) == TRAINED


def test_a_grid_that_has_not_the_rows_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: Call,  # noqa: F811
) -> None:
    monkeypatch.chdir(tmp_path)
    write_questions(tmp_path)
    status, _, err = call(
        "train", "recipe.yaml", "--set", "model.image_features=[{layers: 1, rows: 2}, {}]"
    )
    assert status == 2
    assert err.splitlines()[-1] == (
        "s2s: error: grid.npy: expected grids of 2 rows (model.image_features), all of as many "
        "regions, "
        "found 5"
    )
    status, _, err = call("check", "recipe.yaml", "--set", "model.image_features=[{}, {rows: 2}]")
    assert status == 2 and "rows needs layers, 1 or more" in err


def test_the_recipe_of_the_documentation_is_complete(call: Call, tmp_path: Path) -> None:  # noqa: F811
    text = (ROOT / "docs" / "several-sources.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    recipes = [block for block in blocks if "\ntask:" in block]
    assert len(recipes) == 1
    path = tmp_path / "pictured.yaml"
    path.write_text(recipes[0], encoding="utf-8")
    assert call("check", "--no-data", str(path))[0] == 0
    recipe = load_recipe(path)
    assert has_source_text(recipe.data)
    assert [file.column for file in image_features_of(recipe.data)] == ["image"]
    whole = load_recipe(path, ["data.image_features=[]", "model.image_features=[]"])
    assert image_features_of(whole.data) == ()
