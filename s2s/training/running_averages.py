"""Averages of training's numbers between two lines of the log."""

import time

import torch
from torch import Tensor

from s2s.training.reporter import Window
from s2s.training.update import Update


class RunningAverages:
    """Sums over a window of updates, which stay on the device until they are read."""

    def __init__(self, device: torch.device, measures: tuple[str, ...] = ()) -> None:
        """`measures` are the names of the objective's (`Objective.measures`)."""
        self.device = device
        self.measures = measures
        self.restart()

    def restart(self) -> None:
        """Start a new window."""
        self.values: Tensor = torch.zeros(4, dtype=torch.float64, device=self.device)
        self.measured: Tensor | None = None
        self.tokens = self.updates = 0
        self.learning_rate = 0.0
        self.began = time.monotonic()

    def add(self, update: Update) -> None:
        """Add an update, without a wait for the device."""
        parts = (update.smoothed, update.nll, update.gradient_norm, update.readout_deviation)
        self.values += torch.stack([part.double() for part in parts])
        if update.measures is not None:
            found = update.measures.double()
            self.measured = found if self.measured is None else self.measured + found
        self.tokens += update.tokens
        self.updates += 1
        self.learning_rate = update.learning_rate

    def read(self) -> Window:
        """The averages of the window; a new one starts."""
        smoothed, nll, norm, deviation = self.values.tolist()
        window = Window(
            smoothed=smoothed / self.tokens,
            nll=nll / self.tokens,
            gradient_norm=norm / self.updates,
            learning_rate=self.learning_rate,
            tokens_per_second=self.tokens / (time.monotonic() - self.began),
            readout_deviation=deviation / self.updates,
            measures=self._averages(),
        )
        self.restart()
        return window

    def _averages(self) -> dict[str, float]:
        """The measures, averaged over pairs; none where no pair has been measured."""
        pairs, *sums = [0.0] if self.measured is None else self.measured.tolist()
        return (
            {name: one / pairs for name, one in zip(self.measures, sums, strict=True)}
            if pairs
            else {}
        )
