"""A small project that the commands work on, and what each of them has to leave behind."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.commands import RECIPE, pairs

RUN = Path("runs/spell")


CAPTIONS = """\
task: captioning
name: cap
data:
  kind: files
  train: {table: captions.jsonl}
  columns: {source: null, target: caption}
  image_features: [{path: f.npy, ids: f.ids, column: image}]
tokenizer: {kind: word, vocabulary: 20}
model:
  embeddings: 8
  image_features: [{width: 8}]
  attention: {kind: none}
  decoder: {kind: luong, width: 8}
train: {epochs: 1}
"""


def write_project(folder: Path) -> None:
    """A recipe, its data and a long input, as a user brings them."""
    folder.mkdir(parents=True)
    recipe = RECIPE.replace("  epochs: 4\n", "  epochs: 4\n  validate_every: 20\n  keep: 3\n")
    (folder / "recipe.yaml").write_text(recipe)
    for name, count, seed in (("train", 400, 1), ("validation", 30, 2), ("test", 40, 3)):
        split = pairs(count, seed)
        for side, suffix in enumerate("xy"):
            text = "".join(f"{pair[side]}\n" for pair in split)
            (folder / f"{name}.{suffix}").write_text(text)
    (folder / "input").write_text("".join(f"{source}\n" for source, _ in pairs(600, 4)))


def write_captions(folder: Path) -> None:
    """A recipe of captions, with features of twenty images."""
    import numpy

    (folder / "captions.yaml").write_text(CAPTIONS)
    names = [f"{number}.jpg" for number in range(20)]
    (folder / "f.ids").write_text("".join(f"{name}\n" for name in names))
    numpy.save(folder / "f.npy", numpy.eye(20, 8, dtype=numpy.float16))
    rows = (json.dumps({"image": name, "caption": f"a {name[0]}"}) for name in names)
    (folder / "captions.jsonl").write_text("".join(f"{row}\n" for row in rows))


@dataclass(frozen=True)
class Step:
    """A command, and what it leaves behind: the same after any number of kills."""

    name: str
    arguments: tuple[str, ...]
    product: Callable[[Path], str]
    """A digest of what it leaves in a project's folder."""


def _digest(parts: list[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(len(part).to_bytes(8, "big") + part)
    return found.hexdigest()


def _files(folder: Path, *patterns: str) -> str:
    paths = sorted(path for pattern in patterns for path in folder.glob(pattern) if path.is_file())
    return _digest([item for path in paths for item in (path.name.encode(), path.read_bytes())])


def _prepared(folder: Path) -> str:
    run = folder / RUN
    return _files(run, "tokenizer/**/*", "data/*.arrow", "data/**/*.bin", "data/**/*.npy")


def _trained(folder: Path) -> str:
    from s2s.run.directory import Run

    run = Run.open(folder / RUN)
    weights = run.read_weights("last")
    losses = {
        event["update"]: event["scores"]
        for event in run.read_events()
        if event["event"] == "validation"
    }
    tensors = [item for name in sorted(weights) for item in (name.encode(), _bytes(weights[name]))]
    return _digest([*tensors, json.dumps(losses, sort_keys=True).encode()])


def _averaged(folder: Path) -> str:
    from s2s.run.directory import Run

    weights = Run.open(folder / RUN).read_weights("average")
    return _digest([item for n in sorted(weights) for item in (n.encode(), _bytes(weights[n]))])


def _bytes(tensor: object) -> bytes:
    import torch

    assert isinstance(tensor, torch.Tensor)
    return bytes(tensor.detach().contiguous().view(torch.uint8).numpy().tobytes())


def _translated(folder: Path) -> str:
    return _files(folder, "output")


def _scored(folder: Path) -> str:
    return _files(folder, "runs/spell/outputs/*.txt")


STEPS = (
    Step("prep", ("prep",), _prepared),
    Step("train", ("train",), _trained),
    Step("average", ("average",), _averaged),
    Step(
        "translate",
        ("translate", "--input", "input", "--output", "output", "--resume", "--batch-size", "16"),
        _translated,
    ),
    Step("bleu", ("bleu", "--checkpoint", "average"), _scored),
)
"""Each works on what those before it left."""
