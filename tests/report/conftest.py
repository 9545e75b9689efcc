"""A trained run whose data would do harm in a page that does not escape them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from s2s.run.directory import Run

HOSTILE = (
    "<script>window.harm=1</script>",
    "</style></script>",
    "<img/src=x/onerror=window.harm=2>",
    "\"'><b/onmouseover='window.harm=3'>",
    "{{7*7}}",
    "&amp;&lt;",
    "שלום",
    "e\u0301\u0323\u0302",
    "\u202egnitaehc",
    "\u0301x",
)
"""One for each digit: tags, ends of elements, attributes, template code, entities, right-to-left
text, combining marks, a bidirectional override."""

RECIPE = """\
task: translation
name: hostile
data:
  kind: files
  train: {source: train.x, target: train.y}
  validation: {source: validation.x, target: validation.y}
  test: {source: test.x, target: test.y}
tokenizer: {kind: word}
model:
  embeddings: 16
  encoder: {width: 8}
  decoder: {kind: luong, width: 14}
train:
  epochs: 2
  batch_tokens: 120
  optimizer: {learning_rate: 1e-2}
  precision: fp32
search: {kind: greedy}
metrics: [bleu, chrf, perplexity]
"""


def write_split(name: str, first: int, count: int) -> None:
    numbers = [(n * 7919) % 99_991 for n in range(first, first + count)]
    words = [[HOSTILE[int(digit)] for digit in str(n)] for n in numbers]
    for side, suffix in ((1, "x"), (-1, "y")):
        lines = "".join(" ".join(line[::side]) + "\n" for line in words)
        Path(f"{name}.{suffix}").write_text(lines, encoding="utf-8", newline="\n")


@pytest.fixture(scope="session")
def hostile_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the recipe, its data and its run."""
    import torch

    from s2s import pipeline
    from s2s.recipe.load import load_recipe
    from tests.training.toys import Listener

    folder = tmp_path_factory.mktemp("hostile")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("recipe.yaml").write_text(RECIPE, encoding="utf-8")
        for name, first, count in (("train", 1, 300), ("validation", 400, 30), ("test", 500, 60)):
            write_split(name, first, count)
        pipeline.train(load_recipe(), device="cpu", reporter=Listener())
    yield folder
    torch.set_num_threads(threads)


@pytest.fixture
def hostile(hostile_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A copy of the run, in the current folder."""
    shutil.copytree(hostile_folder, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return Run.open(Path("runs/hostile"))
