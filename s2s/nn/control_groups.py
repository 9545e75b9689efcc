"""The control groups of Linux in which this process is: limits of containers and batch systems.

A group is limited by the groups around it too, and sees only some of them: inside a container the
root of `/sys/fs/cgroup` is often its own group.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/sys/fs/cgroup")
"""Where systems mount the groups."""

MEMBERSHIP = Path("/proc/self/cgroup")
"""The process's group in each hierarchy: `4:memory:/path`, `0::/path` in version 2."""


def read_limits(controller: str, second: tuple[str, ...], first: tuple[str, ...]) -> Iterator[str]:
    """The contents of files of each group that limits the process by `controller` (memory, cpu),
    the innermost first; several files are joined with a space.

    `second` are the names of the files in version 2 of control groups, `first` those in version 1.
    Groups without these files are left out.
    """
    paths = _memberships()
    for base, path, names in (
        (ROOT, paths.get("", "/"), second),
        (ROOT / controller, paths.get(controller, "/"), first),
    ):
        for folder in _around(base, path):
            try:
                yield " ".join((folder / name).read_text(encoding="ascii") for name in names)
            except (OSError, ValueError):
                continue


def _memberships() -> dict[str, str]:
    """The path of the process's group by controller; that of version 2 has an empty name."""
    try:
        lines = MEMBERSHIP.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    split = (line.split(":", 2) for line in lines if line.count(":") >= 2)
    return {name: path for _, names, path in split for name in names.split(",")}


def _around(base: Path, path: str) -> Iterator[Path]:
    """The folder of a group below `base` and those around it, up to `base`."""
    parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
    for depth in range(len(parts), -1, -1):
        yield base.joinpath(*parts[:depth])
