"""Prepared data of one run in another, without preparing them again.

A fingerprint names all that tokenizers and encoded data depend on, so folders with equal ones hold
the same. Their files are never changed in place: every preparation replaces the whole folder.
Therefore they may be hard links, which take no space and outlive the run that they come from.
"""

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from s2s.data.features.lookup import FEATURES_FOLDER
from s2s.data.preparation.fingerprints import Fingerprint
from s2s.errors import RunError
from s2s.files import TEMPORARY, atomic_folder, remove

PARTS = ("tokenizer", "data")
"""The folders in the order in which they are made: the second depends on the first."""


def share_prepared(
    source: Path, target: Path, fingerprints: Mapping[str, Fingerprint]
) -> tuple[str, ...]:
    """Link those parts of the run in `source` that have these fingerprints into that in `target`,
    where they are missing; the names of the parts that were linked.

    Both runs are locked by the caller. Copies where links cannot be made. Raises RunError if
    `target` cannot be written.
    """
    done: list[str] = []
    try:
        for part in PARTS:
            if fingerprints[part].matches(target / part):
                continue
            if not fingerprints[part].matches(source / part):
                break
            with atomic_folder(target / part) as temporary:
                link_files(source / part, temporary, copies=True)
            if part == "tokenizer":  # data encoded by another must not stay beside it
                remove(target / "data")
            done.append(part)
        if done and (source / FEATURES_FOLDER).is_dir():
            # Without links they are made again: an interrupted copy would look whole.
            link_files(source / FEATURES_FOLDER, target / FEATURES_FOLDER, copies=False)
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"{error.filename or target}: cannot write there: {reason}") from error
    return tuple(done)


def share_made(
    run_folder: Path,
    pattern: str,
    target: Path,
    digest_of: Callable[[Path], str | None],
    wanted: str,
) -> bool:
    """Link what another run beside `run_folder` has made into `target`: the first folder that
    matches `pattern` within a run and of which `digest_of` is `wanted`. Whether there is one.

    Raises OSError if `target` cannot be written.
    """
    for found in sorted(run_folder.parent.glob(f"*/{pattern}")):
        if found == target or found.is_symlink() or digest_of(found) != wanted:
            continue
        with suppress(FileNotFoundError), atomic_folder(target) as temporary:
            link_files(found, temporary, copies=True)
            if digest_of(found) != wanted or digest_of(temporary) != wanted:
                raise FileNotFoundError(found)  # made anew or deleted meanwhile
        if digest_of(target) == wanted:
            return True
    return False


def link_files(source: Path, target: Path, *, copies: bool) -> None:
    """Link the files of a folder that `target` does not have."""
    for path in sorted(source.rglob("*")):
        there = target / path.relative_to(source)
        if path.name.startswith(TEMPORARY) or not path.is_file() or there.exists():
            continue
        there.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, there)
        except OSError:  # another disk, or a file system without links
            if copies:
                shutil.copy2(path, there)
