"""The thread of a model: loads it, and searches what waits in its queue, batch by batch."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from time import perf_counter

from s2s.serve.batches import BatchTranslator
from s2s.serve.faults import Refused
from s2s.serve.jobs import SingleJob, TranslationJob, fail

AnyJob = TranslationJob | SingleJob

GATHER_SECONDS = 0.05
"""The most that a batch waits for the clients of the one before, and no longer than half a batch
takes. Without it, the first of them to come back is searched alone and all others wait for that: a
batch of one takes more than half as long as one of 32."""

GATHER_WITHIN = 0.1
"""Seconds after a batch in which its clients are expected back."""

log = logging.getLogger("s2s.serve")


class Worker:
    """A thread with a model, and the queue of its jobs.

    All computation with the model happens in the thread. `submit` may be called from any other.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], BatchTranslator],
        *,
        queue: int,
        observe: Callable[[int, int, float], None] = lambda requests, pieces, seconds: None,
    ) -> None:
        """`load` is called in the thread; at most `queue` jobs wait."""
        self.name = name
        self.queue = queue
        self.loaded: Future[BatchTranslator] = Future()
        """The model, once it is loaded; or what was wrong."""
        self._load = load
        self._observe = observe
        self._waiting: deque[AnyJob] = deque()
        self._turns = count()
        self._changed = threading.Condition()
        self._is_stopping = False
        self._recent_seconds = 0.0
        """Of a batch, a moving average."""
        self._last = (0, 0.0)
        """Requests of the last batch, and when it ended."""
        # A daemon, so that a second Ctrl-C need not wait for a search.
        self._thread = threading.Thread(target=self._run, name=f"model {name}", daemon=True)

    def start(self) -> None:
        """Start the thread, which loads the model."""
        self._thread.start()

    @property
    def waiting(self) -> int:
        """The number of jobs that wait."""
        return len(self._waiting)

    @property
    def is_ready(self) -> bool:
        """Whether the model is loaded and its thread takes jobs."""
        is_loaded = self.loaded.done() and self.loaded.exception() is None
        return is_loaded and self._thread.is_alive() and not self._is_stopping

    @property
    def is_stopped(self) -> bool:
        """Whether the thread has ended."""
        return not self._thread.is_alive()

    def submit(self, job: AnyJob) -> None:
        """Append a job to the queue; raises Refused where it is full, or the server is stopping."""
        with self._changed:
            if self._is_stopping:
                raise Refused(503, "the server is stopping", retry_after=5)
            self._drop_abandoned()
            if len(self._waiting) >= self.queue:
                seconds = self._seconds_to_room()
                what = f"{len(self._waiting)} requests wait already; try again in {seconds} s"
                raise Refused(503, what, retry_after=seconds)
            job.turn = next(self._turns)
            self._waiting.append(job)
            self._changed.notify()

    def stop(self, seconds: float) -> None:
        """Take no further jobs, finish those that wait, and wait so long for the thread's end."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        self._thread.join(seconds)

    def _seconds_to_room(self) -> int:
        """When about half of the queue should be done, if each batch has one request; at least 1
        and at most 60 seconds."""
        return int(min(60, max(1, round(self._recent_seconds * self.queue / 2))))

    def _drop_abandoned(self) -> None:
        """Jobs whose clients have gone, or whose time is over, leave the queue."""
        kept = [job for job in self._waiting if not job.answer.cancelled()]
        self._waiting = deque(kept)

    def _run(self) -> None:
        try:
            translator = self._load()
        except BaseException as error:
            self.loaded.set_exception(error)
            return
        self.loaded.set_result(translator)
        while jobs := self._next():
            self._compute(translator, jobs)

    def _next(self) -> list[AnyJob]:
        """The jobs of the next batch: those with the key of the one that has waited longest.

        Waits for jobs; none after `stop`, once all are done.
        """
        with self._changed:
            while True:
                self._drop_abandoned()
                if self._waiting:
                    break
                if self._is_stopping:
                    return []
                self._changed.wait()
            self._gather()
            key = self._waiting[0].key
            chosen = [job for job in self._waiting if job.key == key]
            self._waiting = deque(job for job in self._waiting if job.key != key)
            return chosen

    def _gather(self) -> None:
        """Wait a moment for as many requests as the last batch had, if that has just ended."""
        requests, ended = self._last
        seconds = min(GATHER_SECONDS, 0.5 * self._recent_seconds)
        if perf_counter() - ended < GATHER_WITHIN:
            self._changed.wait_for(
                lambda: len(self._waiting) >= requests or self._is_stopping, seconds
            )

    def _compute(self, translator: BatchTranslator, jobs: list[AnyJob]) -> None:
        began = perf_counter()
        translations = [job for job in jobs if isinstance(job, TranslationJob)]
        before = {id(job): len(job.found) for job in translations}
        try:
            for job in jobs:
                if isinstance(job, SingleJob):
                    translator.alone(job)
            unfinished = translator.step(translations) if translations else []
        except Exception as error:  # a mistake of ours: the model goes on with other jobs
            log.exception("model %s", self.name)
            for job in jobs:
                fail(job, error)
            unfinished = []
        ended = perf_counter()
        self._last = (len(jobs), ended)
        seconds = ended - began
        self._recent_seconds += 0.2 * (seconds - self._recent_seconds)
        pieces = sum(len(job.found) - before[id(job)] for job in translations)
        self._observe(len(jobs), pieces, seconds)
        with self._changed:
            for job in unfinished:
                if len(job.found) > before[id(job)]:
                    # Behind the others: a long request does not keep short ones waiting.
                    job.turn = next(self._turns)
            self._waiting = deque(sorted([*self._waiting, *unfinished], key=lambda job: job.turn))
