"""Forced decoding: what a model gives to outputs that are there already, by teacher forcing.

Dimension letters: B pairs, S source time, T target time, V vocabulary.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from s2s.search.shapes import bucket
from s2s.text.special import BOS, EOS, PAD

Ids = Sequence[int]

PAIRS = 16
"""Pairs scored together."""

CELLS = 1 << 11
"""Most target positions (pairs x target time) of a batch, which bounds its logits."""


class Forced(Protocol):
    """A model under teacher forcing."""

    def __call__(self, source: Tensor, lengths: Tensor, target_input: Tensor, /) -> Tensor:
        """Logits [B, T, V] of every next token."""
        ...


@torch.inference_mode()
def forced(model: Forced, pairs: Sequence[tuple[Ids, Ids]], device: str) -> list[float]:
    """Log-probability of each target, EOS included, given its source (ids without EOS).

    What search gives to the same tokens, to rounding. As there, a source without tokens has an
    output without tokens for certain; any other output of it is asked of the model. The model must
    be in `eval()` mode.
    """
    found = [0.0] * len(pairs)
    asked = [i for i, (source, target) in enumerate(pairs) if len(source) or len(target)]
    asked.sort(key=lambda i: (bucket(len(pairs[i][1]) + 1), bucket(len(pairs[i][0]) + 1), i))
    while asked:
        time = bucket(len(pairs[asked[-1]][1]) + 1)  # the longest target that is left
        count = max(1, min(PAIRS, CELLS // time))
        batch, asked = asked[-count:], asked[:-count]
        totals = _totals(model, [pairs[i] for i in batch], time, device)
        for index, total in zip(batch, totals, strict=True):
            found[index] = total
    return found


def _totals(model: Forced, pairs: Sequence[tuple[Ids, Ids]], time: int, device: str) -> list[float]:
    """Log-probabilities of a batch whose targets are padded to `time`."""
    width = bucket(max(len(source) for source, _ in pairs) + 1)
    source_BS = _padded([[*source, EOS] for source, _ in pairs], width)
    input_BT = _padded([[BOS, *target] for _, target in pairs], time)
    wanted_BT = torch.from_numpy(_padded([[*target, EOS] for _, target in pairs], time)).to(device)
    lengths_B = torch.tensor([len(source) + 1 for source, _ in pairs])
    logits_BTV = model(
        torch.from_numpy(source_BS).to(device),
        lengths_B.to(device),
        torch.from_numpy(input_BT).to(device),
    )
    chosen_BT = logits_BTV.gather(-1, wanted_BT.unsqueeze(-1)).squeeze(-1)
    log_probs_BT = chosen_BT.double() - logits_BTV.logsumexp(-1).double()
    totals: list[float] = log_probs_BT.masked_fill(wanted_BT == PAD, 0.0).sum(1).tolist()
    return totals


def _padded(rows: Sequence[Ids], width: int) -> NDArray[np.int64]:
    padded = np.full((len(rows), width), PAD, dtype=np.int64)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    return padded
