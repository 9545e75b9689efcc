"""The store returns what was written, without a copy, or an error."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pytest

from s2s.data.store import Corpus, Encoded, write_corpus
from s2s.errors import RunError

Rows = Sequence[tuple[list[int], list[int]]]
RANDOM = Random(1)
ROWS = [
    tuple([RANDOM.randrange(4, 999) for _ in range(RANDOM.randrange(9))] for _ in range(2))
    for _ in range(50)
]
TEXTS = [(f"Zeile {i}\u2028", "" if i % 3 else f"\U0001f469{i}") for i in range(50)]


def encoded(rows: Rows, side: int) -> Encoded:
    lists = [row[side] for row in rows]
    return Encoded(
        np.array([token for row in lists for token in row], dtype=np.int32),
        np.array([len(row) for row in lists], dtype=np.int64),
    )


def write(path: Path, rows: Rows, *, vocabulary: int = 999, chunk: int = 7) -> Corpus:
    with write_corpus(path, vocabulary=vocabulary, with_text=True) as writer:
        for start in range(0, len(rows), chunk):
            part = rows[start : start + chunk]
            texts = TEXTS[start : start + len(part)]
            writer.append(
                encoded(part, 0), encoded(part, 1), ([t[0] for t in texts], [t[1] for t in texts])
            )
    return Corpus.open(path)


def rows_of(corpus: Corpus) -> Rows:
    source, target = corpus.source_offsets, corpus.target_offsets
    return [
        (
            corpus.source_values[source[i] : source[i + 1]].tolist(),
            corpus.target_values[target[i] : target[i + 1]].tolist(),
        )
        for i in range(len(corpus))
    ]


@pytest.mark.parametrize("chunk", [1, 7, 50, 99])
def test_the_store_equals_the_lists(tmp_path: Path, chunk: int) -> None:
    path = tmp_path / "c.arrow"
    corpus = write(path, ROWS, chunk=chunk)
    assert rows_of(corpus) == ROWS
    assert corpus.source_lengths.tolist() == [len(source) for source, _ in ROWS]
    assert corpus.target_lengths.tolist() == [len(target) for _, target in ROWS]
    assert corpus.source_texts == [source for source, _ in TEXTS]
    assert corpus.target_texts == [target for _, target in TEXTS]
    assert [p.name for p in tmp_path.iterdir()] == ["c.arrow"]


def test_a_split_without_text(tmp_path: Path) -> None:
    with write_corpus(tmp_path / "c", vocabulary=9, with_text=False) as writer:
        writer.append(encoded(ROWS, 0), encoded(ROWS, 1))
    corpus = Corpus.open(tmp_path / "c")
    assert rows_of(corpus) == ROWS
    assert corpus.source_texts is None and corpus.target_texts is None


@pytest.mark.parametrize("rows", [[], [([], [])], [([], [5]), ([], [6, 7])]])
def test_sides_without_a_token(tmp_path: Path, rows: Rows) -> None:
    with write_corpus(tmp_path / "c", vocabulary=9, with_text=False) as writer:
        writer.append(encoded(rows, 0), encoded(rows, 1))
    assert rows_of(Corpus.open(tmp_path / "c")) == rows


@pytest.mark.parametrize(("vocabulary", "width"), [(65_536, "uint16"), (65_537, "int32")])
def test_ids_are_as_wide_as_the_vocabulary_needs(
    tmp_path: Path, vocabulary: int, width: str
) -> None:
    rows = [([vocabulary - 1], [4, vocabulary - 1])]
    corpus = write(tmp_path / "c", rows, vocabulary=vocabulary)
    assert corpus.source_values.dtype == corpus.target_values.dtype == width
    assert rows_of(corpus) == rows


def test_a_corpus_is_mapped_and_not_read(tmp_path: Path) -> None:
    """Opening 40 MB of ids allocates no memory for them, after another corpus was opened; all are
    in one record batch."""
    values = np.arange(10_000_000, dtype=np.uint16)
    path = tmp_path / "c"
    for place, sides in ((tmp_path / "small", [values[:200]]), (path, np.split(values, 10))):
        with write_corpus(place, vocabulary=2**16, with_text=False) as writer:
            for side in sides:
                rows = Encoded(side, np.full(len(side) // 20, 20))
                writer.append(rows, rows)
    script = (
        "import json, sys\n"
        "from pathlib import Path\n"
        "from s2s.data.store import Corpus\n"
        "def own():\n"
        "    lines = Path('/proc/self/status').read_text().splitlines()\n"
        "    return next(int(line.split()[1]) for line in lines if line.startswith('RssAnon:'))\n"
        "small = Corpus.open(Path(sys.argv[2]))\n"
        "before = own()\n"
        "corpus = Corpus.open(Path(sys.argv[1]))\n"
        "last = corpus.target_values[corpus.target_offsets[-2]:].tolist()\n"
        "after = own()\n"
        "owns = corpus.source_values.flags.owndata\n"
        "print(json.dumps([len(corpus), last, owns, after - before]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path), str(tmp_path / "small")],
        capture_output=True,
        text=True,
        check=True,
    )
    count, last, owns, grown = json.loads(done.stdout)
    assert (count, last, owns) == (500_000, values[-20:].tolist(), False)
    assert grown < 10_000  # KiB; the file has 48 MB
    with pa.memory_map(str(path)) as mapped:
        assert pa.ipc.open_file(mapped).num_record_batches == 1


def test_what_fails_within_leaves_nothing(tmp_path: Path) -> None:
    writing = write_corpus(tmp_path / "c", vocabulary=9, with_text=True)
    with pytest.raises(ZeroDivisionError), writing as writer:
        writer.append(encoded(ROWS, 0), encoded(ROWS, 1), ([], []))
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def message(path: Path) -> str:
    with pytest.raises(RunError) as error:
        Corpus.open(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_file_that_is_no_corpus_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c"
    assert message(path) == f"{path}: no such file; 's2s prep' makes it"
    write(path, ROWS)
    whole = path.read_bytes()
    damaged = f"{path}: not a corpus of s2s, or damaged ("
    for length in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert message(path).startswith(damaged)
    path.write_bytes(b"something else " * 100)
    assert message(path).startswith(damaged)
    table = pa.table({"source": [1]})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    assert message(path) == (
        f"{damaged}expected format 1, found none); 's2s prep --force' makes it again"
    )
