"""Completes a recipe with defaults that fit its data.

A run's folder keeps the choices in `defaults.json`, so that preparing and training, minutes apart,
choose the same, and a run whose training has begun keeps them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from s2s.data.preparation.fingerprints import fingerprint
from s2s.data.preparation.prepare import open_splits
from s2s.data.sources.columns import id_columns
from s2s.data.sources.contents import Hashes
from s2s.data.sources.split import read_chunks
from s2s.errors import RunError, UsageError
from s2s.pipeline.progress import progress
from s2s.pipeline.transfer import described_tokenizer, inherited
from s2s.recipe.data import GeneratedData, evaluated_of, has_source_text, image_features_of
from s2s.recipe.load import Draft
from s2s.recipe.recipe import Recipe
from s2s.recipe.tokenizer import taken_over
from s2s.recipe.yaml import Keys
from s2s.run.directory import RUNS, Run
from s2s.tasks.defaults.choice import Choice, says_everything
from s2s.tasks.defaults.counts import PairCounts, count_pairs

FORMAT = 1
"""Version of the rules; of another version, untrained runs choose again."""


class Completed(NamedTuple):
    """A recipe with a value for every field."""

    recipe: Recipe
    choices: tuple[str, ...] = ()
    """A line for each new choice, after one that introduces them, for the user."""


def complete(
    recipe: Recipe | Draft, *, runs: Path = RUNS, device: str = "auto", restart: bool = False
) -> Completed:
    """Complete a draft with values that fit its data; a `Recipe` has every value already.

    Raises DataError for data that cannot be read, RecipeError where what a draft says excludes a
    choice, RunError where training has begun with choices that can no longer be read.
    """
    if not isinstance(recipe, Draft):
        return Completed(recipe)
    if says_everything(recipe) and recipe.recipe.train.init_from is None:
        return Completed(recipe.recipe)
    folder = runs / recipe.name
    kept = None if restart else _read(folder)
    if not restart and _has_begun(folder):
        if kept is None and (path := Run(folder).defaults_path).exists():
            raise RunError(
                f"{path}: expected the values that were chosen for this run, found something else; "
                "restore the file, or start over: --restart"
            )
        return Completed(_completed(recipe, [] if kept is None else kept[1]))
    key, before = keys_of(recipe, device, runs)
    if kept is not None and kept[0] in (key, before):
        return Completed(_completed(recipe, kept[1]))
    choices = choose(recipe, device, runs)
    completed = _completed(recipe, choices)
    Run.create(completed, runs).write_defaults(_content(key, choices))
    return Completed(completed, tuple(described(folder, choices)))


def adopt(draft: Draft, choices: Sequence[Choice], *, runs: Path, device: str) -> Recipe:
    """Complete a draft with choices that were made for another one, and have `complete` do so too;
    a run whose training has begun keeps its own.

    The caller holds the run's lock. Raises RecipeError where what the draft says excludes a choice.
    """
    folder = runs / draft.name
    if _has_begun(folder):
        return complete(draft, runs=runs, device=device).recipe
    own = [Choice(values, one.reason) for one in choices if (values := _unsaid(draft, one))]
    completed = _completed(draft, own)
    run = Run.create(completed, runs)
    run.check_same(completed)
    run.write_defaults(_content(keys_of(draft, device, runs)[0], own))
    return completed


def _unsaid(draft: Draft, choice: Choice) -> dict[Keys, Any]:
    return {keys: value for keys, value in choice.values.items() if not draft.says(keys)}


def described(folder: Path, choices: Sequence[Choice]) -> list[str]:
    """The choices in lines for the user; none where the recipe says everything."""
    if not choices:
        return []
    head = f"{folder}: chosen to fit the data, since the recipe does not say it:"
    return [head, *(f"  {choice}" for choice in choices)]


def count(recipe: Recipe) -> PairCounts:
    """The counts of the recipe's training pairs. Raises DataError for data that cannot be read."""
    data = recipe.data
    part = evaluated_of(data)
    has_features = not isinstance(part, GeneratedData) and part.columns.source_features is not None
    with progress() as report:
        chunks = read_chunks(
            open_splits(recipe)["train"], lambda done, total: report("counting", done, total)
        )
        return count_pairs(
            chunks,
            has_text=has_source_text(data),
            num_ids=len(id_columns(image_features_of(data))),
            has_features=has_features,
        )


def choose(draft: Draft, device: str, runs: Path) -> list[Choice]:
    """Count the data and choose; writes nothing. Imports PyTorch, to measure the machine.

    What comes from a run in `runs` with `train.init_from` is not chosen. Raises DataError for data
    that cannot be read, UsageError for a run that does not exist.
    """
    given = inherited(draft, runs)
    known = _with_choices(draft, given)
    if says_everything(known):
        return given
    if taken_over(known.recipe.tokenizer):
        known = _with_choices(known, [], {"tokenizer": described_tokenizer(known.recipe, runs)})
    from s2s.nn.device import choose_device
    from s2s.tasks.defaults.choose import choose_defaults

    counts = count(draft.recipe)
    return [*given, *choose_defaults(known, counts, choose_device(device)).choices]


def _with_choices(
    draft: Draft, choices: Sequence[Choice], values: Mapping[str, Any] | None = None
) -> Draft:
    """The draft as if it said these choices and, at its top, these `values`."""
    recipe = _completed(draft, list(choices))
    data = {**copy.deepcopy(draft.data), **(values or {})}
    for choice in choices:
        for keys, value in choice.values.items():
            *sections, key = map(str, keys)
            section = data
            for name in sections:
                section = section.setdefault(name, {})
            section[key] = value
    changed = replace(draft, recipe=recipe, data=data)
    return changed if values is None else replace(changed, recipe=changed.completed({}))


def _completed(draft: Draft, choices: list[Choice]) -> Recipe:
    return draft.completed(
        {keys: value for choice in choices for keys, value in choice.values.items()}
    )


def _has_begun(folder: Path) -> bool:
    """Whether the training of the run in `folder` has begun."""
    try:
        return Run.open(folder).checkpoints().last is not None
    except UsageError:
        return False


def keys_of(draft: Draft, device: str, runs: Path) -> tuple[str, str]:
    """What the choices depend on: the draft, its training data, the device. Cheap, as the folder
    of the run keeps the hashes of files.

    The second key has files by path, size and time, as earlier versions wrote it. Raises DataError
    for a missing file.
    """
    content = {
        "draft": draft.data,
        "train": open_splits(draft.recipe)["train"].fingerprint(),
        "device": device,
        "format": FORMAT,
        **_origin_key(draft, runs),
    }
    found = fingerprint(content, Hashes(runs / draft.name))
    return found.now, found.before


def _origin_key(draft: Draft, runs: Path) -> dict[str, Any]:
    """What the choices depend on in other runs; empty for a recipe that takes nothing over."""
    train = draft.recipe.train
    others = train.init_from or train.distill
    if others is None and not taken_over(draft.recipe.tokenizer):
        return {}
    given = plain_choices(inherited(draft, runs))
    return {"origin": [given, described_tokenizer(draft.recipe, runs)]}


def _content(key: str, choices: list[Choice]) -> dict[str, Any]:
    return {"key": key, "choices": plain_choices(choices)}


def plain_choices(choices: Sequence[Choice]) -> list[dict[str, Any]]:
    """Choices as JSON, which `read_choices` reads."""
    listed = []
    for one in choices:
        values = [[list(keys), value] for keys, value in one.values.items()]
        listed.append({"values": values, "reason": one.reason})
    return listed


def read_choices(content: Any) -> list[Choice]:
    """Raises KeyError, TypeError or ValueError for anything but what `plain_choices` made."""
    return [
        Choice({_keys(keys): value for keys, value in one["values"]}, str(one["reason"]))
        for one in content
    ]


def _read(folder: Path) -> tuple[str, list[Choice]] | None:
    """The key and the choices that a run's folder keeps; None if it keeps none."""
    content = Run(folder).read_defaults()
    try:
        return str(content["key"]), read_choices(content["choices"])
    except (KeyError, TypeError, ValueError):
        return None


def _keys(listed: Any) -> Keys:
    if not isinstance(listed, list) or not listed:
        raise ValueError("no keys")
    return tuple(str(key) for key in listed)
