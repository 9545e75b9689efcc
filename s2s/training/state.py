"""The state of training between updates, and how it is saved and restored.

Randomness is not part of it: batch order is a function of (seed, epoch) and dropout of (seed,
update), so a resumed run continues exactly.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any, get_args, get_type_hints

import torch
from torch import Tensor

from s2s.errors import RunError
from s2s.nn.cells.base import CellState
from s2s.nn.cells.lstm import flatten_parameters
from s2s.nn.model import Seq2Seq
from s2s.nn.state_dict import load_weights
from s2s.recipe.train import Train

LATER = {"batch_tokens", "best_nll", "planned_updates", "validated_update"}
"""Fields of a position that older checkpoints lack."""


CARRIED = "carried/"
"""Beginning of the names of carried states in a checkpoint, before layer and place."""


@dataclass
class Position:
    """The progress of training."""

    update: int = 0
    """Updates made."""
    epoch: int = 0
    """Epochs completed."""
    batch: int = 0
    """Batches of the current epoch that are done."""
    tokens: int = 0
    """Target tokens trained on, padding not counted."""
    seconds: float = 0.0
    """Time spent in training, validation included."""
    best_score: float | None = None
    """Best validation score so far; larger is better, so a loss is negated."""
    best_update: int | None = None
    """The update that reached it."""
    best_nll: float | None = None
    """The negative log-likelihood of that validation, which decides between equal scores."""
    stale: int = 0
    """Validations since then."""
    plateaus: int = 0
    """Reductions of a plateau schedule."""
    ended: str | None = None
    """Why training ended; None while it has not."""
    batch_tokens: int | None = None
    """The batch size that `train.batch_tokens: auto` found."""
    planned_updates: int | None = None
    """The number of updates that `train.budget` allows, once it is known (`s2s.training.plan`)."""
    validated_update: int = 0
    """The update of the last validation."""

    @property
    def current_epoch(self) -> int:
        """The epoch of the last update, counted from 1."""
        return self.epoch + (self.batch > 0 or self.epoch == 0)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Position":
        """The position of a checkpoint. Raises RunError if it is not one."""
        names = {item.name for item in fields(cls)}
        if not names - LATER <= set(found) <= names:
            raise RunError("the training state is not one of this version; start over: --restart")
        kinds = get_type_hints(cls)
        for name, value in found.items():
            if not _is_sound(value, get_args(kinds[name]) or (kinds[name],)):
                raise RunError(
                    f"the training state is damaged ('{name}' is {value!r:.40}); restore it, or "
                    "start over: --restart"
                )
        return cls(**found)


def _is_sound(value: object, kinds: tuple[Any, ...]) -> bool:
    """Whether a value of a position is of one of these types, and no negative whole number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return float in kinds or (int in kinds and 0 <= value < 2**63)
    return isinstance(value, kinds) and not isinstance(value, bool)


class TrainingState:
    """Model, optimizer, average of the weights and position."""

    def __init__(self, model: Seq2Seq, recipe: Train) -> None:
        self.model = model
        self.recipe = recipe
        self.parameters = dict(model.named_parameters())
        self.trained = {name: p for name, p in self.parameters.items() if p.requires_grad}
        """The parameters but for those that the recipe freezes."""
        self.stepped: list[str] = list(self.trained)
        """Names of the parameters that this process steps; other processes may step the rest."""
        self.optimizer = _optimizer(list(self.trained.values()), recipe)
        self.average = (
            {name: p.detach().clone() for name, p in self.parameters.items()}
            if recipe.average
            else None
        )
        self.position = Position()
        self.carried: tuple[CellState, ...] | None = None
        """Where training is on a stream, the last states of its rows, of each layer."""

    def update_average(self, left_out: bool | Tensor = False) -> None:
        """Move the average towards the weights, faster in the first updates.

        Not after an update whose step was `left_out`; on a GPU that is a tensor [] of 0 or 1.
        """
        if self.average is None or left_out is True or not self.stepped:
            return  # of few parameters, a process may step none
        update = self.position.update
        decay = min(self.recipe.average, (1 + update) / (10 + update))
        current = [self.parameters[name].detach() for name in self.stepped]
        averages = [self.average[name] for name in self.stepped]
        if isinstance(left_out, Tensor):
            moves = torch._foreach_sub(current, averages)
            torch._foreach_mul_(moves, (1.0 - decay) * (1.0 - left_out))
            torch._foreach_add_(averages, moves)
        else:
            torch._foreach_lerp_(averages, current, 1.0 - decay)

    @contextmanager
    def averaged(self) -> Iterator[Seq2Seq]:
        """The model in evaluation mode, with the average of its weights where there is one."""
        self._swap()
        flatten_parameters(self.model)
        self.model.eval()
        try:
            yield self.model
        finally:
            self.model.train()
            self._swap()

    def _swap(self) -> None:
        for name, average in (self.average or {}).items():
            parameter = self.parameters[name]
            parameter.data, average.data = average.data, parameter.data

    def moments(self, parameter: torch.nn.Parameter) -> dict[str, Tensor]:
        """The optimizer's moments of a parameter, zeros at first."""
        held: dict[str, Tensor] = self.optimizer.state[parameter]
        if not held:
            held["step"] = torch.tensor(0.0, device=parameter.device)
            held["exp_avg"] = torch.zeros_like(parameter)
            held["exp_avg_sq"] = torch.zeros_like(parameter)
        return held

    def weights(self) -> dict[str, Tensor]:
        """The weights that are saved: the average where there is one. Tied weights appear once."""
        source = self.average if self.average is not None else self.parameters
        return {name: tensor.detach().cpu() for name, tensor in source.items()}

    def training_tensors(self) -> dict[str, Tensor]:
        """The other tensors that resuming needs."""
        tensors = {}
        for name, parameter in self.parameters.items():
            for key in ("exp_avg", "exp_avg_sq"):
                if parameter in self.optimizer.state:
                    tensors[f"{key}/{name}"] = self.optimizer.state[parameter][key].cpu()
            if self.average is not None:
                tensors[f"parameter/{name}"] = parameter.detach().cpu()
        for layer, state in enumerate(self.carried or ()):
            tensors |= {f"{CARRIED}{layer}/{i}": one.cpu() for i, one in enumerate(state)}
        return tensors

    def training_meta(self) -> dict[str, Any]:
        """The position, as JSON."""
        return asdict(self.position)

    def restore(
        self, weights: Mapping[str, Tensor], training: Mapping[str, Tensor], meta: Mapping[str, Any]
    ) -> None:
        """Restore a checkpoint. Raises RunError if it belongs to another model."""
        self.position = Position.from_json(meta)
        saved_as = "parameter/" if self.average is not None else ""
        source = training if self.average is not None else weights
        found = {name: source.get(saved_as + name) for name in self.parameters}
        load_weights(self.parameters, found, "training state")
        if self.average is not None:
            load_weights(self.average, weights, "weights")
        self.carried = self._carried_of(training)
        for name, parameter in self.parameters.items() if self._has_moments(training) else ():
            if parameter.requires_grad:
                self.optimizer.state[parameter] = {
                    # The fused kernel wants its step counter beside the parameter.
                    "step": torch.tensor(float(self.position.update), device=parameter.device),
                    "exp_avg": training[f"exp_avg/{name}"].to(parameter.device),
                    "exp_avg_sq": training[f"exp_avg_sq/{name}"].to(parameter.device),
                }

    def _carried_of(self, training: Mapping[str, Tensor]) -> tuple[CellState, ...] | None:
        """The carried states of a checkpoint. Raises RunError where some are missing."""
        found = {name: one for name, one in training.items() if name.startswith(CARRIED)}
        if not found:
            return None
        device = next(iter(self.parameters.values())).device
        layers: list[CellState] = []
        while len(found) > sum(map(len, layers)):
            state: list[Tensor] = []
            while (one := found.get(f"{CARRIED}{len(layers)}/{len(state)}")) is not None:
                state.append(one.to(device))
            if not state:
                raise RunError(
                    "the training state lacks states of its stream; restore it, or start over: "
                    "--restart"
                )
            layers.append(tuple(state))
        return tuple(layers)

    def _has_moments(self, training: Mapping[str, Tensor]) -> bool:
        """Whether a checkpoint has moments, as all do but one before the first update. Raises
        RunError where some are missing or of another model."""
        shapes = {
            f"{key}/{name}": parameter.shape
            for name, parameter in self.parameters.items()
            for key in ("exp_avg", "exp_avg_sq")
            if parameter.requires_grad
        }
        if self.position.update == 0 and not training.keys() & shapes.keys():
            return False
        for name, shape in shapes.items():
            found = training.get(name)
            if found is None or found.shape != shape or not found.is_floating_point():
                what = "none" if found is None else f"{list(found.shape)} of {found.dtype}"
                raise RunError(
                    f"training state: expected '{name}' of {list(shape)}, found {what}: the file "
                    "is damaged, or of another model; restore it, or start over: --restart"
                )
        return True


def _optimizer(parameters: list[torch.nn.Parameter], recipe: Train) -> torch.optim.Optimizer:
    """AdamW without decay is Adam, so one class serves both."""
    settings = recipe.optimizer
    return torch.optim.AdamW(
        parameters,
        lr=settings.learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
        fused=True,
    )
