"""Translates streams and files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from s2s.errors import DataError, Interrupted, UsageError
from s2s.inference.line_constraints import ConstrainedTranslator, LineConstraintsReader
from s2s.inference.load import FilesOfFeatures
from s2s.inference.nbest import NbestOptions
from s2s.inference.progress import StreamProgress, report_on_stderr
from s2s.inference.resume import (
    Done,
    OutputFile,
    check_note,
    count_lines,
    count_listed,
    remove_note,
    skip,
    write_note,
)
from s2s.inference.signals import SignalHandler, handle_signals
from s2s.inference.stream import StreamContext, nbest_stream, translate_stream
from s2s.inference.translator import LineTranslator
from s2s.inference.translator_factory import TranslatorFactory, kernel_speeds
from s2s.inference.workers import translator_with_workers
from s2s.recipe.data import features_of, has_source_text
from s2s.run.directory import Run
from s2s.search.strategies.build import build_constrained_strategy

if TYPE_CHECKING:
    from s2s.inference.nbest import ListFormat
    from s2s.recipe.search import Search
    from s2s.run.checkpoints import Which


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
    listing: NbestOptions | None = None,
    line_constraints: LineConstraintsReader | None = None,
    tag: str | None = None,
) -> int:
    """Translate every line of `source` into a line of `target`; returns their number.

    Lines that begin with no tag get `tag`, where one is given. With `others`, the runs' models are
    averaged. With a `listing`, `target` gets a row for each output of a line instead.
    `line_constraints` split lines into sources and constraints. The output does not depend on
    `batch_size`, the most lines read together. Raises UsageError for more outputs than the search
    finds, for tokenizers that differ, and for an unknown tag; Interrupted on Ctrl-C.
    """
    from s2s.inference.load import load_ensemble
    from s2s.search.strategies.build import build_strategy
    from s2s.text.tags import check_tag

    if listing is not None:
        build_strategy(search or run.recipe.search, listing.nbest)  # a mistake is told at once
    loaded = load_ensemble((run, *others), search=search, device=device, checkpoint=checkpoint)
    if tag is not None:
        check_tag(loaded.source, tag, "--tag")
        loaded = replace(loaded, tag=tag)
    return stream(
        loaded,
        source,
        target,
        batch_size=batch_size,
        listing=listing,
        line_constraints=line_constraints,
    )


@dataclass(frozen=True, kw_only=True)
class Files:
    """What is translated to where."""

    source: Path | None = None
    """stdin if None."""
    target: Path | None = None
    """stdout if None."""
    resume: bool = False
    """Whether to go on with what `target` holds."""
    features: FilesOfFeatures | None = None
    """Read in place of those of the runs' recipes."""


def translate_files(
    runs: Sequence[Run],
    files: Files,
    *,
    search: Search | None = None,
    batch_size: int = 8192,
    device: str = "auto",
    checkpoint: Which = "best",
    listing: NbestOptions | None = None,
    line_constraints: LineConstraintsReader | None = None,
    tag: str | None = None,
    unknown: Mapping[str, str] | None = None,
    workers: int = 1,
) -> int:
    """Translate a file into a file, as `pipeline.translate`; returns the number of its lines.

    With `files.resume`, the complete lines of the target stay, as many of the source are skipped
    and the rest is translated: the file is the one that would be there without the interruption.
    With a dictionary `unknown`, empty perhaps, unknown tokens of the output are replaced by source
    words, or by what it has for them. Several `workers` translate side by side, on a CPU.
    Raises UsageError where the two do not belong together, DataError for files that cannot be
    opened, Interrupted on Ctrl-C and SIGTERM.
    """
    if files.resume and files.target is None:
        raise UsageError("--resume goes on with a file; name it with --output")
    _refuse_same(files.source, files.target)
    if unknown is not None:
        _check_attention(runs)
    search = _same_everywhere(search or runs[0].recipe.search, device)
    how = TranslatorFactory(
        runs=tuple(runs),
        search=search,
        speeds=kernel_speeds(search, device),
        device=device,
        checkpoint=checkpoint,
        tag=tag,
        unknown=unknown,
        features=files.features,
    )

    def through(source: BinaryIO, target: BinaryIO, context: StreamContext) -> int:
        from s2s.search.strategies.build import build_strategy

        if listing is not None:
            build_strategy(how.search, listing.nbest)  # a mistake is told at once
        with translator_with_workers(how, workers) as translator:
            return stream(
                translator,
                source,
                target,
                batch_size=batch_size,
                listing=listing,
                line_constraints=line_constraints,
                context=context,
            )

    with _heeding_signals() as signals, _input(files.source) as source:
        _check_features(runs, checkpoint, files.features)
        if files.target is None:
            return _to_stdout(source, signals, through)
        begun = _Begun.of(how, listing, line_constraints)
        return _to_file(source, files, begun, signals, through)


def _same_everywhere(search: Search, device: str) -> Search:
    """The search, in the precision that all workers then have, and whoever resumes the output."""
    if search.precision != "auto":
        return search
    from s2s.inference.load import with_precision
    from s2s.nn.device import choose_device

    return with_precision(search, choose_device(device))


Through = Callable[[BinaryIO, BinaryIO, "StreamContext"], int]
"""Translates what is left of a source into a target."""


@dataclass(frozen=True)
class _Begun:
    """What decides how an output goes on."""

    begun_with: dict[str, Any]
    form: ListFormat | None

    @classmethod
    def of(
        cls,
        how: TranslatorFactory,
        listing: NbestOptions | None,
        line_constraints: LineConstraintsReader | None,
    ) -> _Begun:
        """Of a command's translator and options."""
        begun_with = how.fingerprint() | {
            "listing": None if listing is None else asdict(listing),
            "demands": None if line_constraints is None else _demands(line_constraints),
        }
        return cls(begun_with, None if listing is None else listing.form)


def _to_stdout(source: BinaryIO, signals: SignalHandler, through: Through) -> int:
    from s2s.inference.stream import StreamContext

    target = _standard(sys.stdout, "stdout", "--output")
    return through(
        source,
        target,
        StreamContext(signals=signals, advice=None if source.isatty() else _advise_tail),
    )


def _to_file(
    source: BinaryIO, files: Files, begun: _Begun, signals: SignalHandler, through: Through
) -> int:
    from s2s.inference.stream import StreamContext

    path = files.target
    assert path is not None
    with OutputFile(path) as file:
        if not file.is_regular:
            return through(source, file, StreamContext(signals=signals))
        done = _done(file, path, begun) if files.resume else Done(0, 0)
        skip(source, done.lines, str(path))
        file.keep(done.size)
        write_note(path, begun.begun_with)
        advice = f"the same command with --resume goes on with {path}"
        context = StreamContext(start=done.lines, signals=signals, advice=lambda done: advice)
        count = through(source, file, context)
    remove_note(path)
    return count


def _done(file: OutputFile, path: Path, begun: _Begun) -> Done:
    """How much of the output is there, if it was begun with the same."""
    is_known = check_note(path, begun.begun_with)
    done = count_lines(file) if begun.form is None else count_listed(file, begun.form, str(path))
    doubt = "" if is_known or not done.lines else "; nothing says with which model and options"
    report_on_stderr(f"{path}: {done.lines:,} lines are there{doubt}")
    return done


def _demands(line_constraints: LineConstraintsReader) -> dict[str, Any]:
    return {
        "columns": line_constraints.columns,
        "file": str(line_constraints.file),
        **asdict(line_constraints.every),
    }


def _check_attention(runs: Sequence[Run]) -> None:
    for run in runs:
        if run.recipe.model.attention.kind == "none":
            raise UsageError(
                f"{run.folder}: --replace-unknown needs a model with attention, and this one has "
                "none (model.attention.kind)"
            )
        if run.recipe.model.copy != "none":
            raise UsageError(
                f"{run.folder}: this model copies unknown words by itself (model.copy); leave out "
                "--replace-unknown"
            )
        if not has_source_text(run.recipe.data):
            raise UsageError(
                f"{run.folder}: --replace-unknown takes words from source text, and there is none"
            )


def _check_features(runs: Sequence[Run], checkpoint: Which, files: FilesOfFeatures | None) -> None:
    """Raises DataError or UsageError for features that do not suit, before anything is written."""
    from s2s.data.features.lookup import check_shapes, open_features
    from s2s.nn.state_dict import feature_shapes

    for run in runs:
        if files is None and not features_of(run.recipe.data):
            continue
        lines = open_features(run.recipe.data, files, run.features_folder)
        assert lines is not None, "there are files"
        check_shapes(lines, feature_shapes(run.read_weights(checkpoint)), run.recipe.model)


def _advise_tail(done: int) -> str:
    return (
        f"tail -n +{done + 1} gives the rest of the input (with --output FILE, --resume goes on "
        "by itself)"
    )


@contextmanager
def _heeding_signals() -> Iterator[SignalHandler]:
    """Signals interrupt the block, and say so where nothing was translated yet."""
    with handle_signals() as signals:
        try:
            yield signals
        except KeyboardInterrupt:
            raise Interrupted("interrupted", signals.number or 2) from None


def _refuse_same(source: Path | None, target: Path | None) -> None:
    """Writing the output would destroy the input before it was read."""
    if source and target and target.exists() and source.exists() and target.samefile(source):
        raise UsageError(f"{target}: expected an output other than the input")


@contextmanager
def _input(path: Path | None) -> Iterator[BinaryIO]:
    """The file, or stdin where there is none."""
    if path is None:
        yield _standard(sys.stdin, "stdin", "--input")
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot read it: {error.strerror}") from None
    with file:
        yield file


def _standard(stream: Any, name: str, option: str) -> BinaryIO:
    if stream is None:  # closed by whoever started this process
        raise DataError(f"{name} is closed; {option} FILE stands in for it")
    binary: BinaryIO = stream.buffer
    return binary


def stream(
    loaded: LineTranslator,
    source: BinaryIO,
    target: BinaryIO,
    *,
    batch_size: int,
    listing: NbestOptions | None = None,
    line_constraints: LineConstraintsReader | None = None,
    context: StreamContext | None = None,
) -> int:
    """Translate or list every line of `source`; how many lines the input has.

    See `s2s.inference.stream.respond_stream` for the rest.
    """
    if line_constraints is not None and line_constraints.has_terms:
        build_constrained_strategy(loaded.search)  # a mistake is told at once
    context = StreamContext() if context is None else context
    progress = StreamProgress(source, None, context.start)
    context = replace(context, progress=progress)
    loaded = replace(loaded, progress=progress)
    translator = (
        loaded if line_constraints is None else ConstrainedTranslator(loaded, line_constraints)
    )
    is_typed = source.isatty()
    if listing is None:
        count = translate_stream(source, target, translator, batch_size, is_typed, context=context)
    else:
        count = nbest_stream(
            source, target, translator, listing, batch_size, interactive=is_typed, context=context
        )
    if line_constraints is not None:
        line_constraints.finish(count)
    return count
