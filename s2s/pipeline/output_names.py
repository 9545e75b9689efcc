"""Names of output files: the model that wrote them, and its search."""

from __future__ import annotations

import hashlib
import re
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any

from s2s.recipe.search import Search

if TYPE_CHECKING:
    from s2s.run.checkpoints import Which


ALWAYS = {
    "beam": ("width", "length_penalty"),
    "sample": ("temperature", "seed"),
    "exhaustive": ("nodes",),
    "mbr": ("candidates", "utility"),
    "rerank": ("candidates",),
}
"""Settings that a name always has, even with their default values."""


WORDS = {
    "width": "",
    "length_penalty": "penalty",
    "length_normalization": "",
    "coverage_penalty": "coverage",
}
"""Short names of settings."""


LONGEST_NAME = 120
"""Most bytes of a part of a file's name; most systems allow 255 in all."""


@dataclass(frozen=True, kw_only=True)
class ModelName:
    """The model of an output: a checkpoint of a run, or an ensemble of them."""

    members: tuple[tuple[str, Which], ...]
    """Name of each run, and the step or name of its checkpoint."""
    lm: tuple[str, Which, float] | None = None
    """The same of a language model that search adds, and its weight."""
    glossary: str | None = None
    """The hash of a glossary whose terms outputs have."""

    @property
    def in_file_name(self) -> str:
        """As part of a file's name."""
        (_, first), *others = self.members
        one = f"update{first}" if isinstance(first, int) else first
        if not others:
            return one
        with_others = "+".join((one, *(f"{name}@{checkpoint}" for name, checkpoint in others)))
        return f"ensemble{len(self.members)}-{_short(with_others)}"

    @property
    def in_search_name(self) -> str:
        """What follows the name of the search: the language model and the glossary, if there are
        some."""
        parts = []
        if self.lm is not None:
            name, checkpoint, weight = self.lm
            parts.append(f"-lm-{_short(f'{name}@{checkpoint}')}-{weight:g}")
        if self.glossary is not None:
            parts.append(f"-glossary-{self.glossary}")
        return "".join(parts)

    def __str__(self) -> str:
        """A phrase for a reader."""
        (_, first), *others = self.members
        one = f"update {first:,}" if isinstance(first, int) else f"checkpoint {first}"
        return " + ".join((one, *(f"{name} {checkpoint}" for name, checkpoint in others)))

    def as_json(self) -> dict[str, Any]:
        """The model in an event of the log."""
        (_, first), *others = self.members
        found: dict[str, Any] = {"update" if isinstance(first, int) else "checkpoint": first}
        if others:
            found["ensemble"] = [list(other) for other in others]
        if self.lm is not None:
            found["lm"] = list(self.lm)
        if self.glossary is not None:
            found["glossary"] = self.glossary
        return found


def describe(search: Search) -> str:
    """A search as part of a file's name, different for different searches.

    It has every setting that differs from its default.
    """
    shown = ALWAYS.get(search.kind, ())
    parts = []
    for name in (*shown, *(f.name for f in fields(search) if f.name not in (*shown, "kind"))):
        value = getattr(search, name)
        default = next(f.default for f in fields(search) if f.name == name)
        if name in shown or default is MISSING or value != default:
            plain = name.replace("_", "-")
            word = plain if name == "width" and name not in shown else WORDS.get(name, plain)
            parts.append(word + _in_file_name(value))
    joined = "-".join(parts)
    separator = "" if not joined or joined[0].isdigit() else "-"
    return f"{search.kind}{separator}{_short(joined)}"


def _in_file_name(value: object) -> str:
    """A value as letters and digits, different for different values."""
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    text = "+".join(value) if isinstance(value, tuple) else str(value)
    plain = re.sub(r"[^A-Za-z0-9.+-]+", "_", text)
    return plain if plain == text else f"{plain}-{_digest(text)}"


def _short(text: str) -> str:
    """The text, or its beginning and a hash where it is too long for a file's name."""
    if len(text.encode()) <= LONGEST_NAME:
        return text
    return f"{text[:20]}-{_digest(text)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
