"""Held-out validation pairs: their selection, and that no source is in both parts."""

import random
import re
from pathlib import Path

import pytest

from s2s.data.sources import chunks
from s2s.data.sources import open as sources
from s2s.data.sources.open import open_split
from s2s.data.sources.split import SPLITS, SplitName
from s2s.errors import DataError
from s2s.recipe.data import FilesData, FileSet
from s2s.recipe.filters import HoldOut

SOURCES = [f"word {i % 700}" for i in range(1000)]
"""300 of them occur twice."""


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (chunks, sources):
        monkeypatch.setattr(module, "CHUNK_PAIRS", 7)


def parts(
    folder: Path, pairs: list[tuple[str, str]], *, share: float = 0.2, seed: int = 1
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Training and validation pairs of two files made of `pairs`."""
    (folder / "x").write_text("".join(f"{source}\n" for source, _ in pairs))
    (folder / "y").write_text("".join(f"{target}\n" for _, target in pairs))
    data = FilesData(
        kind="files",
        train=FileSet(source=str(folder / "x"), target=str(folder / "y")),
        hold_out=HoldOut(share=share, seed=seed),
    )
    found = []
    for name in ("train", "validation"):
        split = open_split(data, name)  # type: ignore[arg-type]
        assert split is not None
        found.append([p for c in split.chunks() for p in zip(c.source, c.target, strict=True)])
    assert open_split(data, "test") is None
    return found[0], found[1]


def test_every_pair_is_on_one_side_and_repeated_sources_stay_together(tmp_path: Path) -> None:
    pairs = [(source, f"{i}") for i, source in enumerate(SOURCES)]
    train, held = parts(tmp_path, pairs)
    assert sorted(train + held) == sorted(pairs)
    assert [pair for pair in pairs if pair in held] == held  # in order
    assert not {source for source, _ in train} & {source for source, _ in held}
    deviation = (700 * 0.2 * 0.8) ** 0.5  # of a binomial count
    assert abs(len({source for source, _ in held}) - 140) < 4 * deviation


def test_order_and_other_pairs_do_not_matter_but_the_seed_does(tmp_path: Path) -> None:
    pairs = [(source, "y") for source in SOURCES]
    held = set(parts(tmp_path, pairs)[1])
    shuffled = random.Random(2).sample(pairs, 500)
    assert set(parts(tmp_path, shuffled)[1]) == held & set(shuffled)
    other = set(parts(tmp_path, pairs, seed=2)[1])
    assert 0 < len(other & held) < len(held)
    larger = set(parts(tmp_path, pairs, share=0.5)[1])
    assert held < larger


def test_a_part_without_pairs_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        parts(tmp_path, [("a", "b")] * 12, share=0.001)
    assert str(error.value) == (
        "data.hold_out.share 0.001: of 12 pairs, none is left for validation"
    )


def test_the_parts_are_other_data_to_a_run(tmp_path: Path) -> None:
    """Fingerprints of the parts differ, and change with the settings."""
    parts(tmp_path, [("a", "b"), ("c", "d")] * 9, share=0.5, seed=1)
    files = FileSet(source=str(tmp_path / "x"), target=str(tmp_path / "y"))
    fingerprints = []
    for hold_out in (HoldOut(share=0.5), HoldOut(share=0.4), HoldOut(share=0.5, seed=9)):
        data = FilesData(kind="files", train=files, hold_out=hold_out)
        for name in ("train", "validation"):
            split = open_split(data, name)  # type: ignore[arg-type]
            assert split is not None
            fingerprints.append(split.fingerprint())
    assert all(a != b for i, a in enumerate(fingerprints) for b in fingerprints[:i])


def test_test_pairs_are_held_out_too_and_leave_validation_as_it_was(tmp_path: Path) -> None:
    pairs = [(source, f"{i}") for i, source in enumerate(SOURCES)]
    _, alone = parts(tmp_path, pairs)
    files = FileSet(source=str(tmp_path / "x"), target=str(tmp_path / "y"))
    both = HoldOut(share=0.2, test=0.3, seed=1)
    found = {
        name: read(FilesData(kind="files", train=files, hold_out=both), name) for name in SPLITS
    }
    assert found["validation"] == alone
    assert sorted(pair for part in found.values() for pair in part) == sorted(pairs)
    sources_of = [{source for source, _ in part} for part in found.values()]
    assert not any(sources_of[i] & sources_of[j] for i, j in ((0, 1), (0, 2), (1, 2)))
    assert len(found["test"]) == pytest.approx(300, abs=70)
    # A test set of its own beside it, and validation pairs of their own beside a held-out test set.
    own = FilesData(kind="files", train=files, test=files, hold_out=HoldOut(share=0.2))
    assert read(own, "test") == pairs
    own = FilesData(
        kind="files", train=files, validation=files, hold_out=HoldOut(share=0.0, test=0.2)
    )
    assert read(own, "validation") == pairs
    assert not {s for s, _ in read(own, "test")} & {s for s, _ in read(own, "train")}


@pytest.mark.parametrize(
    ("section", "fault"),
    [
        ({"share": 0.0}, "share: 0 beside test 0 holds nothing out; remove the section"),
        ({"share": 0.6, "test": 0.5}, "share and test leave nothing to train on (1.1)"),
    ],
)
def test_shares_that_leave_nothing(section: dict[str, float], fault: str) -> None:
    with pytest.raises(ValueError, match=re.escape(fault)):
        HoldOut(**section)  # type: ignore[arg-type]


def read(data: FilesData, name: SplitName) -> list[tuple[str, str]]:
    split = open_split(data, name)
    assert split is not None
    return [pair for c in split.chunks() for pair in zip(c.source, c.target, strict=True)]
