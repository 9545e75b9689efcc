"""The folder of parts: a part is complete or absent, and a range has one claim."""

import gzip
from pathlib import Path

import pytest

from s2s.errors import DataError, S2sError
from s2s.inference.byte_ranges import ByteRanges, RangeContents
from s2s.inference.parts import (
    PartCounts,
    Parts,
    Plan,
    check_parts_folder,
    delete_parts,
    parts_folder,
    work_order,
)

PLAN = Plan(
    fingerprint={"models": ["toy 1"]},
    ranges=ByteRanges(8, 3),
    contents=[RangeContents(2, "a"), RangeContents(0, "b"), RangeContents(1, "c")],
    speeds={"int8": 2.0},
)


def opened(target: Path, attempt: str = "one") -> Parts:
    PLAN.write(target)
    parts = Parts(target, PLAN, attempt)
    parts.claims.mkdir(parents=True)
    return parts


def write(parts: Parts, index: int, text: bytes) -> None:
    with parts.writing(index) as part:
        part.write(text)
        part.flush()
        part.lines, part.counts = text.count(b"\n"), {"words": len(text)}


@pytest.mark.parametrize(("size", "count"), [(1, 5), (2, 5), (3, 10), (4, 3), (7, 1), (3, 0)])
def test_each_process_looks_at_all_ranges_and_first_at_its_own(size: int, count: int) -> None:
    orders = [list(work_order(rank, size, count)) for rank in range(size)]
    assert all(sorted(order) == list(range(count)) for order in orders)
    firsts = [count * rank // size for rank in range(size + 1)]
    shares = [firsts[rank + 1] - firsts[rank] for rank in range(size)]
    own = [order[:share] for order, share in zip(orders, shares, strict=True)]
    assert [index for order in own for index in order] == list(range(count))
    assert max(shares) - min(shares) <= 1


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    target = tmp_path / "out"
    assert Plan.read(target) is None
    PLAN.write(target)
    found = Plan.read(target)
    assert found == PLAN
    assert found.digest == PLAN.digest
    assert PLAN.first_lines() == [0, 2, 2, 3]


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{}", '{"format": 2}', '{"format": 1}'),
        '{"format":1,"fingerprint":{},"size":8,"step":3,"contents":[],"speeds":{}}',
        '{"format":1,"fingerprint":{},"size":8,"step":1e999,"contents":[],"speeds":{}}',
    ],
)
def test_a_damaged_plan_is_one_line(tmp_path: Path, content: str) -> None:
    parts_folder(tmp_path / "out").mkdir()
    (parts_folder(tmp_path / "out") / "plan.json").write_text(content)
    with pytest.raises(DataError, match=r"cannot read it .* to start over"):
        Plan.read(tmp_path / "out")


def test_a_range_has_one_claim_a_round_and_new_ones_for_another_attempt(tmp_path: Path) -> None:
    parts, same = opened(tmp_path / "out"), Parts(tmp_path / "out", PLAN, "one")
    assert parts.claim(2)
    assert not same.claim(2)
    assert same.claim(2, 1)
    assert not parts.claim(2, 1)
    assert opened(tmp_path / "out", "two").claim(2)


def test_a_part_is_complete_or_absent(tmp_path: Path) -> None:
    parts = opened(tmp_path / "out")
    assert parts.missing() == [0, 1, 2]
    with pytest.raises(S2sError, match="lost"), parts.writing(1) as part:
        part.write(b"half")
        raise S2sError("lost")
    assert parts.missing() == [0, 1, 2]
    assert not list(parts.folder.glob(".tmp-*"))
    write(parts, 1, b"")
    assert (parts.has(0), parts.has(1)) == (False, True)
    assert parts.missing() == [0, 2]


@pytest.mark.parametrize("name", ["out", "out.gz"])
def test_parts_are_joined_in_their_order_and_deleted(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    target.write_text("old")
    parts = opened(target)
    for index, text in ((2, b"c\n"), (0, b'["a"]\nb\n'), (1, b"")):
        write(parts, index, text)
    assert target.read_text() == "old"
    assert parts.join() == [
        PartCounts(0, 2, 8, {"words": 8}),
        PartCounts(1, 0, 0, {"words": 0}),
        PartCounts(2, 1, 2, {"words": 2}),
    ]
    content = target.read_bytes()
    assert (gzip.decompress(content) if name.endswith("gz") else content) == b'["a"]\nb\nc\n'
    assert [path.name for path in tmp_path.iterdir()] == [name]
    # For those that are slower, nothing is left to do.
    assert parts.missing() == []
    assert not parts.claim("join")
    write(parts, 1, b"late")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("change", [b"x", b"[0, 1, 9, {}]\n", b"", b"a\n[1, 1, 2, {}]\n"])
def test_a_damaged_part_leaves_the_target(tmp_path: Path, change: bytes) -> None:
    parts = opened(tmp_path / "out")
    for index in range(3):
        write(parts, index, b"a\n")
    (parts.folder / "00000000.part").write_bytes(change)
    with pytest.raises(DataError, match=r"00000000\.part: a damaged part; delete it"):
        parts.join()
    assert not (tmp_path / "out").exists()
    (parts.folder / "00000000.part").unlink()
    assert parts.missing() == [0]


def test_a_folder_of_that_name_with_other_things_stays(tmp_path: Path) -> None:
    opened(tmp_path / "out")
    (tmp_path / "out.parts" / "thesis.txt").write_text("mine")
    for function in (check_parts_folder, delete_parts):
        with pytest.raises(DataError, match=r"of parts of out, found thesis\.txt"):
            function(tmp_path / "out")
    assert (tmp_path / "out.parts" / "thesis.txt").read_text() == "mine"
    delete_parts(tmp_path / "other")  # has none
