"""Limits of the groups around a process, as the kernel and containers show them."""

from pathlib import Path

import pytest

from s2s.nn import control_groups, threads
from s2s.training import memory_usage

MIB = 1 << 20


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(control_groups, "ROOT", tmp_path / "groups")
    monkeypatch.setattr(control_groups, "MEMBERSHIP", tmp_path / "membership")
    return tmp_path


def write(groups: Path, folder: str, **contents: str) -> None:
    place = groups / "groups" / folder
    place.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (place / name.replace("__", ".")).write_text(f"{content}\n")


def limits(groups: Path) -> list[str]:
    return list(control_groups.read_limits("memory", ("memory.max",), ("memory.limit_in_bytes",)))


def test_a_group_and_those_around_it(groups: Path) -> None:
    (groups / "membership").write_text("0::/batch.slice/job:7/step_0\n")
    write(groups, "batch.slice/job:7/step_0", memory__max="max")
    write(groups, "batch.slice/job:7", memory__max="330")
    write(groups, "batch.slice", memory__max="9000")
    write(groups, "batch.slice/job:8", memory__max="1")
    assert limits(groups) == ["max\n", "330\n", "9000\n"]


def test_version_1_has_a_path_for_each_controller(groups: Path) -> None:
    (groups / "membership").write_text("12:cpu,cpuacct:/a\n4:memory:/docker/c0\n0::/\n")
    write(groups, "memory/docker/c0", memory__limit_in_bytes="400")
    write(groups, "memory", memory__limit_in_bytes="800")
    write(groups, "memory/a", memory__limit_in_bytes="1")
    assert limits(groups) == ["400\n", "800\n"]


@pytest.mark.parametrize(
    "membership", [None, "0::/../../else\n", "0::/host/docker/c0\n", "nonsense\n:\n"]
)
def test_in_a_container_the_root_is_its_own_group(groups: Path, membership: str | None) -> None:
    """The host's path does not exist there."""
    if membership is not None:
        (groups / "membership").write_text(membership)
    write(groups, "", memory__max="330")
    assert limits(groups) == ["330\n"]


def test_the_narrowest_group_decides(groups: Path) -> None:
    (groups / "membership").write_text("0::/job/step\n")
    use = {"memory__current": str(10 * MIB), "memory__stat": "active_file 0\ninactive_file 0"}
    write(groups, "job/step", memory__max=str(700 * MIB), cpu__max="400000 100000", **use)
    write(groups, "job", memory__max=str(330 * MIB), cpu__max="100000 100000", **use)
    assert memory_usage._left_in_group() == 320 * MIB
    assert threads.usable_cores() == 1


def test_without_limits(groups: Path) -> None:
    assert limits(groups) == []
    assert memory_usage._left_in_group() is None
