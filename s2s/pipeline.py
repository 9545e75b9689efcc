"""The public API: prepare, train, translate, evaluate. What the commands call, and a notebook may.

from pathlib import Path
from s2s import pipeline
from s2s.recipe_io import load_recipe

pipeline.train(load_recipe(Path("recipe.yaml")))
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from s2s.data.prepare import is_data_missing, is_prepared
from s2s.data.prepare import prepare as prepare_data
from s2s.errors import Interrupted, UsageError
from s2s.pipeline_team import launched, with_workers
from s2s.progress import progress
from s2s.run import RUNS, Run

if TYPE_CHECKING:
    import torch

    from s2s.data.report import PrepareReport
    from s2s.data.sources import SplitName
    from s2s.evaluation import Evaluation
    from s2s.metrics import Request
    from s2s.nn.model import Seq2Seq
    from s2s.nn.regions import FeatureShape
    from s2s.recipe import Recipe, Search
    from s2s.run_checkpoints import Which
    from s2s.text.tokenizer import TokenizerPair
    from s2s.train.report import Reporter
    from s2s.train.state import Position
    from s2s.train.team import Team
    from s2s.translate import LineTranslator
    from s2s.translate_demands import WishReader
    from s2s.translate_outputs import Listing


FilesOfFeatures = Sequence[tuple[Path, Path | None]]
"""Files of features, each with a file of its ids where it does not bring them along."""


def prepare(recipe: Recipe, *, runs: Path = RUNS, force: bool = False) -> PrepareReport:
    """Make tokenizers and encoded data of a recipe's run, as far as they are not up to date.

    Raises DataError for data that is not as promised, UsageError where a training has begun on
    data that would change.
    """
    run = Run.create(recipe, runs)
    with run.lock():
        run.check_same(recipe)
        return _prepare(run, recipe, force)


def _prepare(run: Run, recipe: Recipe, force: bool = False) -> PrepareReport:
    has_begun = run.checkpoints().last is not None
    if has_begun and (force or not _keeps_data(run, recipe)):
        reason = "would be made anew" if force else "has changed since"
        raise UsageError(
            f"{run.folder}: trained on data that {reason}; --set name=NEW starts a new run, "
            "s2s train --restart starts over in this folder"
        )
    with progress() as callback:
        return prepare_data(recipe, run.folder, force=force, progress=callback)


def _keeps_data(run: Run, recipe: Recipe) -> bool:
    """Whether preparing would leave the run with the data it was trained on."""
    return is_prepared(recipe, run.folder) or is_data_missing(recipe, run.folder)


def train(
    recipe: Recipe,
    *,
    runs: Path = RUNS,
    device: str = "auto",
    restart: bool = False,
    workers: int = 1,
    reporter: Reporter | None = None,
) -> Position:
    """Train a recipe's run to its end, from where it stands; prepares data first if need be.

    So many `workers` share the work on a CPU. Where torchrun started this process, all that it
    started share it, and the others end with SystemExit where the first one raises an error.

    Returns where it ended. Raises Interrupted after Ctrl-C or SIGTERM, the state being saved.
    """
    with launched(device) as (team, own_device):
        if team.rank:
            return _follow(runs, recipe, own_device, team)
        run = Run.create(recipe, runs)
        with run.lock():
            if restart:
                run.restart(recipe)
            run.check_same(recipe)
            _prepare(run, recipe)
            team.gather(None)  # the others may read it
            from s2s.pipeline_train import train_run

            work = partial(train_run, run, recipe, "cpu", None)
            with with_workers(team, workers, work, own_device) as all_together:
                return train_run(run, recipe, own_device, reporter, team=all_together)


def _follow(runs: Path, recipe: Recipe, device: str, team: Team) -> Position:
    """What all but the first of launched processes do."""
    from s2s.train.team import PartnerLost, ToldElsewhere

    assert recipe.name is not None, "load_recipe gives every recipe a name"
    try:
        team.gather(None)
        from s2s.pipeline_train import train_run

        return train_run(Run.open(runs / recipe.name), recipe, device, None, team=team)
    except (Interrupted, ToldElsewhere, PartnerLost) as error:  # the first process knows
        raise SystemExit(error.exit_status) from None


def build_model(
    recipe: Recipe,
    tokenizers: TokenizerPair,
    frequencies: torch.Tensor | None = None,
    *,
    features: Sequence[FeatureShape] = (),
) -> Seq2Seq:
    """An untrained model for these tokenizers, target tokens of these frequencies [V] and feature
    files of these shapes."""
    import torch

    from s2s.nn.model import Seq2Seq
    from s2s.recipe import has_source_text
    from s2s.text.copying import copying_of

    copying = copying_of(recipe.model, tokenizers)
    table = None if copying is None else torch.from_numpy(copying.target_of_source)
    return Seq2Seq(
        recipe.model,
        tokenizers.source.size if has_source_text(recipe.data) else None,
        tokenizers.target.size,
        frequencies,
        table,
        features=features,
    )


def load_translator(
    run: Run,
    *,
    search: Search | None = None,
    device: str = "auto",
    checkpoint: Which = "best",
    features: FilesOfFeatures | None = None,
) -> LineTranslator:
    """A run's model as a function from lines to lines; the recipe's search if none is given.

    `features` are read in place of the recipe's, as many files and of the same widths.

    Without the shortlists that a search may ask for, which `pipeline_ensemble.load_ensemble` adds.

    Raises RunError for a checkpoint that is missing, damaged or of another model, DataError for
    features that do not suit it.
    """
    from s2s.data.feature_lines import check_shapes, open_features
    from s2s.nn.packed import packed
    from s2s.nn.weights import feature_shapes, load_weights
    from s2s.text.copying import copying_of
    from s2s.text.tokenizer import load_tokenizers
    from s2s.train.device import choose_device, keep_freed_memory, limit_threads
    from s2s.translate import LineTranslator

    chosen = choose_device(device)
    recipe = run.recipe
    limit_threads(recipe.model, chosen)
    keep_freed_memory()
    weights = run.read_weights(checkpoint)
    tokenizers = load_tokenizers(run.tokenizer_folder)
    shapes = feature_shapes(weights)
    lines = open_features(recipe.data, features, run.features_folder)
    if lines is not None:
        check_shapes(lines, shapes, recipe.model)
    model = build_model(recipe, tokenizers, features=shapes)
    load_weights(dict(model.named_parameters()), weights, str(run.folder))
    model = model.to(chosen).eval()
    settings = with_precision(search or recipe.search, chosen)
    return LineTranslator(
        scorer=packed(model, settings.precision),
        source=tokenizers.source,
        target=tokenizers.target,
        search=settings,
        device=str(chosen),
        longest=recipe.data.longest_source,
        truncate=recipe.data.truncate.source,
        copying=copying_of(recipe.model, tokenizers),
        features=lines,
        report=_say,
    )


def translate(
    *,
    run: Run,
    others: tuple[Run, ...] = (),
    source: BinaryIO,
    target: BinaryIO,
    search: Search | None = None,
    batch_size: int = 8192,
    device: str = "auto",
    checkpoint: Which = "best",
    listing: Listing | None = None,
    wishes: WishReader | None = None,
    tag: str | None = None,
) -> int:
    """Translate every line of `source` into a line of `target`; returns their number.

    Lines that begin with no tag get `tag`, where one is given. With `others`, the runs' models are
    averaged. With a `listing`, `target` gets a row for each output of a line instead. `wishes`
    split lines into sources and demands. The output does not depend on `batch_size`, the most lines
    read together. Raises UsageError for more outputs than the search finds, for tokenizers that
    differ, and for an unknown tag; Interrupted on Ctrl-C.
    """
    from s2s.pipeline_ensemble import load_ensemble
    from s2s.search.build import build_strategy
    from s2s.text.tags import check_tag
    from s2s.translate_streams import stream

    if listing is not None:
        build_strategy(search or run.recipe.search, listing.nbest)  # a mistake is told at once
    loaded = load_ensemble((run, *others), search=search, device=device, checkpoint=checkpoint)
    if tag is not None:
        check_tag(loaded.source, tag, "--tag")
        loaded = replace(loaded, tag=tag)
    return stream(loaded, source, target, batch_size=batch_size, listing=listing, wishes=wishes)


def open_texts(run: Run, split: SplitName) -> tuple[list[str], list[list[str | None]]]:
    """Sources and sets of references of a split. Raises UsageError where the recipe has none."""
    from s2s.data.prepare import open_corpus

    if not (run.data_folder / f"{split}.arrow").exists():
        raise UsageError(f"{run.folder}: its recipe has no {split} split, or data/ was deleted")
    corpus = open_corpus(run.folder, split)
    sources, references = corpus.source_texts, corpus.references
    assert sources is not None and references is not None, "only train comes without texts"
    return sources, references


def translate_lines(
    translator: LineTranslator, sources: list[str], batch_size: int, stage: str
) -> list[str]:
    """One translation per line, with a progress line that names the stage."""
    found: list[str] = []
    with progress() as callback:
        for start in range(0, len(sources), batch_size):
            found += translator(sources[start : start + batch_size], start)
            callback(stage, len(found), len(sources))
    return found


def evaluate(
    *,
    run: Run,
    others: tuple[Run, ...] = (),
    split: SplitName = "test",
    search: Search | None = None,
    batch_size: int = 1024,
    device: str = "auto",
    checkpoint: Which = "best",
    request: Request | None = None,
) -> Evaluation:
    """Translate a split of a run's data, save the hypotheses, score them.

    With `others`, the runs' models are averaged; data and folder are the first's. Without a
    `request`, the metrics are those of its recipe. Raises UsageError where the recipe has no such
    split, or a metric is not for its model.
    """
    from s2s.evaluation import Model, evaluate_lines
    from s2s.metrics import Request
    from s2s.pipeline_ensemble import load_ensemble
    from s2s.recipe import COPIED_BY_COPYING

    request = request or Request(metrics=run.recipe.metrics, scoring=run.recipe.scoring)
    if "copied" in request.metrics and run.recipe.model.copy != "none":
        raise UsageError(COPIED_BY_COPYING)
    sources, references = open_texts(run, split)
    translator = load_ensemble((run, *others), search=search, device=device, checkpoint=checkpoint)
    hypotheses = translate_lines(translator, sources, batch_size, f"translating {split}")
    members = tuple((one.name, one.resolve_checkpoint(checkpoint)) for one in (run, *others))
    return evaluate_lines(
        run,
        translator,
        (sources, hypotheses, references),
        (split, Model(members=members)),
        request,
    )


def score_files(*, references: list[Path], hypotheses: BinaryIO, request: Request) -> Evaluation:
    """Score any translation, one a line, against reference files.

    Raises DataError for text that is not UTF-8 or sides of unequal length, UsageError for what only
    a run has.
    """
    from s2s.evaluation import Evaluation
    from s2s.metrics import score
    from s2s.recipe_metrics import only_of_runs, text_metrics
    from s2s.text.lines import decode_lines, read_lines

    for name in request.metrics:
        if reason := only_of_runs(name):
            raise UsageError(f"{name}: expected a run; {reason}")
    said = list(decode_lines(hypotheses, "<stdin>"))
    wanted = [list(read_lines(path)) for path in references]
    names = text_metrics(request.metrics)
    scores = score(names, said, wanted, scoring=request.scoring, confidence=request.confidence)
    return Evaluation(scores, f"stdin, {len(said):,} lines")


def with_precision(search: Search, device: torch.device) -> Search:
    """`search` in the precision that `auto` chooses on a device; a slow one is reported on stderr.

    Raises UsageError where the device has no kernel for the precision that was asked for.
    """
    from s2s.nn.kernels import choose_search_precision, slower_than_fp32

    precision = choose_search_precision(search.precision, device)
    if search.precision == "auto":
        _say_once(f"precision auto: {precision} is the fastest here")
    elif (concern := slower_than_fp32(precision, device)) is not None:
        _say_once(concern)
    return replace(search, precision=precision)


@cache
def _say_once(text: str) -> None:
    """A note on stderr for the whole command: each of its models, and of its workers, has it."""
    if multiprocessing.parent_process() is None:
        _say(text)


def _say(text: str) -> None:
    """A note on stderr, where the user looks while stdout is redirected."""
    sys.stderr.write(f"s2s: {text}\n")
