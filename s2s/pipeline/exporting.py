"""Exports a run's model: all that translating needs, as a folder or as one file."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2s.data.preparation.report import PrepareReport
from s2s.errors import RunError, UsageError
from s2s.files import atomic_folder, atomic_write
from s2s.pipeline.model_card import CardOptions, model_card
from s2s.run.checkpoints import save_tensors
from s2s.run.environment import package_versions
from s2s.run.exported import (
    CARD,
    FORMAT,
    INFO,
    RECIPE,
    SHORTLIST,
    WEIGHTS,
    Facts,
    ModelInfo,
    hashes,
    is_allowed,
    is_exported,
    read_info,
)
from s2s.run.history import has_scores
from s2s.run.model_file import SUFFIX, write_model_file
from s2s.version import __version__

if TYPE_CHECKING:
    from s2s.recipe.choices import SearchPrecision
    from s2s.run.checkpoints import Which
    from s2s.run.directory import Run

_LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What is exported of a run."""

    checkpoint: Which = "best"
    precision: SearchPrecision | None = None
    """Precision of the matrices of search; None for fp32, or for that of an exported model."""
    card: CardOptions = field(default_factory=CardOptions)
    """What the recipe cannot say of the model."""

    def __post_init__(self) -> None:
        if self.card.license is not None and not _LICENSE.fullmatch(self.card.license):
            raise UsageError(
                "--license: expected an identifier of the hub, such as cc-by-4.0 or mit, found "
                f"{self.card.license!r}"
            )
        for language in self.card.languages:
            if not _LANGUAGE.fullmatch(language):
                raise UsageError(
                    f"--language: expected a code such as de or pt-BR, found {language!r}"
                )


@dataclass(frozen=True, kw_only=True)
class Exported:
    """An exported model."""

    path: Path
    info: ModelInfo
    size: int
    """Bytes of all its files."""

    def __str__(self) -> str:
        checkpoint = self.info.checkpoint
        which = f"update {int(checkpoint):,}" if checkpoint.isdecimal() else checkpoint
        model = f"{self.info.parameters:,} parameters, {self.info.precision}"
        return f"{self.path}: {which}, {model}, {self.size / 1e6:.1f} MB"


def export(
    run: Run,
    target: Path | None = None,
    options: ExportOptions | None = None,
    *,
    force: bool = False,
) -> Exported:
    """Export a model into the file `target`, if its name ends with `.s2s`, else into a folder.

    By default the file is named like the run. `force` replaces an exported model that is there.
    Raises UsageError for a target that exists, RunError for a run whose model cannot be read or a
    disk that refuses the files; nothing is then written.
    """
    target = target or Path(f"{run.name}{SUFFIX}")
    check_target(target, force=force)
    with written(target) as folder:
        info = write_model(run, folder, options or ExportOptions())
    return Exported(path=target, info=info, size=size_of(target))


def check_target(target: Path, *, force: bool) -> None:
    """Raises UsageError for a target that exists, unless it is a model and `force` is true."""
    if str(target) == "-":
        raise UsageError("-o: expected a file NAME.s2s or a folder, found - for stdout")
    if target.suffix == ".gz":
        raise UsageError(
            f"{target}: expected a file NAME.s2s or a folder, found a name for gzip, which weights "
            f"hardly compress; --precision makes {target.with_suffix('')} smaller"
        )
    if not target.exists() and not target.is_symlink():
        return
    is_file = target.suffix == SUFFIX
    is_model = target.is_file() if is_file else is_exported(target)
    if not is_model:
        kind = "a folder" if is_file else "something other than an exported model"
        raise UsageError(f"{target}: expected a free name, found {kind}; nothing is replaced")
    if not force:
        raise UsageError(f"{target}: exists; --force replaces it, -o names another place")


@contextmanager
def written(target: Path) -> Iterator[Path]:
    """Yield an empty folder, which becomes `target`, or its content, if the block raises nothing.

    Raises RunError if the disk refuses the files.
    """
    try:
        if target.suffix == SUFFIX:
            with tempfile.TemporaryDirectory(prefix="s2s-export-") as folder:
                yield Path(folder)
                write_model_file(Path(folder), target)
        else:
            with atomic_folder(target) as temporary:
                yield temporary
    except OSError as error:
        raise RunError(f"{target}: cannot write there: {error.strerror or error}") from error


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return sum(one.stat().st_size for one in files)


def write_model(run: Run, folder: Path, options: ExportOptions) -> ModelInfo:
    """Write the files of a run's model into an empty folder."""
    checkpoint = run.resolve_checkpoint(options.checkpoint)
    precision = _precision(run, options.precision)
    tensors, num_parameters = _tensors(run, checkpoint, precision)
    recipe = run.recipe
    if precision != "fp32":
        recipe = replace(recipe, search=replace(recipe.search, precision=precision))
    atomic_write(folder / RECIPE, run.text_of(recipe))
    save_tensors(folder / WEIGHTS, tensors, {"format": "pt"})
    # The library makes it readable to its owner alone.
    (folder / WEIGHTS).chmod((folder / RECIPE).stat().st_mode & 0o777)
    for path in sorted(run.tokenizer_folder.rglob("*")):
        name = path.relative_to(run.folder).as_posix()
        if path.is_file() and is_allowed(name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
    if (run.folder / SHORTLIST).is_file():
        _check_shortlist(run)
        shutil.copyfile(run.folder / SHORTLIST, folder / SHORTLIST)
    elif recipe.search.shortlist:
        raise UsageError(
            f"{run.place}: its search has a shortlist (search.shortlist), and none was learned; "
            "'s2s shortlist' learns one"
        )
    known = read_info(run.folder, run.place) if run.is_exported else None
    info = ModelInfo(
        format=FORMAT,
        s2s=__version__,
        name=run.name if known is None else known.name,
        checkpoint=str(checkpoint),
        precision=precision,
        parameters=num_parameters,
        packages=package_versions() if known is None else known.packages,
        facts=_facts(run, checkpoint) if known is None else known.facts,
        files=hashes(folder),
    )
    atomic_write(folder / INFO, info.as_json())
    atomic_write(folder / CARD, model_card(recipe, info, options.card))
    return info


def _precision(run: Run, asked: SearchPrecision | None) -> SearchPrecision:
    """The precision of the file. Raises UsageError for a model whose weights are rounded."""
    if not run.is_exported:
        return asked or "fp32"
    there = read_info(run.folder, run.place).precision
    if asked not in (None, there) and there != "fp32":
        raise UsageError(
            f"{run.place}: its weights are in {there}, so that {asked} would not be that of the "
            "run; export the run"
        )
    return asked or there


def _tensors(run: Run, checkpoint: Which, precision: SearchPrecision) -> tuple[dict[str, Any], int]:
    """The tensors to store, and the number of parameters. Raises RunError for other weights."""
    from s2s.inference.load import model_of_weights
    from s2s.nn.inference_model import rounded_matrices
    from s2s.nn.stored_weights import round_weights
    from s2s.text.tokenizer_pair import load_tokenizers

    weights = run.read_weights(checkpoint)
    tokenizers = load_tokenizers(run.tokenizer_folder)
    model = model_of_weights(run.recipe, tokenizers, weights, run.place)
    matrices = rounded_matrices(model)
    if (run.folder / SHORTLIST).is_file():
        matrices.pop(("output.weight",), None)  # search reads rows of it in fp32
    stored = round_weights(weights, matrices, precision)
    return stored, sum(tensor.numel() for tensor in weights.values())


def _check_shortlist(run: Run) -> None:
    """Raises RunError for a shortlist that does not belong to the run's tokenizers and data."""
    from s2s.run.shortlist import read_lexicon
    from s2s.text.tokenizer_pair import load_tokenizers

    tokenizers = load_tokenizers(run.tokenizer_folder)
    read_lexicon(run, tokenizers.source.size, tokenizers.target.size)


def _facts(run: Run, checkpoint: Which) -> Facts:
    """What the run's report and log say of a checkpoint; nothing where they were deleted."""
    try:
        text = (run.data_folder / "report.json").read_text(encoding="utf-8")
        report = PrepareReport.from_json(text)
    except (OSError, ValueError):
        return Facts(scores=_scores(run, checkpoint))
    return Facts(
        pairs={name: split.kept for name, split in report.splits.items()},
        in_train={name: split.in_train or 0 for name, split in report.splits.items()},
        vocabularies=(report.source_vocabulary, report.target_vocabulary),
        scores=_scores(run, checkpoint),
    )


def _scores(run: Run, checkpoint: Which) -> tuple[dict[str, Any], ...]:
    """The latest scores of a checkpoint, for each split and search; validation by training last."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for event in run.read_events():
        is_this = checkpoint in (event.get("update"), event.get("checkpoint"))
        is_alone = not {"ensemble", "lm"} & event.keys()
        if not (is_this and is_alone and has_scores(event)):
            continue
        if event.get("event") == "evaluation":
            # The description ends with the search, in whose name there is no comma and space.
            key = str(event.get("split")), str(event.get("what")).rpartition(", ")[2]
        elif event.get("event") == "validation":
            key = "validation", "greedy"
        else:
            continue
        found[key] = {
            name: {"signature": "", **score}
            for name, score in event["scores"].items()
            if score["value"] is not None
        }
    return tuple(
        {"split": split, "search": search, "scores": scores}
        for (split, search), scores in sorted(found.items())
    )
