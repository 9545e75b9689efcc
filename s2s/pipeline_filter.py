"""Translate from file to file, so that what was interrupted can be gone on with."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from s2s.data.chunks import file_identity
from s2s.errors import DataError, Interrupted, UsageError
from s2s.recipe import features_of, has_source_text
from s2s.translate_resume import (
    Done,
    OutputFile,
    check_note,
    count_lines,
    count_listed,
    remove_note,
    skip,
    write_note,
)
from s2s.translate_stop import Stop, stop_on_signals

if TYPE_CHECKING:
    from s2s.nn.kernels import Kernel
    from s2s.pipeline import FilesOfFeatures
    from s2s.recipe import Search
    from s2s.run import Run
    from s2s.run_checkpoints import Which
    from s2s.translate import LineTranslator
    from s2s.translate_demands import WishReader
    from s2s.translate_filter import Course
    from s2s.translate_outputs import ListFormat, Listing


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
    listing: Listing | None = None,
    wishes: WishReader | None = None,
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
    how = Loading(
        runs=tuple(runs),
        search=search,
        speeds=_speeds(search, device),
        device=device,
        checkpoint=checkpoint,
        tag=tag,
        unknown=unknown,
        features=files.features,
    )

    def through(source: BinaryIO, target: BinaryIO, course: Course) -> int:
        from s2s.search.build import build_strategy
        from s2s.translate_streams import stream

        if listing is not None:
            build_strategy(how.search, listing.nbest)  # a mistake is told at once
        options = {"batch_size": batch_size, "listing": listing, "wishes": wishes}
        with _elsewhere(how, workers) as translator:
            return stream(translator, source, target, **options, course=course)  # type: ignore[arg-type]

    with _heeding_signals() as stop, _input(files.source) as source:
        _check_features(runs, checkpoint, files.features)
        if files.target is None:
            return _to_stdout(source, stop, through)
        begun_with = how.fingerprint() | {
            "listing": None if listing is None else asdict(listing),
            "demands": None if wishes is None else _demands(wishes),
        }
        form = None if listing is None else listing.form
        return _to_file(source, files, _Begun(begun_with, form), stop, through)


@dataclass(frozen=True, kw_only=True)
class Loading:
    """How a command comes to its translator, in its own process or in a worker's."""

    runs: tuple[Run, ...]
    search: Search
    device: str
    checkpoint: Which
    tag: str | None
    unknown: Mapping[str, str] | None
    features: FilesOfFeatures | None
    speeds: Mapping[Kernel, float]
    """By which all processes choose their kernels; none in fp32, or on a GPU."""

    def __call__(self) -> LineTranslator:
        """The translator; raises UsageError and RunError as loading does."""
        from s2s.pipeline_ensemble import load_ensemble
        from s2s.text.tags import check_tag
        from s2s.translate_unknown import Replacer

        if self.speeds and multiprocessing.parent_process() is not None:
            from s2s.nn.kernels import adopt

            adopt(self.speeds)
        loaded = load_ensemble(
            self.runs,
            search=self.search,
            device=self.device,
            checkpoint=self.checkpoint,
            features=self.features,
        )
        if self.tag is not None:
            check_tag(loaded.source, self.tag, "--tag")
            loaded = replace(loaded, tag=self.tag)
        if self.unknown is not None:
            replacer = Replacer(loaded.source, loaded.target, self.unknown)
            loaded = replace(loaded, replacer=replacer)
        return loaded

    def fingerprint(self) -> dict[str, Any]:
        """What decides the translation of a line, for the note beside an unfinished output."""
        unknown = self.unknown
        return {
            "models": [_fingerprint(run, self.checkpoint) for run in self.runs],
            "search": asdict(self.search),
            "tag": self.tag,
            "dictionary": None if unknown is None else _hash(json.dumps(dict(unknown))),
            **_features_note(self.features),
            **self._kernels_note(),
        }

    def _kernels_note(self) -> dict[str, Any]:
        """What the machine's speeds decided: another choice would round the rest in another way."""
        if not self.speeds:
            return {}
        from s2s.nn.kernels import choices

        return {"kernels": choices()}


def _same_everywhere(search: Search, device: str) -> Search:
    """The search, in the precision that all workers then have, and whoever resumes the output."""
    if search.precision != "auto":
        return search
    from s2s.pipeline import with_precision
    from s2s.train.device import choose_device

    return with_precision(search, choose_device(device))


def _speeds(search: Search, device: str) -> Mapping[Kernel, float]:
    """What this machine's kernels do, where it decides about the search."""
    if search.precision == "fp32":
        return {}
    from s2s.nn.kernels import measured
    from s2s.train.device import choose_device

    return measured() if choose_device(device).type == "cpu" else {}


@contextmanager
def _elsewhere(load: Callable[[], LineTranslator], workers: int) -> Iterator[LineTranslator]:
    """The translator, several processes doing its work where that is asked for."""
    loaded = load()
    if workers == 1:
        yield loaded
        return
    if loaded.device != "cpu":
        raise UsageError(
            f"--workers share the cores of a CPU, found --device {loaded.device}; leave one out"
        )
    from s2s.translate_workers import Workers

    with closing(Workers(load, workers)) as others:
        yield replace(loaded, elsewhere=others)


Through = Callable[[BinaryIO, BinaryIO, "Course"], int]
"""Translates what is left of a source into a target."""


@dataclass(frozen=True)
class _Begun:
    """What decides how an output goes on."""

    begun_with: dict[str, Any]
    form: ListFormat | None


def _to_stdout(source: BinaryIO, stop: Stop, through: Through) -> int:
    from s2s.translate_filter import Course

    target = _standard(sys.stdout, "stdout", "--output")
    return through(
        source, target, Course(stop=stop, advice=None if source.isatty() else _advise_tail)
    )


def _to_file(source: BinaryIO, files: Files, begun: _Begun, stop: Stop, through: Through) -> int:
    from s2s.translate_filter import Course

    path = files.target
    assert path is not None
    with OutputFile(path) as file:
        if not file.is_regular:
            return through(source, file, Course(stop=stop))
        done = _done(file, path, begun) if files.resume else Done(0, 0)
        skip(source, done.lines, str(path))
        file.keep(done.size)
        write_note(path, begun.begun_with)
        advice = f"the same command with --resume goes on with {path}"
        course = Course(start=done.lines, stop=stop, advice=lambda done: advice)
        count = through(source, file, course)
    remove_note(path)
    return count


def _done(file: OutputFile, path: Path, begun: _Begun) -> Done:
    """How much of the output is there, if it was begun with the same."""
    is_known = check_note(path, begun.begun_with)
    done = count_lines(file) if begun.form is None else count_listed(file, begun.form, str(path))
    doubt = "" if is_known or not done.lines else "; nothing says with which model and options"
    _say(f"{path}: {done.lines:,} lines are there{doubt}")
    return done


def _demands(wishes: WishReader) -> dict[str, Any]:
    return {"columns": wishes.columns, "file": str(wishes.file), **asdict(wishes.every)}


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
    from s2s.data.feature_lines import check_shapes, open_features
    from s2s.nn.weights import feature_shapes

    for run in runs:
        if files is None and not features_of(run.recipe.data):
            continue
        lines = open_features(run.recipe.data, files, run.features_folder)
        assert lines is not None, "there are files"
        check_shapes(lines, feature_shapes(run.read_weights(checkpoint)), run.recipe.model)


def _features_note(files: FilesOfFeatures | None) -> dict[str, Any]:
    """What of other features than the runs' own decides about an output."""
    if files is None:
        return {}
    return {
        "features": [[file_identity(path) for path in pair if path is not None] for pair in files]
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _fingerprint(run: Run, checkpoint: Which) -> str:
    """The run's name and a hash of its weights: a run may be moved, or trained further."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(run.read_weights(checkpoint).items()):
        digest.update(f"{name} {list(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return f"{run.name} {digest.hexdigest()[:16]}"


def _advise_tail(done: int) -> str:
    return (
        f"tail -n +{done + 1} gives the rest of the input (with --output FILE, --resume goes on "
        "by itself)"
    )


@contextmanager
def _heeding_signals() -> Iterator[Stop]:
    """Signals interrupt the block, and say so where nothing was translated yet."""
    with stop_on_signals() as stop:
        try:
            yield stop
        except KeyboardInterrupt:
            raise Interrupted("interrupted", stop.number or 2) from None


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


def _say(text: str) -> None:
    sys.stderr.write(f"s2s: {text}\n")
