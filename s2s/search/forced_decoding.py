"""Forced decoding: log-probabilities of given outputs, by teacher forcing.

Dimension letters: B pairs, S source time, T target time, V vocabulary.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from s2s.data.features.lookup import FeatureRows
from s2s.nn.batch import Regions
from s2s.nn.device import to_device
from s2s.search.bucketing import bucket
from s2s.search.inputs import Inputs
from s2s.special import BOS, EOS, PAD

Ids = Sequence[int]

PAIRS = 16
"""Pairs scored together."""

CELLS = 1 << 11
"""Most target positions (pairs x target time) of a batch, which bounds its logits."""


class Forced(Protocol):
    """A model under teacher forcing."""

    def __call__(
        self,
        source: Tensor,
        lengths: Tensor,
        target_input: Tensor,
        features: Sequence[Regions] = (),
        /,
    ) -> Tensor:
        """Logits [B, T, V] of every next token."""
        ...


@torch.inference_mode()
def forced(
    model: Forced,
    pairs: Sequence[tuple[Ids, Ids]],
    device: str,
    features: FeatureRows | None = None,
) -> list[float]:
    """Log-probability of each target, EOS included, given its source (ids without EOS, `features`).

    They equal those of search for the same tokens, to rounding. As in search, a source without
    tokens, or without the image features that the model reads, has the empty output with
    probability 1. Any other output of it is scored, unless features are missing: the caller refuses
    that. The model must be in `eval()` mode.
    """
    found = [0.0] * len(pairs)
    inputs = Inputs([source for source, _ in pairs], range(len(pairs)), None, features)
    asked = [i for i, (_, target) in enumerate(pairs) if len(target) or not inputs.is_blank(i)]
    asked.sort(key=lambda i: (bucket(len(pairs[i][1]) + 1), inputs.padded(i), i))
    while asked:
        time = bucket(len(pairs[asked[-1]][1]) + 1)  # the longest remaining target
        count = max(1, min(PAIRS, CELLS // time))
        batch, asked = asked[-count:], asked[:-count]
        totals = _totals(model, inputs, batch, [pairs[i][1] for i in batch], time, device)
        for index, total in zip(batch, totals, strict=True):
            found[index] = total
    return found


def _totals(  # noqa: PLR0917 (the parts of a batch)
    model: Forced, inputs: Inputs, batch: list[int], targets: list[Ids], time: int, device: str
) -> list[float]:
    """Log-probabilities of a batch whose targets are padded to `time`."""
    padded = tuple(map(max, zip(*map(inputs.padded, batch), strict=True)))
    source_BS, lengths_B, features = inputs.encodable(batch, padded, len(batch))
    input_BT = to_device(_padded([[BOS, *target] for target in targets], time), device)
    wanted_BT = to_device(_padded([[*target, EOS] for target in targets], time), device)
    more = ([one.to(device) for one in features],) if features else ()
    logits_BTV = model(to_device(source_BS, device), to_device(lengths_B, device), input_BT, *more)
    chosen_BT = logits_BTV.gather(-1, wanted_BT.unsqueeze(-1)).squeeze(-1)
    log_probs_BT = chosen_BT.double() - logits_BTV.logsumexp(-1).double()
    totals: list[float] = log_probs_BT.masked_fill(wanted_BT == PAD, 0.0).sum(1).tolist()
    return totals


def _padded(rows: Sequence[Ids], width: int) -> Tensor:
    padded = np.full((len(rows), width), PAD, dtype=np.int64)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    return torch.from_numpy(padded)
