"""The environment of a run: versions, commit, hardware, seed, and the format of its folder."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from s2s.errors import RunError
from s2s.files import read_json
from s2s.version import __version__

FORMAT = 1
"""The format of the run directory; it increases when an older s2s can no longer read it."""

PACKAGES = ("torch", "numpy", "pyarrow", "datasets", "sentencepiece", "sacrebleu", "safetensors")
"""Packages whose version may change the results of a run."""


def describe_environment(device: str, seed: int) -> dict[str, Any]:
    """The environment as plain JSON."""
    return {
        "format": FORMAT,
        "s2s": __version__,
        "commit": _commit(Path(__file__).parents[1]),
        "python": platform.python_version(),
        "packages": package_versions(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "device": device,
        "seed": seed,
        "command": sys.argv,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def check_format(path: Path) -> None:
    """Raises `RunError` if a newer s2s wrote the run whose `environment.json` is `path`.

    A run without this file was not trained yet and has any format.
    """
    try:
        content = read_json(path)
        written = content.get("format") if isinstance(content, dict) else None
        if not isinstance(written, int) or isinstance(written, bool) or written < 1:
            raise ValueError("no number of its format")
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        what = f"{path}: expected the environment of a run, found another content or none ({error})"
        raise RunError(f"{what}; restore the file, or delete it") from error
    if written > FORMAT:
        what = f"{path.parent}: written by a newer s2s (run format {written}, this one: {FORMAT})"
        raise RunError(f"{what}; upgrade s2s, or train the run again")


def package_versions() -> dict[str, str | None]:
    """The versions of `PACKAGES`; None for one that is not installed."""
    return {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str | None:
    if package == "torch":
        # Metadata of packages may lack the device of the build, as in 2.11.0+cu130.
        import torch

        return str(torch.__version__)
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit(folder: Path) -> str | None:
    """The git commit of s2s's source, with `+` if it has changes; None for an installed s2s."""
    if not (folder.parent / ".git").exists():
        return None
    head = _git(folder, "rev-parse", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return head and head + ("+" if changed else "")


def _git(folder: Path, *arguments: str) -> str | None:
    command = ("git", "-C", str(folder), *arguments)
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
