"""How lines are translated, wherever they come from: the settings of a command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from s2s.data.sources.contents import Hashes
from s2s.inference.fusion import check_fusion
from s2s.inference.translator_factory import TranslatorFactory, kernel_speeds
from s2s.messages import silenced
from s2s.pipeline.task_checks import check_replacement
from s2s.text.remote import local_copy

if TYPE_CHECKING:
    from pathlib import Path

    from s2s.inference.fusion import Fusion
    from s2s.inference.glossary import Glossary
    from s2s.inference.line_constraints import LineConstraintsReader
    from s2s.inference.load import FilesOfFeatures
    from s2s.inference.nbest import NbestOptions
    from s2s.inference.stream import StreamContext
    from s2s.inference.translate_stream import LineStream
    from s2s.inference.translator import LineTranslator
    from s2s.recipe.search import Search
    from s2s.run.checkpoints import Which
    from s2s.run.directory import Run

FIRST_NAMES = {"source_features": "features"}
"""Names of columns in the notes of outputs that were begun before the columns were renamed."""


@dataclass(frozen=True, kw_only=True)
class LineTranslation:
    """How lines are translated, wherever they come from."""

    factory: TranslatorFactory
    batch_size: int
    listing: NbestOptions | None
    line_constraints: LineConstraintsReader | None
    glossary: Glossary | None
    workers: int

    def __call__(
        self, source: BinaryIO, target: BinaryIO, context: StreamContext | None = None
    ) -> int:
        """Translate every line of `source`; returns their number."""
        from s2s.inference.translate_stream import stream

        with self._translator() as translator:
            return stream(translator, source, target, **self._options, context=context)

    @contextmanager
    def loaded(self, is_quiet: bool) -> Iterator[LineStream]:
        """The models, read, for several streams; `is_quiet` leaves out notes about them."""
        from s2s.inference.translate_stream import LineStream

        with ExitStack() as stack:
            with silenced(is_quiet):
                translator = stack.enter_context(self._translator())
                lines = LineStream(translator, **self._options)
            yield lines

    @contextmanager
    def _translator(self) -> Iterator[LineTranslator]:
        from s2s.inference.workers import translator_with_workers
        from s2s.search.strategies.build import build_strategy

        if self.listing is not None:
            build_strategy(self.factory.search, self.listing.nbest)  # reports a mistake early
        with translator_with_workers(self.factory, self.workers) as translator:
            yield translator

    @property
    def _options(self) -> dict[str, Any]:
        """What a stream is told."""
        return {
            "batch_size": self.batch_size,
            "listing": self.listing,
            "line_constraints": self.line_constraints,
            "glossary": self.glossary,
        }

    def fingerprint(self) -> dict[str, Any]:
        """Everything that decides the output, for the note beside an unfinished one."""
        reader = self.line_constraints
        constraints = None
        if reader is not None:
            constraints = {
                "columns": reader.columns and [FIRST_NAMES.get(c, c) for c in reader.columns],
                "file": None if reader.file is None else _identity(reader.file),
                **asdict(reader.every),
            }
        listing = None if self.listing is None else asdict(self.listing)
        # Outputs that were begun before are resumed by these keys.
        found = self.factory.fingerprint() | {"listing": listing, "demands": constraints}
        return found if self.glossary is None else found | {"glossary": self.glossary.digest()}


def line_translation(
    runs: Sequence[Run],
    search: Search | None,
    checkpoint: Which,
    *,
    device: str,
    batch_size: int,
    listing: NbestOptions | None,
    line_constraints: LineConstraintsReader | None,
    glossary: Glossary | None,
    tag: str | None,
    unknown: Mapping[str, str] | None,
    features: FilesOfFeatures | None,
    workers: int,
    fusion: Fusion | None,
) -> LineTranslation:
    """How a command translates; `search` is the run's own if None.

    Raises UsageError for what the models or the search cannot do.
    """
    search = search or runs[0].recipe.search
    if unknown is not None:
        check_replacement(runs, "--replace-unknown", search)
    if fusion is not None:
        check_fusion(runs, fusion, search)
    search = _resolved(search, device)
    factory = TranslatorFactory(
        runs=tuple(runs),
        search=search,
        speeds=kernel_speeds(search, device),
        device=device,
        checkpoint=checkpoint,
        tag=tag,
        unknown=unknown,
        features=features,
        fusion=fusion,
    )
    return LineTranslation(
        factory=factory,
        batch_size=batch_size,
        listing=listing,
        line_constraints=line_constraints,
        glossary=glossary,
        workers=workers,
    )


def _resolved(search: Search, device: str) -> Search:
    """The search with `auto` resolved, so that all workers have one precision."""
    if search.precision != "auto":
        return search
    from s2s.inference.load import with_precision
    from s2s.nn.device import choose_device

    return with_precision(search, choose_device(device))


def _identity(path: Path) -> str:
    """A hash of a file's content; the path of what can be read only once."""
    local = local_copy(path)
    return Hashes().of(local) if local.is_file() else str(path)
