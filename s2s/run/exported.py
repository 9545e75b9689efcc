"""The folder of an exported model: all that translating needs, and nothing else.

    recipe.yaml             the complete recipe; may be edited (`search`)
    model.safetensors       the weights of one checkpoint, see `s2s.nn.stored_weights`
    tokenizer/              as in a run
    shortlist.safetensors   as in a run, if it has one
    model.json              format, versions, precision, checkpoint, scores; hashes of these files
    README.md               the model card

It comes from others, so it is checked before it is read: the files, their sizes and hashes. No file
is ever unpickled or imported.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

from s2s.errors import RunError
from s2s.files import read_json
from s2s.recipe.choices import SearchPrecision

FORMAT = 1
"""The format of an exported model; it increases when an older s2s can no longer read it."""

INFO, RECIPE, WEIGHTS, CARD = "model.json", "recipe.yaml", "model.safetensors", "README.md"
SHORTLIST = "shortlist.safetensors"

_TOKENIZER = re.compile(
    r"tokenizer/(tokenizers\.json|(shared|source|target)/(features/)?"
    r"(sentencepiece\.model|vocabulary\.json|tags\.json))"
)

MEBI = 2**20
LIMITS = {INFO: MEBI, RECIPE: MEBI, CARD: MEBI}
"""Largest sizes in bytes of files that are parsed as a whole."""
TOKENIZER_LIMIT = 256 * MEBI


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a model card states of a training, beside the recipe."""

    pairs: dict[str, int] = field(default_factory=dict)
    """Pairs of each split."""
    in_train: dict[str, int] = field(default_factory=dict)
    """How many of them are in training too."""
    vocabularies: tuple[int, ...] = ()
    """Sizes of the source's and the target's vocabulary."""
    scores: tuple[dict[str, Any], ...] = ()
    """Results of a split and a search: `split`, `search`, and `scores` by name."""


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """The content of `model.json`."""

    format: int
    s2s: str
    """Version of s2s that exported the model."""
    name: str
    """Name of the run."""
    checkpoint: str
    """Update or name of the checkpoint."""
    precision: SearchPrecision
    """Precision of the stored matrices of search."""
    parameters: int
    packages: dict[str, str | None] = field(default_factory=dict)
    """Versions of packages that may change outputs."""
    facts: Facts = field(default_factory=Facts)
    files: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each file that is not to be edited."""

    def as_json(self) -> str:
        """The text of the file."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"


def is_exported(folder: Path) -> bool:
    """Whether a folder holds an exported model."""
    return (folder / INFO).is_file()


def is_allowed(name: str) -> bool:
    """Whether an exported model may have a file of this name, with `/` between folders."""
    return name in (INFO, RECIPE, WEIGHTS, CARD, SHORTLIST) or bool(_TOKENIZER.fullmatch(name))


def size_limit(name: str) -> int | None:
    """The largest size of a file in bytes; None for one that is only mapped."""
    if name in LIMITS or not name.startswith("tokenizer/"):
        return LIMITS.get(name)
    return TOKENIZER_LIMIT


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of the files of a model that are not to be edited, by name."""
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*"))]
    wanted = [n for n in names if is_allowed(n) and n not in LIMITS and (folder / n).is_file()]
    return {name: _sha256(folder / name) for name in wanted}


def read_info(folder: Path, place: str) -> ModelInfo:
    """The content of a model's `model.json`. Raises RunError if it is damaged or newer."""
    path = folder / INFO
    try:
        _check_size(path, INFO)
        content = read_json(path)
        written = content["format"]
        if isinstance(written, int) and written > FORMAT:
            raise RunError(
                f"{place}: exported by a newer s2s (format {written}, this one: {FORMAT}); upgrade "
                "s2s, or export the model again"
            )
        return _info(content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise RunError(f"{place}: {INFO}: expected the record of a model, found another") from error


def check_model(folder: Path, place: str) -> ModelInfo:
    """The record of an exported model whose files are all there and unchanged.

    Raises RunError, naming `place`, for any other folder.
    """
    info = read_info(folder, place)
    for name in (RECIPE, WEIGHTS, "tokenizer/tokenizers.json"):
        if not (folder / name).is_file():
            raise RunError(f"{place}: incomplete: no {name}; export, or pull, it again")
    if WEIGHTS not in info.files:
        raise RunError(f"{place}: {INFO}: no hash of {WEIGHTS}")
    _check_size(folder / RECIPE, RECIPE)
    try:
        found = hashes(folder)
    except OSError as error:
        raise RunError(f"{place}: cannot read it: {error.strerror}") from error
    for name in sorted(found.keys() | info.files.keys()):
        if found.get(name) != info.files.get(name):
            state = "missing" if name not in found else "not the file that was exported"
            raise RunError(f"{place}: damaged: {name!r} is {state}; export, or pull, it again")
    return info


def _info(content: Mapping[str, Any]) -> ModelInfo:
    """Raises ValueError, TypeError or KeyError for anything but the content of a record."""
    facts = content["facts"]
    scores = tuple(facts["scores"])
    for one in scores:
        _mapping(one, str | dict)
        for score in one["scores"].values():
            float(score["value"]), str(score["signature"])
    info = ModelInfo(
        format=content["format"],
        s2s=content["s2s"],
        name=content["name"],
        checkpoint=content["checkpoint"],
        precision=content["precision"],
        parameters=content["parameters"],
        packages=_mapping(content["packages"], str | None),
        facts=Facts(
            pairs=_mapping(facts["pairs"], int),
            in_train=_mapping(facts["in_train"], int),
            vocabularies=tuple(int(size) for size in facts["vocabularies"]),
            scores=scores,
        ),
        files=_mapping(content["files"], str),
    )
    texts = (info.s2s, info.name, info.checkpoint)
    if not all(isinstance(text, str) and text.isprintable() for text in texts):
        raise ValueError("texts")
    if not isinstance(info.format, int) or not isinstance(info.parameters, int):
        raise ValueError("numbers")
    if info.precision not in get_args(SearchPrecision):
        raise ValueError("precision")
    return info


def _mapping(value: Any, kind: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(one, kind) for one in value.values()):
        raise ValueError("a mapping")
    return cast(dict[str, Any], value)


def _check_size(path: Path, name: str) -> None:
    limit = size_limit(name)
    size = path.stat().st_size
    if limit is not None and size > limit:
        raise RunError(f"{path}: expected {limit:,} bytes at most, found {size:,}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
