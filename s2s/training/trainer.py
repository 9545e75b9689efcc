"""The training loop: epochs of updates, validation, checkpoints; stops and resumes anywhere.

Events of `metrics.jsonl`, each with update, epoch (those completed), tokens and seconds so far:

    start         what trains where: versions, device, precision, parameters, updates to come,
                  memory
    plan          the number of updates that a budget allows, when it is first known or changes
    update        averages over the updates since the last such event
    split         memory was too small for whole batches, for the first time since the start
    threads       another number of threads, for other processes took or left cores
    gradients     norms by part of the model, every 50 updates: a part without one does not learn
    validation    loss and scores, and whether they are the best so far
    interrupted   after a signal; saved
    diverged      the loss is not finite, or worse than guessing; not saved
    failed        another error, with its message
    end           why training ended

A `start` with `is_resumed` resumes at its update: earlier events of later updates are void.
"""

import math
import os
import platform
import time
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from typing import Any

import torch

from s2s.data.epochs import Epochs
from s2s.data.store import Corpus
from s2s.data.stream import StreamEpochs
from s2s.data.subword_sampling import open_subword_sampler
from s2s.errors import Interrupted, RunError, TrainingError
from s2s.nn.batch import Batch
from s2s.nn.device import Precision
from s2s.recipe.recipe import Recipe
from s2s.recipe.train import PlateauSchedule
from s2s.run.checkpoints import SavedState
from s2s.run.directory import Run
from s2s.text.tokenizer_pair import TokenizerPair
from s2s.training.batch_size_finder import FoundBatchSize
from s2s.training.distributed.process_group import (
    SINGLE_PROCESS,
    PendingActions,
    ProcessGroup,
    ReportedByRankZero,
    agreed,
    share,
)
from s2s.training.objective import Objective, Validate
from s2s.training.plan import FIRST_PLANS, TrainingPlan, end_reason
from s2s.training.reporter import Reporter
from s2s.training.running_averages import RunningAverages
from s2s.training.signals import StopRequest, stop_request
from s2s.training.state import Position, TrainingState
from s2s.training.thread_choice import thread_choice
from s2s.training.update import Updater
from s2s.version import __version__

LOG_EVERY = 50
"""Updates between two reads of the device, which sums losses in between."""


TIME_MULTIPLE = 4
"""Padded lengths are multiples of this: kernels are prepared per shape, and fewer shapes cost less
time and memory than the padding."""


@dataclass(frozen=True)
class TrainingContext:
    """The inputs of a training besides its state."""

    recipe: Recipe
    run: Run
    train: Corpus
    objective: Objective
    validate: Validate | None
    """None without validation data."""
    tokenizers: TokenizerPair
    precision: Precision
    batch_size: FoundBatchSize
    group: ProcessGroup = SINGLE_PROCESS
    """The processes that train together; in all else their contexts are equal."""


class Trainer:
    """Trains until the recipe's end, early stopping, or a request to stop."""

    def __init__(self, context: TrainingContext, state: TrainingState, reporter: Reporter) -> None:
        self.context = context
        self.group = context.group
        self.recipe = context.recipe.train
        self.state = state
        self.reporter = reporter
        self.device = state.model.output.bias.device
        self.epochs = self._epochs()
        self.epoch = self.epochs(state.position.epoch)
        if state.position.batch > len(self.epoch.plan):
            raise RunError(
                f"{context.run.folder}: the training state is of batch {state.position.batch:,} of "
                f"an epoch of {len(self.epoch.plan):,}, so the data or the state have changed; "
                "restore them, or start over: --restart"
            )
        per_epoch = math.ceil(len(self.epochs(0).plan) / self.recipe.accumulate)
        self.plan = TrainingPlan(self.recipe, state.position, per_epoch)
        self.updater = self._updater()
        self.window = RunningAverages(self.device, context.objective.measures)
        self.threads = thread_choice(self.device, self.group)
        self.has_diverged = False
        self.has_told_flat = False
        self.has_split = context.batch_size.pass_tokens is not None  # reported already
        state.position.ended = end_reason(state.position, self.recipe)
        self.saved_update = state.position.update
        self.saved_at = self.clock = time.monotonic()

    def run(self) -> None:
        """Train to the end.

        Raises Interrupted after a signal, with the state saved, and TrainingError when the loss
        diverges or a checkpoint cannot be written. All processes of a group raise them; rank 0
        reports.
        """
        position = self.state.position
        is_repeated = self.group.is_launched
        with stop_request(is_repeated=is_repeated) as stop, closing(self.epochs):
            self._prepare_next()
            self._event("start", is_resumed=position.update > 0, **self._start_facts())
            self._begin_reports()
            try:
                while position.ended is None:
                    self._update()
                    self._after_update(stop)
            except Exception as error:
                self._log_failure(error)
                raise
        self._event("end", reason=position.ended)

    def _begin_reports(self) -> None:
        """Begin the reports; the time that trackers take to open is not training's."""
        began = time.monotonic()
        self.reporter.begin(self.state.position, self.plan.known_updates)
        opening = time.monotonic() - began
        self.clock += opening
        self.saved_at += opening
        self.window.restart()

    def _updater(self) -> Updater:
        """The updater; `pass_tokens` are those of all processes, which share them."""
        context, most = self.context, self.context.batch_size.pass_tokens
        return Updater(
            self.state,
            context.objective,
            context.recipe.seed,
            context.precision,
            self.plan.total_updates,
            group=self.group,
            pass_tokens=None if most is None else max(1, most // self.group.size),
        )

    def _update(self) -> None:
        position = self.state.position
        pair_groups = [
            self.epoch.plan[index]
            for index in range(
                position.batch, min(position.batch + self.recipe.accumulate, len(self.epoch.plan))
            )
        ]
        epoch, is_watched = self.epoch, (position.update + 1) % LOG_EVERY == 0
        shares = [share(pairs, self.group) for pairs in pair_groups]
        batches = [epoch.collate(pairs, TIME_MULTIPLE) for pairs in shares if len(pairs)]
        tokens = sum(map(epoch.num_target_tokens, pair_groups))
        update = self.updater(batches, tokens=tokens, watch=is_watched)
        position.batch += len(pair_groups)
        self._tick()
        if update.gradient_norm.device.type == "cpu" and not bool(update.gradient_norm.isfinite()):
            raise self._diverged(math.nan)
        self.window.add(update)
        if update.parts > len(batches):
            self._report_split(update.parts, batches)
        if update.part_norms is not None:
            norms = {part: float(norm) for part, norm in update.part_norms.items()}
            self._event("gradients", norms=norms)
            self._log()
        if is_watched or position.update in FIRST_PLANS:
            self._revise_plan()
        if self.threads is not None and (change := self.threads.revise()) is not None:
            torch.set_num_threads(change.threads)
            self._event("threads", threads=change.threads, others=change.others)
            self.reporter.note(f"{self.context.run.folder}: {change.message}")

    def _revise_plan(self) -> None:
        """Plan the rest of a training with a budget by the speed so far, that of rank 0."""
        if self.recipe.budget is None:
            return
        if self.plan.revise(self.group.all_gather(self.state.position.seconds)[0]):
            self.updater.total_updates = self.plan.total_updates
            self._event("plan", total_updates=self.plan.total_updates)
            self.reporter.replanned(self.plan.total_updates)

    def _report_split(self, parts: int, batches: list[Batch]) -> None:
        """Report once that memory is too small for whole batches."""
        if self.has_split:
            return
        self.has_split = True
        self._event("split", batches=len(batches), parts=parts)
        pairs = sum(len(batch.target_lengths) for batch in batches)
        self.reporter.note(
            f"{self.context.run.folder}: memory was too small for update "
            f"{self.state.position.update} ({pairs:,} pairs), which was computed in {parts} parts, "
            "as others will be. The gradients are the same; a smaller train.batch_tokens with a "
            "larger train.accumulate would take less time"
        )

    def _after_update(self, stop: StopRequest) -> None:
        position = self.state.position
        is_save_due = self._since_save() > 60.0 * self.recipe.save_minutes
        # A barrier: all processes have stepped.
        pending = agreed(self.group.all_gather(PendingActions(stop.signal_number, is_save_due)))
        epoch_ended = position.batch >= len(self.epoch.plan)
        if epoch_ended:
            position.epoch, position.batch = position.epoch + 1, 0
            self.state.carried = None
        position.ended = end_reason(position, self.recipe)
        if position.ended or self.plan.is_validation_due(epoch_ended=epoch_ended):
            self._validate()
        elif pending.is_save_due:
            self._save()
        if pending.signal_number is not None and position.ended is None:
            self._save()
            self._event("interrupted", signal=pending.signal_number)
            raise Interrupted(
                f"{self.context.run.folder}: saved at update {position.update}; "
                "the same command resumes there",
                pending.signal_number,
            )
        if epoch_ended and position.ended is None:
            self.epoch = self.epochs(position.epoch)
            self._prepare_next()

    def _validate(self) -> None:
        """Validate, update the best score, decide about early stopping, and save."""
        self._log()
        position, validate = self.state.position, self.context.validate
        position.validated_update = position.update
        if validate is None:
            self._save(is_best=True, keep=self.recipe.keep)
            return
        with self.state.averaged() as model:
            found = validate(model, self.group)
        score = found.score(self.recipe.best)
        if score == position.best_score == 0.0:
            self._tell_flat()
        is_best = _is_best(position, score, found.nll)
        if is_best:
            position.best_score, position.best_update, position.stale = score, position.update, 0
            position.best_nll = found.nll
        else:
            self._count_stale()
        self._tick()
        self._event("validation", is_best=is_best, **found.as_json())
        self.reporter.validation(position, found, is_best)
        self._save(is_best=is_best, score=score, keep=self.recipe.keep)

    def _tell_flat(self) -> None:
        """Report once that the score which is to choose the best checkpoint does not."""
        if not self.has_told_flat:
            self.has_told_flat = True
            self.reporter.note(
                f"{self.context.run.folder}: {self.recipe.best} is 0 in this validation as in the "
                "best one, so the loss chooses between them; exact, cer or chrf as train.best tell "
                "more outputs apart"
            )

    def _count_stale(self) -> None:
        position, schedule = self.state.position, self.recipe.schedule
        position.stale += 1
        if isinstance(schedule, PlateauSchedule) and position.stale % schedule.patience == 0:
            position.plateaus += 1
        position.ended = end_reason(position, self.recipe)

    def _save(
        self, *, is_best: bool = False, score: float | None = None, keep: int | None = None
    ) -> None:
        """Write a checkpoint, unless this update has one."""
        state, position = self.state, self.state.position
        if position.update == self.saved_update:
            return
        self._log()
        if not all(bool(torch.isfinite(w).all()) for w in state.parameters.values()):
            raise self._diverged(math.nan)
        self.group.check_same(state)
        self._tick()
        if self.group.rank == 0:
            saved = SavedState(state.training_tensors(), state.training_meta())
            self.context.run.write_checkpoint(
                position.update, state.weights(), saved, score=score, is_best=is_best, keep=keep
            )
        self.group.all_gather(None)  # a barrier: the checkpoint is complete
        self.saved_update, self.saved_at = position.update, time.monotonic()
        self.window.restart()

    def _log(self) -> None:
        """Report the updates since the last report, and check their loss.

        A checkpoint is written only after this check, so that a diverged model never replaces the
        last good one.
        """
        if not self.window.updates:
            return
        window = self.window.read()
        if self.context.objective.has_diverged(window.smoothed, window.nll):
            raise self._diverged(window.smoothed)
        self._event("update", **window.as_json())
        self.reporter.update(self.state.position, window)

    def _log_failure(self, error: Exception) -> None:
        """Log the error that ends training, unless the log has it: for lists of runs."""
        if isinstance(error, Interrupted) or self.has_diverged:
            return
        with suppress(RunError):  # such as a full disk, which may be the reason
            self._event("failed", reason=f"{error}" or type(error).__name__)

    def _diverged(self, loss: float) -> TrainingError:
        position, run = self.state.position, self.context.run
        self.has_diverged = True
        self._event("diverged", loss=loss)
        last = run.checkpoints().last
        kept = f"the checkpoint of update {last} is intact" if last else "nothing was saved yet"
        kind = ReportedByRankZero if self.group.rank else TrainingError
        return kind(
            f"{run.folder}: update {position.update}: training diverged (loss {loss:.3g}); {kept}; "
            "try a lower train.optimizer.learning_rate, more warmup or a smaller train.clip_norm"
        )

    def _start_facts(self) -> dict[str, Any]:
        """Facts of the event `start`: what trains, and where."""
        return {
            "total_updates": self.plan.total_updates,
            "parameters": sum(p.numel() for p in self.state.parameters.values()),
            "trained_parameters": sum(p.numel() for p in self.state.trained.values()),
            "precision": self.context.precision,
            "device": str(self.device),
            "processes": self.group.size,
            "threads": torch.get_num_threads(),
            "memory": asdict(self.context.batch_size),
            "versions": {
                "s2s": __version__,
                "torch": str(torch.__version__),
                "python": platform.python_version(),
            },
        }

    def _event(self, kind: str, **values: Any) -> None:
        if self.group.rank:
            return
        position = self.state.position
        where = {"update": position.update, "epoch": position.epoch, "tokens": position.tokens}
        self.context.run.append_event(
            {"event": kind, **where, "seconds": round(position.seconds, 3), **values}
        )

    def _tick(self) -> None:
        now = time.monotonic()
        self.state.position.seconds += now - self.clock
        self.clock = now

    def _since_save(self) -> float:
        return time.monotonic() - self.saved_at

    def _epochs(self) -> Epochs | StreamEpochs:
        """The epochs; with a GPU the cores of the CPU are free for subword sampling."""
        context, rank = self.context, self.group.rank
        if (stream := self.recipe.stream) is not None:
            return StreamEpochs(context.train, stream.rows, stream.window)
        spare = ((os.cpu_count() or 1) - 1) // self.group.local_world_size
        threads = 1 if self.device.type == "cpu" else max(1, min(8, spare))
        sampler = open_subword_sampler(
            context.train,
            context.tokenizers,
            context.recipe,
            context.run.folder / f"sampling{rank or ''}",
            threads,
        )
        return Epochs(context.train, context.recipe, TIME_MULTIPLE, sampler)

    def _prepare_next(self) -> None:
        coming = self.state.position.epoch + 1
        if coming < self.recipe.epochs:
            self.epochs.prepare(coming)


def _is_best(position: Position, score: float, nll: float) -> bool:
    """Whether a validation is the best so far. Equal scores, as of a metric that is 0 for weak
    models, do not decide: the lower loss does."""
    if position.best_score is None or score > position.best_score:
        return True
    is_equal = score == position.best_score and position.best_nll is not None
    return is_equal and nll < (position.best_nll or 0.0)
