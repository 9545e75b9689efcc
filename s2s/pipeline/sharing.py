"""Passes models on through the Hugging Face hub."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from s2s.errors import UsageError
from s2s.pipeline.exporting import ExportOptions, check_target, size_of, write_model, written
from s2s.run.exported import CARD, is_allowed, read_info
from s2s.run.hub import PATTERNS, HubName, api, check_files, reported
from s2s.run.hub import pull as pull_into_cache

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from s2s.run.directory import Run
    from s2s.run.exported import ModelInfo

NEW = frozenset({".gitattributes", "README.md"})
"""The files that a repository may have before the first model."""


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """A model on the hub."""

    name: HubName
    revision: str
    """The commit, which pins the model."""
    is_private: bool
    address: str
    size: int
    """Bytes of the model."""

    def __str__(self) -> str:
        visible = "private" if self.is_private else "public"
        return f"{self.name}: {visible}, {self.size / 1e6:.1f} MB, {self.address}"


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """A model from the hub, on this machine."""

    name: HubName
    path: Path
    """The folder in the cache, or the copy."""
    info: ModelInfo

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.name}, {self.info.parameters:,} parameters, "
            f"{self.info.precision}, {size_of(self.path) / 1e6:.1f} MB"
        )


def push(
    run: Run,
    name: HubName,
    options: ExportOptions | None = None,
    *,
    private: bool = True,
    keep_card: bool = False,
) -> Pushed:
    """Export a model into a repository of the hub, which is made if there is none.

    `private` is the visibility of a new repository; that of another stays as it is, and a public
    one takes no model that is meant to be private. The model
    replaces an earlier one there, in a new commit; with `keep_card`, README.md stays. Raises
    UsageError without a token, RunError for a repository of something else and where the hub
    refuses.
    """
    if name.revision is not None:
        raise UsageError(f"{name}: expected owner/name; a model is pushed as the newest commit")
    options = options or ExportOptions()
    options = replace(options, card=replace(options.card, repo=name.repo))
    with reported(name):
        client = api()
        if client.token is None and not _has_token():
            raise UsageError(
                f"{name}: pushing needs a token of the hub: 'hf auth login', or the variable "
                "HF_TOKEN"
            )
        with tempfile.TemporaryDirectory(prefix="s2s-push-") as temporary:
            folder = Path(temporary)
            info = write_model(run, folder, options)
            _prepare_repository(client, name, private=private)
            commit = client.upload_folder(
                repo_id=name.repo,
                folder_path=folder,
                commit_message=f"{info.name}, checkpoint {info.checkpoint}, {info.precision}",
                delete_patterns=[one for one in PATTERNS if one != CARD],
                ignore_patterns=[CARD] if keep_card else None,
            )
            size = size_of(folder)
        found = client.model_info(name.repo)
    return Pushed(
        name=name,
        revision=commit.oid,
        is_private=bool(found.private),
        address=f"{client.endpoint}/{name.repo}",
        size=size,
    )


def pull(name: HubName, target: Path | None = None, *, force: bool = False) -> Pulled:
    """Download a model into the cache of the hub's library, and copy it to `target`, if given.

    `target` is a file or folder as in `export`. Raises UsageError for a target that exists,
    RunError for a repository that is no model of s2s.
    """
    if target is not None:
        check_target(target, force=force)
    folder = pull_into_cache(name)
    if target is not None:
        with written(target) as there:
            for path in sorted(folder.rglob("*")):
                file = path.relative_to(folder).as_posix()
                if path.is_file() and is_allowed(file):
                    (there / file).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, there / file)
    info = read_info(folder, str(name))
    return Pulled(name=name, path=target or folder, info=info)


def _has_token() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None


def _prepare_repository(client: HfApi, name: HubName, *, private: bool) -> None:
    """Make the repository, or check that it holds an earlier model or nothing."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        found = client.model_info(name.repo)
    except RepositoryNotFoundError:
        client.create_repo(name.repo, private=private)
        return
    files = [one.rfilename for one in found.siblings or []]
    if not NEW.issuperset(files):
        check_files(name, files)
    if private and not found.private:
        raise UsageError(f"{name}: everyone can read this repository; --public pushes to it")
