"""The fuzzer that is guided by coverage finds faults that are there, and says where."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from s2s.errors import DataError

if sys.platform != "linux":
    pytest.skip("it forks processes and limits them as Linux does", allow_module_level=True)

from tests.torture import guided
from tests.torture.guided import begin, search
from tests.torture.target import Read, Target, always, texts

SEEDS = ('{"a": [1, 2]}', '{"b": "x", "c": null}')


def target(read: Read, **options: Any) -> Target:
    return Target("toy", "toy.json", texts(*SEEDS), always(read), **options)


def content() -> bytes:
    return Path("toy.json").read_bytes()


def parse() -> None:
    from s2s.files import parse_json

    try:
        parse_json(content())
    except ValueError as error:
        raise DataError("toy") from error


def test_inputs_that_reach_new_lines_are_kept_and_a_seed_gives_the_same_again(
    tmp_path: Path,
) -> None:
    found = []
    for seed in (1, 1, 2):
        one = begin(target(parse), tmp_path)
        for _ in range(3):
            search(one, tmp_path, seed, tmp_path / "inputs")
        found.append(one)
    first, again, other = found
    assert first.corpus == again.corpus
    assert first.lines == again.lines
    assert first.corpus[:2] == [text.encode() for text in SEEDS]
    assert len(first.corpus) > 2
    assert first.corpus != other.corpus
    assert {file for file, _ in first.lines} == {"files.py"}
    numbers = first.counts.numbers
    assert numbers["tried"] == 3 * guided.BATCH
    assert 0 < numbers["refused"] < numbers["tried"]
    assert not first.counts.failures
    assert not (tmp_path / "inputs").exists()


def raises() -> None:
    if content().count(b"a") != 1:
        raise ZeroDivisionError("planted")


def dies() -> None:
    if content().count(b"a") != 1:
        os.kill(os.getpid(), signal.SIGKILL)


def hangs() -> None:
    is_endless = content().count(b"a") != 1  # read once: the time of a system call is not Python's
    while is_endless:
        pass


def hangs_in_native_code() -> None:
    if content().count(b"a") != 1:
        sum(range(10**12))


def takes_memory() -> None:
    if content().count(b"a") != 1:
        bytearray(1 << 40)


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (raises, "ZeroDivisionError: planted"),
        (dies, "the process ends: status -9"),
        (hangs, "Hang: more than 0.05 seconds"),
        (hangs_in_native_code, "the process ends: status -27"),
        (takes_memory, "MemoryError"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_faults_are_named_and_their_inputs_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Read, words: str
) -> None:
    monkeypatch.setattr(guided, "SECONDS", 0.05)
    monkeypatch.setattr(guided, "BATCH", 12)
    one = begin(target(read)._replace(seeds=texts(SEEDS[0])), tmp_path)
    search(one, tmp_path, 1, tmp_path / "inputs")
    assert one.next == one.counts.numbers["tried"] == 12
    assert one.counts.failures
    assert all(words in line for line in one.counts.failures)
    for kept in (tmp_path / "inputs").iterdir():
        number = int(kept.name.partition("-")[2])
        assert kept.read_bytes() == one.draw(number, 1)
        assert kept.read_bytes().count(b"a") != 1
    assert not (tmp_path / "toy.json").exists()


def test_seeds_that_are_refused_are_faults(tmp_path: Path) -> None:
    """Otherwise a target that reads nothing would find nothing."""

    def refuse() -> None:
        raise DataError("not this")

    one = begin(target(refuse), tmp_path)
    search(one, tmp_path, 1, tmp_path / "inputs")
    assert len(one.counts.failures) == len(SEEDS)
