"""What a recipe takes over from trained runs: found by name, and copied into the run's folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2s.data.sources.chunks import file_fingerprint
from s2s.errors import DataError, UsageError
from s2s.files import remove
from s2s.messages import note
from s2s.recipe.load import plain_recipe
from s2s.recipe.section import names_of
from s2s.recipe.tokenizer import taken_over
from s2s.recipe.yaml import Keys
from s2s.run.checkpoints import read_which
from s2s.run.finding import find_named_run
from s2s.run.origin import copy_tokenizers, copy_weights, read_name, weights_folder
from s2s.tasks.defaults.choice import Choice
from s2s.text.subword import Subwords
from s2s.text.taken_tokenizer import taken_folder, text_tokenizer
from s2s.text.tokenizer_pair import TokenizerPair, load_tokenizers
from s2s.text.vocabulary import Characters

if TYPE_CHECKING:
    from s2s.recipe.load import Draft
    from s2s.recipe.recipe import Recipe
    from s2s.recipe.transfer import InitFrom
    from s2s.run.directory import Run
    from s2s.text.tokenizer import Tokenizer

INIT_FROM = "train.init_from.run"

OWN = ("dropout", "pretrained")
"""Fields of `model` that fit data or say how weights begin, so that another run's do not count."""

CHOSEN = ("embeddings", "encoder", "decoder", "tied", "copy")
"""Fields of `model` that would be chosen to fit the data if another run did not say them."""


OF_ANY_TASK = ("embeddings", "encoder", "characters")
"""Fields of `model` that mean the same in models of other kinds."""

TASK_FAMILIES = {"lm": "lm", "classify": "classify", "tag": "tag"}
"""Tasks whose models have decoders of their own; those of all others are alike."""


def take_over(run: Run, recipe: Recipe) -> None:
    """Copy into a run's folder what its recipe takes over: tokenizers, and before training begins
    weights.

    A run whose training has begun keeps its copies; where another run is gone, so does one whose
    training has not. The caller holds the lock of the run.

    Raises UsageError for a run that does not exist, RunError for one that cannot be read.
    """
    has_begun = run.checkpoints().last is not None
    for place, section in taken_over(recipe.tokenizer).items():
        folder = taken_folder(run.folder, place)
        if not (has_begun and folder.is_dir()):
            _copy(
                run,
                f"{place}.run",
                section.run,
                folder,
                partial(_copy_tokenizers, section.run, folder),
            )
    if not has_begun:
        _check_vectors(recipe)
    init = recipe.train.init_from
    if init is None and not has_begun:
        remove(weights_folder(run.folder))
    if init is not None and not has_begun:
        which = read_which(init.checkpoint, "train.init_from.checkpoint")
        folder = weights_folder(run.folder)
        _copy(
            run,
            INIT_FROM,
            init.run,
            folder,
            lambda source: copy_weights(source, init.run, which, run.folder),
        )


def _check_vectors(recipe: Recipe) -> None:
    """Raise DataError for a file of vectors that is not there, before data are prepared."""
    for side, path in vars(recipe.model.pretrained).items() if recipe.model.pretrained else ():
        try:
            if path is not None:
                file_fingerprint(Path(path))
        except DataError as error:
            raise DataError(f"model.pretrained.{side}: {error}") from error


def _copy_tokenizers(name: str, folder: Path, source: Run) -> None:
    load_tokenizers(source.tokenizer_folder)  # a fault is that of the other run
    copy_tokenizers(source, name, folder)


def _copy(run: Run, place: str, name: str, folder: Path, copy: Callable[[Run], object]) -> None:
    """Copy from the run that a place of the recipe names, unless only the copy is left of it."""
    try:
        source = find_named_run(place, name, run.folder.parent)
    except UsageError:
        if read_name(folder) != name:
            raise
        note(f"{place}: {name} is gone; its copy in {folder} is used")
        return
    if source.folder.resolve() == run.folder.resolve():
        raise UsageError(
            f"{place}: {name} is this run itself; give it another name (--set name=NEW)"
        )
    copy(source)


def inherited(draft: Draft, runs: Path) -> list[Choice]:
    """What a draft with `train.init_from` has from that run where it says nothing: the model, but
    for dropout, and with all parts the tokenizers. Of a language model another task has what fits.
    A draft whose teachers' distributions are in the loss has the first one's tokenizers.

    Raises UsageError for a run that does not exist.
    """
    init = draft.recipe.train.init_from
    if init is None:
        return _of_teacher(draft)
    reason = f"as in {init.run}, with whose weights training begins"
    found = []
    if init.parts == "all" and not draft.says(("tokenizer",)):
        taken = {"kind": "from_run", "run": init.run}
        found.append(Choice({("tokenizer",): taken}, reason))
    other = find_named_run(INIT_FROM, init.run, runs).recipe
    model = plain_recipe(other)["model"]
    if other.task == "lm" and draft.recipe.task not in TASK_FAMILIES:
        model = _of_language_model(model, init)
    elif TASK_FAMILIES.get(other.task) != TASK_FAMILIES.get(draft.recipe.task):
        model = {key: value for key, value in model.items() if key in OF_ANY_TASK}
    fixed = plain_recipe(draft.recipe)["model"]
    values: dict[Keys, Any] = {
        ("model", key): value
        for key, value in model.items()
        if key not in OWN
        and not draft.says(("model", key))
        and (key in CHOSEN or value != fixed[key])
    }
    if values:
        found.append(Choice(values, reason))
    return found


def _of_teacher(draft: Draft) -> list[Choice]:
    """The tokenizers of the first teacher (`train.distill`), where tokens are compared."""
    distill = draft.recipe.train.distill
    if distill is None or not distill.has_distributions or draft.says(("tokenizer",)):
        return []
    name = names_of(distill.teacher)[0]
    taken = {"kind": "from_run", "run": name}
    return [Choice({("tokenizer",): taken}, f"those of {name}, whose distributions are compared")]


def _of_language_model(model: dict[str, Any], init: InitFrom) -> dict[str, Any]:
    """What a model of a source has of a language model's: the width of embeddings, whether they are
    the output layer, and where it takes over the layers, these."""
    found = {key: model[key] for key in ("embeddings", "tied")}
    if "decoder" in init.named:
        found["decoder"] = {**model["decoder"], "kind": "luong"}
    return found


def described_tokenizer(recipe: Recipe, runs: Path) -> dict[str, Any]:
    """The recipe's `tokenizer` as plain values, with what a tokenizer that is taken over is.

    Raises UsageError for a run that does not exist, RunError for tokenizers that cannot be read.
    """
    plain: dict[str, Any] = plain_recipe(recipe)["tokenizer"]
    for place, section in taken_over(recipe.tokenizer).items():
        run = find_named_run(f"{place}.run", section.run, runs)
        pair = load_tokenizers(run.tokenizer_folder)
        side = place.partition(".")[2]
        if side:
            plain[side] = _section(pair.source if side == "source" else pair.target)
        else:
            plain = _section_of_pair(pair)
    return plain


def _section_of_pair(pair: TokenizerPair) -> dict[str, Any]:
    if pair.is_shared:
        return _section(pair.source)
    return {
        "kind": "separate",
        "source": _section(pair.source),
        "target": _section(pair.target),
        "source_features": None,
    }


def _section(tokenizer: Tokenizer) -> dict[str, Any]:
    """A section that describes a trained tokenizer well enough to choose by it."""
    match text_tokenizer(tokenizer):
        case Subwords() as found:
            return {"kind": "unigram", "vocabulary": found.size}
        case Characters():
            return {"kind": "character"}
        case found:
            return {"kind": "word", "vocabulary": found.size}
