"""Alignments of training pairs: their file, their batches, and IBM Model 1 in both directions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from s2s.data import ibm_alignment
from s2s.data.alignment import LINKS_FILE, OFFSETS_FILE, Alignment, write_alignment
from s2s.data.batches import collate
from s2s.data.ibm_alignment import learned_links
from s2s.data.ibm_model1 import NULL
from s2s.data.store import Corpus
from s2s.errors import RunError
from tests.data.test_ibm_model1 import Pairs, corpus_of, naive_model_one, random_pairs

PAIRS: Pairs = [([5, 6, 7], [8, 9]), ([4], [5, 6, 7]), ([5, 5], [9]), ([], [4])]
LINKS = [[(0, 0), (2, 1), (1, 1)], [], [(1, 0)], []]


def written(folder: Path) -> Corpus:
    """The corpus of `PAIRS` with `LINKS`, which are written in two parts."""
    with write_alignment(folder) as writer:
        for some in (LINKS[:1], LINKS[1:]):
            links = np.array([link for one in some for link in one], dtype=np.int32)
            counts = np.array([len(one) for one in some], dtype=np.int64)
            writer.append(links.reshape(-1, 2), counts)
    corpus = corpus_of(PAIRS)
    return replace(corpus, alignment=Alignment.open(folder, corpus))


@pytest.mark.parametrize("pairs", [[0, 1, 2, 3], [2, 0], [3, 1], [1]])
def test_a_batch_has_the_links_of_its_pairs(tmp_path: Path, pairs: list[int]) -> None:
    batch = collate(written(tmp_path), np.array(pairs), multiple=4)
    assert batch.alignment is not None
    assert batch.alignment.shape == (*batch.target_output.shape, batch.source.shape[1])
    found = [tuple(place) for place in batch.alignment.nonzero().tolist()]
    expected = sorted((row, t, s) for row, pair in enumerate(pairs) for s, t in LINKS[pair])
    assert found == expected
    twice = batch.repeated(2).alignment
    assert twice is not None and twice[::2].equal(batch.alignment)
    assert collate(corpus_of(PAIRS), np.array(pairs)).alignment is None


@pytest.mark.parametrize(
    ("file", "change"),
    [
        (LINKS_FILE, lambda raw: raw[:-8]),
        (LINKS_FILE, lambda raw: raw[:-3]),
        (LINKS_FILE, lambda raw: b"\xff" + raw[1:]),
        (OFFSETS_FILE, lambda raw: raw[:-9]),
        (OFFSETS_FILE, lambda raw: b"no array"),
        (OFFSETS_FILE, lambda raw: raw[:-8] + b"\x09" + raw[-7:]),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, file: str, change: object) -> None:
    written(tmp_path)
    path = tmp_path / file
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(RunError, match="'s2s prep --force' makes it again"):
        Alignment.open(tmp_path, corpus_of(PAIRS))


def test_files_of_other_pairs_are_refused(tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(RunError, match="of other pairs"):
        Alignment.open(tmp_path, corpus_of(PAIRS[:3]))
    (tmp_path / OFFSETS_FILE).unlink()
    with pytest.raises(RunError, match="no such file; 's2s prep' makes it"):
        Alignment.open(tmp_path, corpus_of(PAIRS))


def naive_links(pairs: Pairs) -> list[set[tuple[int, int]]]:
    """The links that the most probable alignments of both directions share."""
    forward = naive_model_one(pairs, 5)
    backward = naive_model_one([(target, source) for source, target in pairs], 5)

    def best(side: list[int], token: int, prob: dict[tuple[int, int], float]) -> int | None:
        scores = [prob[one, token] for one in [*side, NULL]]
        place = scores.index(max(scores))
        return None if place == len(side) else place

    return [
        {
            (s, t)
            for t, token in enumerate(target)
            if (s := best(source, token, forward)) is not None
            and best(target, source[s], backward) == t
        }
        for source, target in pairs
    ]


def test_learned_links_are_those_of_both_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ibm_alignment, "SENTENCES", 7)
    pairs = random_pairs(60)
    parts = list(learned_links(corpus_of(pairs), seed=1))
    counts = np.concatenate([part[1] for part in parts])
    links = np.concatenate([part[0] for part in parts])
    assert len(counts) == len(pairs) and counts.sum() == len(links) > 50
    ends = np.cumsum(counts)
    found = [
        {(int(s), int(t)) for s, t in links[end - count : end]}
        for end, count in zip(ends, counts, strict=True)
    ]
    assert found == naive_links(pairs)


def test_a_planted_lexicon_is_found() -> None:
    """Each source token has one translation, in any order."""
    draw = np.random.default_rng(3)
    pairs, orders = [], []
    for _ in range(200):
        source = draw.permutation(np.arange(4, 13))[: draw.integers(1, 7)]
        order = draw.permutation(len(source))
        orders.append({(int(s), t) for t, s in enumerate(order)})
        pairs.append((source.tolist(), (source[order] + 2).tolist()))
    for links, counts in learned_links(corpus_of(pairs), seed=1):
        ends = np.cumsum(counts)
        for end, count, expected in zip(ends, counts, orders, strict=True):
            assert {(int(s), int(t)) for s, t in links[end - count : end]} == expected
