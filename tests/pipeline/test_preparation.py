"""Where several processes prepare a recipe, one does and the others wait."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from s2s.errors import DataError
from s2s.pipeline import preparation
from s2s.recipe.load import load_recipe
from s2s.training.distributed.process_group import WorkerLost

RECIPE = """\
task: translation
name: toy
data: {kind: files, train: {source: x, target: y}, filters: {max_length: 9}}
tokenizer: {kind: word}
model: {embeddings: 10, encoder: {width: 6}, decoder: {kind: luong, width: 14}}
train: {epochs: 1}
"""


class Group:
    """The group as rank `rank` sees it, in which rank 0 may be lost."""

    def __init__(self, rank: int, is_lost: bool = False) -> None:
        self.rank, self.is_lost = rank, is_lost
        self.calls = 0

    def all_gather(self, value: object) -> list[object]:
        self.calls += 1
        if self.is_lost:
            raise WorkerLost("gone")
        return [value, value]


def started(patch: pytest.MonkeyPatch, group: Group) -> None:
    @contextmanager
    def launched(device: str) -> Iterator[tuple[Group, str]]:
        yield group, device

    patch.setattr(preparation, "is_launched", lambda: True)
    patch.setattr(preparation, "launched", launched)


def test_rank_zero_prepares_and_the_others_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(RECIPE)
    for name, text in (("x", "a b\nb\n"), ("y", "b a\nb\n")):
        Path(name).write_text(text)
    recipe = load_recipe()
    for group, status in ((Group(1), 0), (Group(2, is_lost=True), 1)):
        started(monkeypatch, group)
        with pytest.raises(SystemExit) as found:
            preparation.prepare(recipe)
        assert (found.value.code, group.calls) == (status, 1)
        assert not Path("runs").exists()
    first = Group(0)
    started(monkeypatch, first)
    assert preparation.prepare(recipe).redone
    assert first.calls == 1
    Path("x").write_text("a\n")
    with pytest.raises(DataError):
        preparation.prepare(recipe)
    assert first.calls == 1, "the others find it gone"
