"""Translates streams and files: the command and the library share one path."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from s2s.errors import DataError, Interrupted, UsageError
from s2s.files import atomic_gzip
from s2s.inference.input_record import (
    HashedInput,
    InputRecord,
    Row,
    check_input,
    last_row,
)
from s2s.inference.parts import delete_parts
from s2s.inference.resume import (
    Done,
    OutputFile,
    complete_part,
    note_path,
    remove_note,
    skip,
    write_note,
)
from s2s.inference.signals import SignalHandler, handle_signals
from s2s.messages import is_closed
from s2s.pipeline.line_translation import LineTranslation, line_translation
from s2s.pipeline.task_checks import Use, check_glossary, check_use
from s2s.pipeline.translation_in_parts import InParts, is_in_parts
from s2s.recipe.data import image_features_of
from s2s.text.lines import one_line, open_input
from s2s.text.remote import uploading, url_of

if TYPE_CHECKING:
    from s2s.inference.fusion import Fusion
    from s2s.inference.glossary import Glossary
    from s2s.inference.line_constraints import LineConstraintsReader
    from s2s.inference.load import FilesOfFeatures
    from s2s.inference.nbest import NbestOptions
    from s2s.recipe.search import Search
    from s2s.run.checkpoints import Which
    from s2s.run.directory import Run


@dataclass(frozen=True, kw_only=True)
class Files:
    """The files of a translation."""

    source: Path | None = None
    """stdin if None."""
    target: Path | None = None
    """stdout if None."""
    resume: bool = False
    """Whether to keep the complete lines of `target` and translate the rest."""
    features: FilesOfFeatures | None = None
    """Read in place of those of the runs' recipes."""
    lines: Sequence[str] | None = None
    """Read in place of `source`."""
    is_own: bool = False
    """Whether they are this process's own, where torchrun has started several."""


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
    glossary: Glossary | None = None,
    tag: str | None = None,
    unknown: Mapping[str, str] | None = None,
    features: FilesOfFeatures | None = None,
    workers: int = 1,
    fusion: Fusion | None = None,
    use: Use = "translate",
) -> int:
    """Translate every line of `source` into a line of `target`; returns their number.

    With `others`, the models of all runs are averaged. `search` is the run's own if None. With a
    `listing`, `target` gets a row for each output of a line. `line_constraints` split lines into
    sources and constraints. Outputs of lines that have terms of the `glossary` have their
    translations. Lines without a tag get `tag`, where one is given. With a dictionary
    `unknown`, which may be empty, its entries or else source words replace unknown tokens of the
    output. `features` are read in place of the recipe's. `workers` processes translate side by
    side, on a CPU. Search adds the language model of `fusion`. The output does not depend on
    `batch_size`, the most lines read together. Of language models (`use` is `generate`), each line
    is the beginning of its output; of models of labels it is `predict`.

    Raises UsageError for more outputs than the search finds, for tokenizers that differ, for an
    unknown tag, and for `unknown` without attention; Interrupted on Ctrl-C.
    """
    check_use((run, *others), use)
    if glossary is not None:
        check_glossary((run, *others), "--glossary")
    translation = line_translation(
        (run, *others),
        search,
        checkpoint,
        device=device,
        batch_size=batch_size,
        listing=listing,
        line_constraints=line_constraints,
        glossary=glossary,
        tag=tag,
        unknown=unknown,
        features=features,
        workers=workers,
        fusion=fusion,
    )
    return translation(source, target)


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
    glossary: Glossary | None = None,
    tag: str | None = None,
    unknown: Mapping[str, str] | None = None,
    workers: int = 1,
    fusion: Fusion | None = None,
    use: Use = "translate",
) -> int:
    """Translate a file into a file, as `translate` does; returns the number of its lines.

    With `files.resume`, the complete lines of the target stay, as many of the source are skipped
    and the rest is translated: the result is the file of a translation without interruption.
    Where torchrun started this process, all processes that it started share the work
    (`s2s.pipeline.translation_in_parts`), and those of other ranks end with SystemExit when rank 0
    raises.

    Raises UsageError where the two do not belong together, DataError for files that cannot be
    opened, Interrupted on Ctrl-C, SIGTERM and SIGHUP.
    """
    _check_resume(files)
    _refuse_same(files.source, files.target)
    make = partial(
        line_translation,
        runs,
        search,
        checkpoint,
        batch_size=batch_size,
        listing=listing,
        line_constraints=line_constraints,
        glossary=glossary,
        tag=tag,
        unknown=unknown,
        features=files.features,
        workers=workers,
        fusion=fusion,
    )

    check = partial(_check, runs, files, checkpoint, glossary, use)

    def alone() -> int:
        translation = make(device=device)
        with _interrupted_by_signals() as signals, _input(files) as source:
            check()
            if files.target is None:
                return _to_stdout(source, signals, translation)
            return _to_file(source, files, signals, translation)

    if files.is_own or not is_in_parts(files.target, files.resume):
        return alone()
    source = None if files.lines is not None else files.source
    return InParts(source, files.target, files.resume, make, check, alone).translate(device)


def _check_resume(files: Files) -> None:
    """Raises UsageError for an output that cannot be resumed."""
    if files.resume and files.target is None:
        raise UsageError("--resume completes a file; name it with --output")
    if files.resume and url_of(files.target) is not None:
        raise UsageError(f"--resume: {url_of(files.target)} is a URL, which is written as a whole")
    if files.resume and files.target is not None and files.target.suffix == ".gz":
        raise UsageError(
            f"--resume: {files.target} is compressed, and such a file is written as a whole"
        )


def _check(
    runs: Sequence[Run], files: Files, checkpoint: Which, glossary: Glossary | None, use: Use
) -> None:
    """Raises UsageError or DataError for runs that do not suit, before anything is written."""
    check_use(runs, use)
    if glossary is not None:
        check_glossary(runs, "--glossary")
    _check_features(runs, checkpoint, files.features)


def _to_stdout(source: BinaryIO, signals: SignalHandler, translation: LineTranslation) -> int:
    from s2s.inference.stream import StreamContext

    target = _standard(sys.stdout, "stdout", "--output")
    advice = None if source.isatty() else _advise_tail
    return translation(source, target, StreamContext(signals=signals, advice=advice))


def _to_file(
    source: BinaryIO, files: Files, signals: SignalHandler, translation: LineTranslation
) -> int:
    from s2s.inference.stream import StreamContext

    path = files.target
    assert path is not None
    if (url := url_of(path)) is not None:
        return _to_url(source, url, signals, translation)
    if path.suffix == ".gz":
        return _to_gzip(source, path, signals, translation)
    fingerprint = translation.fingerprint()
    with OutputFile(path) as file:
        if not file.is_regular:
            return translation(source, file, StreamContext(signals=signals))
        hashed, done, rows = HashedInput(source), Done(0, 0), list[Row]()
        if files.resume:
            form = None if translation.listing is None else translation.listing.form
            done, rows = complete_part(file, path, fingerprint, form)
        skip(hashed, done.lines, str(path))
        check_input(hashed, last_row(rows, done.lines), path)
        if not files.resume:
            delete_parts(path)
        file.keep(done.size)
        write_note(path, fingerprint, [*rows, hashed.row])
        file.record = InputRecord(note_path(path), hashed)
        again = "goes on there" if files.is_own else f"with --resume completes {path}"
        advice = f"the same command {again}"
        context = StreamContext(start=done.lines, signals=signals, advice=lambda done: advice)
        try:
            count = translation(cast(BinaryIO, hashed), file, context)
        finally:
            file.record.close()
    remove_note(path)
    return count


def _to_url(
    source: BinaryIO, url: str, signals: SignalHandler, translation: LineTranslation
) -> int:
    """Write a file that a store gets when it is complete."""
    from s2s.inference.stream import StreamContext

    advice = f"{url} is not written; --resume would complete a local --output"
    with uploading(url) as path:
        if path.suffix == ".gz":
            return _to_gzip(source, path, signals, translation)
        context = StreamContext(signals=signals, advice=lambda done: advice)
        with path.open("xb") as file:
            return translation(source, file, context)


def _to_gzip(
    source: BinaryIO, path: Path, signals: SignalHandler, translation: LineTranslation
) -> int:
    """Write a gzip file, which appears when it is complete."""
    from s2s.inference.stream import StreamContext

    if path.is_dir() or not path.parent.is_dir():
        reason = "Is a directory" if path.is_dir() else "No such file or directory"
        raise DataError(f"{path}: cannot write it: {reason}")
    advice = f"{path} is not written; without .gz, --resume would complete it"
    context = StreamContext(signals=signals, advice=lambda done: advice)
    delete_parts(path)
    with atomic_gzip(path) as file:
        return translation(source, file, context)


def _check_features(runs: Sequence[Run], checkpoint: Which, files: FilesOfFeatures | None) -> None:
    """Raises DataError or UsageError for features that do not suit, before anything is written."""
    from s2s.data.features.lookup import check_shapes, open_features
    from s2s.nn.state_dict import feature_shapes

    for run in runs:
        if files is None and not image_features_of(run.recipe.data):
            continue
        lines = open_features(run.recipe.data, files, run.features_cache)
        assert lines is not None, "there are files"
        check_shapes(lines, feature_shapes(run.read_weights(checkpoint)), run.recipe.model)


def _advise_tail(done: int) -> str:
    return (
        f"tail -n +{done + 1} gives the rest of the input (with --output FILE, --resume finds "
        "it by itself)"
    )


@contextmanager
def _interrupted_by_signals() -> Iterator[SignalHandler]:
    """Raises Interrupted where a signal comes before anything is translated."""
    with handle_signals() as signals:
        try:
            yield signals
        except KeyboardInterrupt:
            raise Interrupted("interrupted", signals.signal_number or 2) from None


def _refuse_same(source: Path | None, target: Path | None) -> None:
    """Writing the output would destroy the input before it was read."""
    if source and target and target.exists() and source.exists() and target.samefile(source):
        raise UsageError(f"{target}: expected an output other than the input")


@contextmanager
def _input(files: Files) -> Iterator[BinaryIO]:
    """The given lines or the file, or stdin where there is neither."""
    if files.lines is not None:
        yield io.BytesIO("".join(f"{one_line(line)}\n" for line in files.lines).encode())
        return
    if files.source is None:
        yield _standard(sys.stdin, "stdin", "--input")
        return
    with open_input(files.source) as file:
        yield file


def _standard(stream: Any, name: str, option: str) -> BinaryIO:
    if is_closed(stream):
        raise DataError(f"{name} is closed; {option} FILE stands in for it")
    binary: BinaryIO = stream.buffer
    return binary
