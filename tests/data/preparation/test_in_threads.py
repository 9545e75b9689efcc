"""A corpus that is prepared in threads, by blocks of lines, is the corpus prepared pair by pair."""

import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from s2s.data.preparation import encode
from s2s.data.preparation.prepare import open_corpus, prepare
from s2s.data.preparation.report import PrepareReport
from s2s.data.preparation.split_counts import SplitCounts
from s2s.data.sources import open as sources
from s2s.data.store import CorpusWriter
from s2s.errors import RunError
from s2s.recipe.data import FilesData, FileSet
from s2s.recipe.filters import Filters
from s2s.recipe.recipe import Recipe
from s2s.recipe.tokenizer import SubwordTokenizer, Tokenizers, WordTokenizer
from s2s.special import UNK
from s2s.text.tokenizer_pair import TokenizerPair, load_tokenizers
from tests.text.test_word_encoder import LINES, SPACES

RANDOM = Random(23)
TEXTS = [*(line.replace("\r", " ") for line in SPACES), "", " ", *LINES[:300]]
TEXTS += [" ".join(RANDOM.choices(TEXTS, k=RANDOM.randrange(2, 8))) for _ in range(300)]
PAIRS = [(RANDOM.choice(TEXTS), RANDOM.choice(TEXTS)) for _ in range(700)]
PAIRS += RANDOM.choices(PAIRS, k=200)
HELD_OUT = [*RANDOM.choices(PAIRS, k=30), *((f"{a} {b}", b) for a, b in PAIRS[:20])]
FILTERS = Filters(max_length=40, max_ratio=4.0, duplicates=True, max_dropped=1.0)


def write(folder: Path, name: str, pairs: Sequence[tuple[str, str]]) -> FileSet:
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{name}.{side}" for side in range(2)]
    for side, path in enumerate(paths):
        path.write_bytes("".join(f"{pair[side]}\n" for pair in pairs).encode())
    return FileSet(source=str(paths[0]), target=str(paths[1]))


def kept_one_by_one(pair: TokenizerPair) -> tuple[dict[tuple[str, str], Any], Counter[str]]:
    """The pairs that the filters keep, in order, with their ids, and the reasons for which others
    are dropped."""
    kept, dropped = dict[tuple[str, str], Any](), Counter[str]()
    for source, target in PAIRS:
        ids = pair.source.encode([source])[0], pair.target.encode([target])[0]
        shorter, longer = sorted(map(len, ids))
        if shorter == 0:
            dropped["empty side"] += 1
        elif longer > 40:
            dropped["too long"] += 1
        elif longer > 10 and longer > 4.0 * shorter:
            dropped["length ratio"] += 1
        elif (source, target) in kept:
            dropped["duplicate"] += 1
        else:
            kept[source, target] = ids
    return kept, dropped


def prepared(
    folder: Path, tokenizer: Tokenizers, threads: int, patch: pytest.MonkeyPatch
) -> PrepareReport:
    patch.setattr(encode, "num_threads", lambda: threads)
    data = FilesData(
        kind="files",
        train=write(folder.parent / "raw", "train", PAIRS),
        validation=write(folder.parent / "raw", "validation", HELD_OUT),
        filters=FILTERS,
    )
    return prepare(Recipe(task="translation", data=data, tokenizer=tokenizer), folder)


@pytest.mark.parametrize(
    "tokenizer",
    [
        SubwordTokenizer(kind="unigram", vocabulary=450, character_coverage=0.99),
        SubwordTokenizer(kind="bpe", vocabulary=450),
        WordTokenizer(kind="word", vocabulary=120),
    ],
)
def test_the_corpus_is_that_of_single_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Any
) -> None:
    monkeypatch.setattr(sources, "CHUNK_PAIRS", 37)
    folders = [tmp_path / str(threads) for threads in (1, 2, 5)]
    first, *others = [prepared(one, tokenizer, int(one.name), monkeypatch) for one in folders]
    pair = load_tokenizers(folders[0] / "tokenizer")
    kept, dropped = kept_one_by_one(pair)
    corpus, report = open_corpus(folders[0], "train"), first.splits["train"]
    assert min(dropped.values()) > 0 and len(dropped) == 4
    assert (report.read, report.kept, report.dropped) == (len(PAIRS), len(kept), dropped)
    for side, (values, offsets) in enumerate(
        (
            (corpus.source_values, corpus.source_offsets),
            (corpus.target_values, corpus.target_offsets),
        )
    ):
        rows = [ids[side] for ids in kept.values()]
        assert values.tolist() == [token for row in rows for token in row]
        assert np.diff(offsets).tolist() == list(map(len, rows))
        found = (report.source, report.target)[side]
        assert (found.tokens, found.unknown) == (len(values), values.tolist().count(UNK))
    held_out, known = first.splits["validation"], {source for source, _ in kept}
    assert held_out.in_train == sum(one in kept for one in HELD_OUT)
    assert held_out.sources_in_train == sum(source in known for source, _ in HELD_OUT)
    assert held_out.repeated_sources == len(HELD_OUT) - len({source for source, _ in HELD_OUT})
    for folder, other in zip(folders[1:], others, strict=True):
        assert other.splits == first.splits
        for name in ("data/train.arrow", "data/validation.arrow"):
            assert (folder / name).read_bytes() == (folders[0] / name).read_bytes()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("fault", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("where", ["keep", "write"])
def test_what_is_interrupted_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, fault: BaseException, where: str
) -> None:
    monkeypatch.setattr(sources, "CHUNK_PAIRS", 37)
    tokenizer, run = WordTokenizer(kind="word"), tmp_path / "run"
    calls = []

    def fail(*_: Any, **__: Any) -> None:
        calls.append(1)
        if len(calls) == 5:
            raise fault

    before = threading.active_count()
    place = (SplitCounts, "add") if where == "keep" else (CorpusWriter, "append")
    with monkeypatch.context() as patch:
        patch.setattr(*place, fail)
        with pytest.raises((KeyboardInterrupt, RunError)):
            prepared(run, tokenizer, threads, patch)
    assert threading.active_count() == before
    assert [path.name for path in run.iterdir()] == ["tokenizer"]
    assert prepared(run, tokenizer, threads, monkeypatch).redone == ("data",)
