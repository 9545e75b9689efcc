"""Searches the lines of several jobs together."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from s2s.data.features.lookup import FeatureRows
from s2s.errors import S2sError
from s2s.inference.constrained_translator import impossible_terms
from s2s.inference.constraint_compiler import ConstraintCompiler
from s2s.inference.glossary import Glossary
from s2s.inference.load import with_shortlist
from s2s.inference.translator import LineTranslator
from s2s.run.directory import Run
from s2s.search.hypothesis import Hypothesis
from s2s.search.loop import search_stream
from s2s.serve.jobs import SingleJob, TranslationJob, fail, succeed


def shares(wanted: Sequence[int], most: int) -> list[int]:
    """How many of its `wanted` pieces each job gets of a batch of `most`: at least one while there
    is room, an equal share, and what others leave, the first jobs before the others."""
    given = [0] * len(wanted)
    room = most
    while room > 0:
        hungry = [place for place, count in enumerate(wanted) if given[place] < count]
        if not hungry:
            break
        each = max(1, room // len(hungry))
        for place in hungry:
            more = min(each, wanted[place] - given[place], room)
            given[place] += more
            room -= more
    return given


class BatchTranslator:
    """A model that searches the pieces of several jobs in one batch."""

    def __init__(
        self, run: Run, base: LineTranslator, most: int, glossary: Glossary | None = None
    ) -> None:
        """`base` has no shortlist; a batch has `most` pieces. Reports terms of the glossary that no
        output can have."""
        self.plain = base
        self.searching = with_shortlist(base, run)
        self.compiler = ConstraintCompiler(base.target, glossary)
        if note := impossible_terms(self.compiler):
            base.report(note)
        self.most = most

    def warm_up(self) -> None:
        """Translate a line, so that the first request need not wait for kernels to be built."""
        if self.searching.features is None:  # else lines name images
            with suppress(S2sError):
                replace(self.searching, report=lambda text: None)(["a"])

    def alone(self, job: SingleJob) -> None:
        """Compute what one job asks for."""
        try:
            succeed(job, job.compute(self.plain if job.needs_all_tokens else self.searching))
        except Exception as error:
            fail(job, error)

    def step(self, jobs: Sequence[TranslationJob]) -> list[TranslationJob]:
        """Search a batch of the jobs' next pieces; returns the jobs that have more pieces.

        Every job has the options of the first. A job that fails does not affect the others.
        """
        ready = [job for job in jobs if self._prepare(job)]
        taken = shares([job.left for job in ready], self.most)
        items = list(zip(ready, taken, strict=True))
        try:
            self._search(items)
        except S2sError:
            # The model predicts NaN for one source: which one, only a search by itself shows.
            for item in items:
                self._search_alone(item)
        return [job for job in ready if not self._finish(job)]

    def _prepare(self, job: TranslationJob) -> bool:
        """Whether a job is ready to be searched; reads its lines if that is not done yet."""
        try:
            if not job.is_prepared:
                job.prepare(self.searching, self.compiler)
        except Exception as error:
            fail(job, error)
        return not job.answer.done()

    def _search_alone(self, item: tuple[TranslationJob, int]) -> None:
        try:
            self._search([item])
        except S2sError as error:
            fail(item[0], error)

    def _search(self, items: Sequence[tuple[TranslationJob, int]]) -> None:
        """Search the next pieces of each job, so many of each; stops where nobody waits for any."""
        pairs = [(job, len(job.found) + place) for job, count in items for place in range(count)]
        if not pairs:
            return
        found: list[list[Hypothesis] | None] = [None] * len(pairs)
        stream = search_stream(
            self.searching.scorer,
            [job.pieces.sources[piece].ids for job, piece in pairs if job.pieces],
            pairs[0][0].options.search,
            self.searching.device,
            keep=pairs[0][0].options.keep,
            places=[job.pieces.places[piece] for job, piece in pairs if job.pieces],
            constraints=[job.constraint(piece) for job, piece in pairs],
            features=self._features(pairs),
            want_attention=pairs[0][0].options.want_attention,
            ranking=self.searching.ranking(
                pairs[0][0].options.search,
                [job.pieces.sources[piece] for job, piece in pairs if job.pieces],
            ),
        )
        for index, hypotheses in stream:
            found[index] = hypotheses
            if all(job.answer.cancelled() for job, _ in items):
                stream.close()  # type: ignore[attr-defined]
                return
        for (job, _), hypotheses_of_one in zip(pairs, found, strict=True):
            assert hypotheses_of_one is not None
            job.found.append(hypotheses_of_one)

    def _features(self, pairs: Sequence[tuple[TranslationJob, int]]) -> FeatureRows | None:
        sources = [job.pieces.sources[piece] for job, piece in pairs if job.pieces]
        return self.searching.image_features_of(sources)

    def _finish(self, job: TranslationJob) -> bool:
        """Whether a job is done; gives it its outcome then."""
        if job.answer.done():
            return True
        if job.left:
            return False
        try:
            succeed(job, job.finish())
        except Exception as error:
            fail(job, error)
        return True
