"""Exported models on the Hugging Face hub, in repositories `owner/name`, and in its cache.

The library's cache is used, so that `HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE` mean
what they mean elsewhere. A repository is looked at before a file of it is downloaded: it must be an
exported model without a file that could execute code when it is read.
"""

import errno
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from s2s.errors import RunError, UsageError
from s2s.messages import note
from s2s.run.exported import (
    CARD,
    INFO,
    RECIPE,
    SHORTLIST,
    WEIGHTS,
    check_model,
    is_allowed,
    size_limit,
)

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_NAME = re.compile(rf"({_PART}/{_PART})(?:@([A-Za-z0-9][A-Za-z0-9._/-]{{0,199}}))?")

UNSAFE = (
    *(".bin", ".ckpt", ".dill", ".joblib", ".mar", ".nemo", ".pickle", ".pkl", ".pt", ".pt2"),
    *(".pth", ".py", ".pyc", ".so", ".dll"),
)
"""Suffixes of files that may be pickled or executed."""

PATTERNS = [CARD, INFO, RECIPE, SHORTLIST, WEIGHTS, "tokenizer/*"]
"""Patterns of the library for the files of a model."""

UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
"""Errors of a cache that cannot be written, as where there is no home directory."""

LISTED = 5
"""Most names in a message."""


@dataclass(frozen=True)
class HubName:
    """A repository, and the revision that is asked for."""

    repo: str
    """`owner/name`."""
    revision: str | None = None
    """A commit, tag or branch; None for the newest commit."""

    def __str__(self) -> str:
        return self.repo if self.revision is None else f"{self.repo}@{self.revision}"


def is_hub_name(text: str) -> bool:
    """Whether a text has the form `owner/name` or `owner/name@revision`."""
    found = _NAME.fullmatch(text)
    return found is not None and not any(two in text for two in ("..", "--"))


def parse_hub_name(text: str) -> HubName:
    """A repository and its revision. Raises UsageError for a text of another form."""
    found = _NAME.fullmatch(text)
    if found is None or not is_hub_name(text):
        raise UsageError(
            f"{text[:200]!r}: expected a repository of the hub, owner/name or owner/name@revision"
        )
    return HubName(found[1], found[2])


def pulled(text: str) -> Path:
    """The folder of a model in the cache, which is downloaded if it is not there.

    What is there is used without asking the hub, so that a name means the same model every time;
    `pull` fetches a newer one. Raises as `pull` does.
    """
    name = parse_hub_name(text)
    folder = _cached(name)
    if folder is None:
        note(f"{name}: neither here nor in the cache; asking the hub")
        folder = pull(name)
    return folder


def pull(name: HubName) -> Path:
    """Download a model's newest commit, or its revision, into the cache; returns its folder there.

    Raises RunError for a repository that is no exported model, holds files that may execute code,
    or cannot be reached.
    """
    with reported(name):
        client = api()
        info = client.model_info(name.repo, revision=name.revision, files_metadata=True)
        wanted = _checked(name, info)
        folder = Path(
            client.snapshot_download(name.repo, revision=name.revision, allow_patterns=wanted)
        )
        try:
            check_model(folder, str(name))
        except RunError:  # a file in the cache is damaged, unless the repository is
            client.snapshot_download(
                name.repo, revision=name.revision, allow_patterns=wanted, force_download=True
            )
            check_model(folder, str(name))
    return folder


def api() -> "HfApi":
    """The library's client, without its bars of progress where nobody watches."""
    import huggingface_hub
    from huggingface_hub.utils.logging import set_verbosity
    from huggingface_hub.utils.tqdm import disable_progress_bars

    from s2s.version import __version__

    if not sys.stderr.isatty():
        disable_progress_bars()
    set_verbosity(logging.ERROR)  # errors are raised, and reported by s2s
    return huggingface_hub.HfApi(library_name="s2s", library_version=__version__)


def check_files(name: HubName, files: list[str]) -> list[str]:
    """The names among the files of a repository that belong to the model.

    Raises RunError if it is no exported model, or holds files that may execute code.
    """
    for wanted in (INFO, RECIPE, WEIGHTS):
        if wanted not in files:
            raise RunError(
                f"{name}: no model of s2s: the repository has no {wanted}; 's2s push' makes one"
            )
    unsafe = [file for file in files if PurePosixPath(file).suffix.lower() in UNSAFE]
    if unsafe:
        more = f" and {len(unsafe) - LISTED} more" if len(unsafe) > LISTED else ""
        listed = ", ".join(repr(file[:80]) for file in unsafe[:LISTED])
        raise RunError(
            f"{name}: refused: a model of s2s has no files that may execute code, and this "
            f"repository has {listed}{more}"
        )
    return [file for file in files if is_allowed(file)]


@contextmanager
def reported(name: HubName) -> Iterator[None]:
    """Turn the errors of the library into a RunError of one line, without addresses or tokens."""
    from huggingface_hub.errors import HfHubHTTPError

    # The library has changed its client of HTTP; this is the root of that one's errors.
    transport: type[Exception] = HfHubHTTPError.__bases__[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of several lines, on metadata that may be missing
            yield
    except (transport, OSError) as error:
        raise RunError(f"{name}: {_reason(error)}") from error
    except (RuntimeError, ValueError) as error:  # an upload that failed, metadata that are refused
        cause = error.__cause__
        reason = _answer(cause) if isinstance(cause, HfHubHTTPError) else str(error)
        raise RunError(f"{name}: {' '.join(reason.split())[:300]}") from error


def _reason(error: Exception) -> str:
    """Why something failed, in words."""
    from huggingface_hub import errors

    known = {
        errors.GatedRepoError: "its owner grants access on its page on the hub, to users who are "
        "logged in",
        errors.RepositoryNotFoundError: "no such repository on the hub, or a private one; 'hf auth "
        "login', or the variable HF_TOKEN, gives access to those of your own",
        errors.RevisionNotFoundError: "the repository has no such revision",
        errors.OfflineModeIsEnabled: "not in the cache, and HF_HUB_OFFLINE is set",
        errors.LocalEntryNotFoundError: "not in the cache, and the hub cannot be reached",
        errors.LocalTokenNotFoundError: "no token; 'hf auth login', or the variable HF_TOKEN",
    }
    for kind, words in known.items():  # a gated repository is one that is not found, too
        if isinstance(error, kind):
            return words
    if isinstance(error, errors.HfHubHTTPError):
        return _answer(error)
    strerror = error.strerror if isinstance(error, OSError) else None
    if isinstance(error, OSError) and error.errno in UNWRITABLE and error.filename is not None:
        return (
            f"its cache cannot be written: {error.filename}: {strerror}; the variable HF_HOME "
            "names another folder"
        )
    return strerror or f"the hub cannot be reached ({type(error).__name__})"


def _answer(error: Exception) -> str:
    """What the hub answered, in words."""
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    said = getattr(error, "server_message", None) or ""
    detail = f" ({' '.join(str(said).split())[:200]})" if said else ""
    if status == 401:
        return f"the hub knows no user of this token; 'hf auth login' or HF_TOKEN{detail}"
    if status == 403:
        return f"the hub allows this token no such access{detail}"
    return f"the hub answered with status {status}{detail}"


def _cached(name: HubName) -> Path | None:
    """The folder of a model that is in the cache and complete; None for any other."""
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(
            huggingface_hub.snapshot_download(
                name.repo,
                revision=name.revision,
                allow_patterns=PATTERNS,
                local_files_only=True,
            )
        )
        check_model(folder, str(name))
    except (LocalEntryNotFoundError, RunError):
        return None
    return folder


def _checked(name: HubName, info: "ModelInfo") -> list[str]:
    """The names of the model's files. Raises RunError as `check_files`, and for absurd sizes."""
    siblings = info.siblings or []
    wanted = check_files(name, [one.rfilename for one in siblings])
    for one in siblings:
        limit = size_limit(one.rfilename) if one.rfilename in wanted else None
        if limit is not None and (one.size or 0) > limit:
            raise RunError(
                f"{name}: refused: {one.rfilename} has {one.size:,} bytes, expected {limit:,} at "
                "most"
            )
    return wanted
