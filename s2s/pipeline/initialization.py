"""Writes a first recipe for data: what `s2s init` does."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2s.data.sources.inspect import FoundData, inspect
from s2s.errors import DataError, UsageError
from s2s.files import write_output
from s2s.messages import UNPRINTABLE, printable
from s2s.pipeline.defaults import count
from s2s.recipe.load import DEFAULT_RECIPE, Draft, dump_values, parse_draft
from s2s.recipe.section import DURATION, seconds_of
from s2s.recipe.yaml import Keys, flow
from s2s.text.lines import is_standard

if TYPE_CHECKING:
    from s2s.tasks.defaults.choice import Choice
    from s2s.tasks.defaults.choose import Chosen
    from s2s.tasks.defaults.counts import PairCounts

HELD_OUT = 1000
"""Pairs to hold out for validation, and as many for test, of a corpus that is large enough."""

LARGEST_SHARE = 0.1
"""Share of a smaller corpus that is held out for each."""

FEWEST_PAIRS = 20
"""Pairs below which a recipe is not worth writing."""

VALIDATION_SHARE = 0.1
"""Assumed share of a training's time that validation takes."""

COLUMN = 32
"""Column in which comments begin."""


@dataclass(frozen=True)
class Initialization:
    """A recipe that was written."""

    path: Path
    pairs: int
    minutes: float | None
    """Estimated minutes of training on this machine."""


def initialize(
    data: Sequence[str],
    *,
    path: Path = DEFAULT_RECIPE,
    columns: Sequence[str] = (),
    budget: str | None = None,
    force: bool = False,
    device: str = "auto",
) -> Initialization:
    """Write a recipe for data files or a data set, with a comment on every line.

    `columns` are the source's and the target's, where names do not tell. Raises UsageError if
    `path` exists and `force` is not set, DataError for data that no recipe can describe.
    """
    if not is_standard(path) and path.exists() and not force:
        raise UsageError(f"{path}: exists; -o names another file, --force replaces it")
    if budget is not None and not re.fullmatch(DURATION, budget):
        raise UsageError(
            f"--budget {budget}: expected a time with its unit, such as '90 s', '15 min' or '2 h'"
        )
    found = inspect(data, columns)
    _check_columns(data[0], found.section.get("columns", {}))
    section = dict(found.section)
    counts = count(_draft(path, section, "").recipe)
    if len(counts.targets_of) < FEWEST_PAIRS:
        raise DataError(
            f"{data[0]}: expected at least {FEWEST_PAIRS} different sources, found "
            f"{len(counts.targets_of)} in {counts.pairs:,} pairs"
        )
    lines = _data_lines(section, found, counts)
    train = [] if budget is None else ["train:", _line(f"  budget: {budget}", "time for training")]
    draft = _draft(path, section, "\n".join((*lines, *train)))
    chosen = _choose(draft, counts, device)
    minutes = _minutes(draft, chosen)
    text = "\n".join(
        [
            *_head(path, data, counts, minutes, chosen),
            "",
            _line("task: translation", "text into text, whatever their relation"),
            "",
            *lines,
            *(["", *train] if train else []),
            "",
            *_tail(chosen.choices),
        ]
    )
    parse_draft(path, text.encode())  # what is written can be read
    write_output(path, text)
    return Initialization(path, counts.pairs, minutes)


def _check_columns(place: str, columns: Mapping[str, str]) -> None:
    """Raises DataError for the name of a column that no recipe can hold."""
    for name in columns.values():
        if UNPRINTABLE.search(name):
            raise DataError(
                f"{place}: the column {name!r} has control characters in its name, which a recipe "
                "cannot hold; rename it in the table"
            )


def _draft(path: Path, section: dict[str, Any], body: str) -> Draft:
    """The draft of a recipe with these lines; without any, of one with the section alone."""
    text = body or "\n".join(_data_section(section, {}))
    return parse_draft(path, f"task: translation\n{text}\n".encode())


def _choose(draft: Draft, counts: PairCounts, device: str) -> Chosen:
    from s2s.nn.device import choose_device
    from s2s.tasks.defaults.choose import choose_defaults

    return choose_defaults(draft, counts, choose_device(device))


def _minutes(draft: Draft, chosen: Chosen) -> float | None:
    """The estimated time of training: that of all epochs, or the budget if it is shorter."""
    if chosen.epoch_seconds is None:
        return None
    values = {keys: value for one in chosen.choices for keys, value in one.values.items()}
    train = draft.completed(values).train
    seconds = train.epochs * chosen.epoch_seconds / (1.0 - VALIDATION_SHARE)
    if train.budget is not None:
        seconds = min(seconds, seconds_of(train.budget))
    return seconds / 60.0


def _data_lines(section: dict[str, Any], found: FoundData, counts: PairCounts) -> list[str]:
    """The recipe's `data`, held-out pairs and filters included."""
    missing = [split for split in ("validation", "test") if split not in found.splits]
    extra: dict[str, Any] = {}
    notes = dict(found.notes)
    if missing:
        share = round(min(LARGEST_SHARE, HELD_OUT / counts.pairs), 4)
        extra["hold_out"] = {
            "share": share if "validation" in missing else 0.0,
            **({"test": share} if "test" in missing else {}),
        }
        some = f"some {round(share * counts.pairs):,} pairs"
        notes["hold_out"] = f"{some} for {' and as many for '.join(missing)}, not trained on"
    extra["filters"] = {"unseen": "sources"}
    notes["filters"] = "nothing is trained on whose source is in validation or test"
    if section["kind"] == "dataset":
        notes["splits"] = "the data set's names; null for none"
    return _data_section({**section, **extra}, notes)


def _data_section(section: dict[str, Any], notes: dict[str, str]) -> list[str]:
    kinds = {
        "files": "your own files; paths begin in the folder of the command",
        "dataset": "a data set of the hub, or a folder of its layout",
    }
    lines = ["data:"]
    for key, value in section.items():
        note = kinds[value] if key == "kind" else notes.get(key, "")
        lines.append(_line(f"  {key}: {flow(value)}", note))
    return lines


def _head(
    path: Path, data: Sequence[str], counts: PairCounts, minutes: float | None, chosen: Chosen
) -> list[str]:
    what = " and ".join(Path(name).name or name for name in data[:2])
    time = "" if minutes is None else f"{_rounded(minutes)} on this machine"
    values = {keys: value for one in chosen.choices for keys, value in one.values.items()}
    is_prose = values.get(("train", "best"), "bleu") in ("bleu", "chrf")
    commands = {
        "s2s train" + ("" if path == DEFAULT_RECIPE or is_standard(path) else f" {path}"): time,
        "s2s translate < input.txt": "any text of the source's kind, a line for a line",
        "s2s bleu" if is_prose else "s2s evaluate": "scores the test set",
    }
    return [
        f"# {printable(what)}: {counts.pairs:,} pairs.",
        "#",
        *(f"#     {command:26}# {note}".rstrip("# ") for command, note in commands.items()),
        "#",
        "# A line here decides; the rest is chosen to fit the data. `s2s recipes schema` has all.",
    ]


def _tail(choices: Sequence[Choice]) -> list[str]:
    """The choices as comments: what the recipe does not say."""
    values: dict[str, Any] = {}
    reasons: dict[Keys, str] = {}
    for choice in choices:
        for place, (keys, value) in enumerate(choice.values.items()):
            section = values
            for key in keys[:-1]:
                section = section.setdefault(str(key), {})
            section[str(keys[-1])] = value
            reasons[keys] = choice.reason if place == 0 else "likewise"
    head = "# What the recipe does not say; to change a line, write it into its section above:"
    block = dump_values(values, reasons).splitlines()
    return [head, "#", *(f"#   {line}" for line in block), ""]


def _line(text: str, comment: str) -> str:
    """A line with its comment, which long lines have above them."""
    if not comment:
        return text
    comment = printable(comment)
    if len(text) < COLUMN:
        return f"{text:{COLUMN}}# {comment}"
    indent = " " * (len(text) - len(text.lstrip()))
    return f"{indent}# {comment}\n{text}"


def _rounded(minutes: float) -> str:
    return "about a minute" if minutes < 1.5 else f"some {minutes:.0f} minutes"
