"""Several models as one scorer: the mean of their probabilities at every step.

Dimension letters: B pairs, N rows, V vocabulary, S source time, T target time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from s2s.nn.batch import Regions
from s2s.nn.inference_model import InferenceModel
from s2s.nn.model import Seq2Seq
from s2s.nn.step import Step
from s2s.search.forced_decoding import Forced
from s2s.search.scorer import Rows, Scorer


@dataclass(frozen=True)
class Bundles:
    """A bundle of every member, all with the same rows."""

    members: tuple[Any, ...]
    """`Rows` each, of its member's own type."""

    def select(self, rows: Tensor) -> "Bundles":
        """Rows `rows` (int64 [M]) of every member's bundle."""
        return Bundles(tuple(member.select(rows) for member in self.members))

    def put(self, rows: Tensor, other: "Bundles") -> "Bundles":
        """Every member's bundle with row `rows[i]` replaced by row i of `other`."""
        pairs: zip[tuple[Rows, Any]] = zip(self.members, other.members, strict=True)
        return Bundles(tuple(member.put(rows, new) for member, new in pairs))


class Ensemble:
    """Predicts the mean of its members' probabilities, and the mean of their attention weights.

    The members read the same source ids and predict the same tokens.
    """

    def __init__(self, members: Sequence[Scorer[Any, Any]]) -> None:
        assert len({member.vocabulary for member in members}) == 1, "one target tokenizer"
        self.members = tuple(members)

    @property
    def vocabulary(self) -> int:
        """Size of the target vocabulary."""
        return self.members[0].vocabulary

    def encode(self, source: Tensor, lengths: Tensor, features: Sequence[Regions] = ()) -> Bundles:
        """Every member's memory of the sentences."""
        more = (features,) if features else ()
        return Bundles(tuple(member.encode(source, lengths, *more) for member in self.members))

    def start(self, memory: Bundles) -> Bundles:
        """Every member's state before the first token."""
        pairs = zip(self.members, memory.members, strict=True)
        return Bundles(tuple(member.start(own) for member, own in pairs))

    def step(self, memory: Bundles, state: Bundles, tokens: Tensor) -> Step[Bundles]:
        """Read `tokens` int64 [N]; the logits are logarithms of the mean probabilities.

        Attention is the mean of the members'; None unless all have it, over equally many positions.
        """
        parts = zip(self.members, memory.members, state.members, strict=True)
        steps = [member.step(own, before, tokens) for member, own, before in parts]
        return Step(
            mean_of_probabilities([step.logits for step in steps]),
            Bundles(tuple(step.state for step in steps)),
            _mean_of_weights([step.attention for step in steps]),
        )


class ForcedEnsemble:
    """The ensemble under teacher forcing."""

    def __init__(self, members: Sequence[Forced]) -> None:
        self.members = tuple(members)

    def __call__(
        self,
        source: Tensor,
        lengths: Tensor,
        target_input: Tensor,
        features: Sequence[Regions] = (),
    ) -> Tensor:
        """Logarithms [B, T, V] of the mean probabilities of every next token."""
        more = (features,) if features else ()
        logits = [member(source, lengths, target_input, *more) for member in self.members]
        return mean_of_probabilities(logits)


def ensemble(members: Sequence[Scorer[Any, Any]]) -> Scorer[Any, Any]:
    """The members as one scorer; a single member is returned as it is."""
    return members[0] if len(members) == 1 else Ensemble(members)


def forcible(scorer: Scorer[Any, Any]) -> Forced:
    """A scorer under teacher forcing."""
    if isinstance(scorer, Ensemble):
        return ForcedEnsemble([forcible(member) for member in scorer.members])
    if isinstance(scorer, InferenceModel):
        return scorer.model
    assert isinstance(scorer, Seq2Seq), "what a run loads"
    return scorer


def mean_of_probabilities(logits: Sequence[Tensor]) -> Tensor:
    """Logarithm, float32 [N, V], of the mean of softmax(logits) of every member's logits [N, V].

    N may be several dimensions.

    A `logsumexp` over the members, written out: torch sums five members or more in an order that
    depends on the place of a row among others, and so does the last bit of the scores.
    """
    members_NV = [member_NV.float().log_softmax(-1) for member_NV in logits]
    # Finite, so that a token without probability for any member is -inf and not NaN.
    highest_NV = torch.full_like(members_NV[0], torch.finfo(torch.float32).min)
    for member_NV in members_NV:
        highest_NV = torch.maximum(highest_NV, member_NV)
    total_NV = torch.zeros_like(highest_NV)
    for member_NV in members_NV:
        total_NV += (member_NV - highest_NV).exp()
    return total_NV.log() + (highest_NV - math.log(len(members_NV)))


def _mean_of_weights(weights: Sequence[Tensor | None]) -> Tensor | None:
    """Mean of the members' attention [N, S]; None where one has none, or they differ in S."""
    known = [weights_NS for weights_NS in weights if weights_NS is not None]
    if len(known) < len(weights) or len({weights_NS.shape for weights_NS in known}) > 1:
        return None
    total_NS = torch.zeros_like(known[0])
    for weights_NS in known:
        total_NS += weights_NS
    return total_NS / len(known)
