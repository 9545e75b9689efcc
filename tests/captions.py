"""A captioning task that is learned in seconds: shapes and colours in a grid of features.

Every image has one thing in one of its regions; the vector of that region says which shape and
which colour, all others are noise. Captions say both.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHAPES = ("circle", "square", "star", "cross")
COLOURS = ("red", "green", "blue")
WIDTH, REGIONS = 9, 5

RECIPE = """\
task: captioning
name: shapes
data:
  kind: files
  train: {table: train.jsonl}
  validation: {table: validation.jsonl}
  test: {table: test.jsonl}
  columns: {source: null, target: captions}
  image_features: [{path: grid.npy, ids: ids.txt}]
tokenizer: {kind: word}
model:
  embeddings: 20
  attention: {kind: additive}
  decoder: {kind: bahdanau, width: 28}
  image_features: [{width: 24, dropout: 0}]
  dropout: {embedding: 0, encoder: 0, decoder: 0, readout: 0}
train:
  epochs: 10
  best: exact
  batch_tokens: 200
  optimizer: {learning_rate: 1e-2}
  schedule: {kind: cosine, warmup: 20}
  precision: fp32
search: {kind: beam, width: 3}
metrics: [exact, bleu]
"""


def captions_of(shape: str, colour: str) -> list[str]:
    """Two of them, of unlike lengths."""
    return [f"here is a {colour} {shape}", f"there is a {shape} and it is {colour}"]


def images(count: int, seed: int) -> tuple[NDArray[np.float32], list[list[str]]]:
    """Grids [count, REGIONS, WIDTH] and the captions of each."""
    draw = np.random.default_rng(seed)
    grids = draw.normal(0.0, 0.1, (count, REGIONS, WIDTH)).astype(np.float32)
    captions = []
    for grid in grids:
        shape, colour = int(draw.integers(len(SHAPES))), int(draw.integers(len(COLOURS)))
        region = grid[draw.integers(REGIONS)]
        region[0], region[1 + shape], region[1 + len(SHAPES) + colour] = 2.0, 2.0, 2.0
        captions.append(captions_of(SHAPES[shape], COLOURS[colour]))
    return grids, captions


def write_captions(folder: Path, recipe: str = RECIPE) -> list[str]:
    """Splits of 220, 20 and 20 images, their features and a recipe; the ids of the test split.

    Rows lie in another order than the splits, and three ids are in none.
    """
    splits = {
        "train": [*range(120), *range(163, 263)],
        "validation": list(range(120, 140)),
        "test": list(range(140, 160)),
    }
    grids, captions = images(263, seed=1)
    ids = [f"img {number}.jpg" for number in range(263)]
    order = np.random.default_rng(2).permutation(263)
    np.save(folder / "grid.npy", grids[order])
    (folder / "ids.txt").write_text("".join(f"{ids[row]}\n" for row in order))
    for name, chosen in splits.items():
        rows: list[dict[str, Any]] = [
            {
                "image": ids[row],
                "captions": captions[row],
                "question": question(row),
                "answer": answer(row, captions[row][0]),
            }
            for row in chosen
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text)
    (folder / "recipe.yaml").write_text(recipe)
    return ids[140:160]


def question(row: int) -> str:
    """One of two, in turn."""
    return "what colour is it" if row % 2 else "what shape is it"


def answer(row: int, caption: str) -> str:
    """To the question, of what is there."""
    return caption.split()[-2 if row % 2 else -1]
