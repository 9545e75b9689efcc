"""Shortlists: the target tokens that the output of a sentence may have.

The output layer and all that search does with its logits then cost as much as L tokens, not as much
as the vocabulary (Jean et al. 2015, "On using very large target vocabulary", section 3.3; Devlin
2017, "Sharp models on dull hardware", section 5). A shortlist is a function of its sentence alone,
and its length one of the sentence's padded length, so results do not depend on the batch.

Inside search a token is its place in the shortlist of its sentence. The special ids come first and
stay what they are; then the frequent tokens, which are the same for all sentences, so that their
part of the output layer is one matrix product; then the sentence's own; both by ascending id.

Dimension letters: B sentences, K hypotheses per sentence, N = B*K rows, S source time, E embedding
width, V source vocabulary, W target vocabulary, M translations of a source token, F frequent
tokens (special ones included), P a sentence's own tokens, L = F + P.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from torch import Tensor

from s2s.data.ibm_model1 import Lexicon
from s2s.errors import UsageError
from s2s.nn.batch import Regions
from s2s.nn.device import to_device
from s2s.nn.inference_model import InferenceModel
from s2s.nn.memory import DecoderState, Memory
from s2s.nn.model import Seq2Seq
from s2s.nn.step import Step
from s2s.nn.weighted_sum import weighted_sum
from s2s.search.constraints.spec import ConstraintSpec
from s2s.search.ensemble import Bundles, ensemble
from s2s.search.hypothesis import Hypothesis
from s2s.search.scorer import Scorer
from s2s.special import SPECIAL_PIECES

OutputModel = Seq2Seq | InferenceModel

_BITS = 20
"""Probabilities are summed as whole multiples of 2^-20: exactly, in whatever order."""


class Shortlist:
    """Chooses tokens: the `frequent` most frequent ones, and `best` for each source position.

    A sentence's own are those with the largest sum of p(token | source token) over its source
    tokens, which is what IBM Model 1 expects of them; where there are too few, the next frequent.
    """

    def __init__(self, lexicon: Lexicon, best: int, frequent: int, device: str = "cpu") -> None:
        ranked_W = to_device(torch.from_numpy(lexicon.by_frequency_W), device)
        self.vocabulary = len(ranked_W)
        self.best = best
        specials = len(SPECIAL_PIECES)
        first = ranked_W[ranked_W >= specials][:frequent].sort().values
        self.frequent_F = torch.cat((torch.arange(specials, device=device), first))
        self._frequent = set(self.frequent_F.tolist())
        self._tokens_VM = to_device(torch.from_numpy(lexicon.tokens_VM), device)
        probs_VM = to_device(torch.from_numpy(lexicon.probs_VM), device)
        self._weights_VM = (probs_VM.double() * 2.0**_BITS).round().long()
        # Below every weight, and different for every token: no ties.
        self._order_W = torch.empty_like(ranked_W)
        self._order_W[ranked_W] = torch.arange(self.vocabulary - 1, -1, -1, device=device)

    @property
    def is_all(self) -> bool:
        """Whether the frequent tokens are all there are, so that a shortlist saves nothing."""
        return len(self.frequent_F) == self.vocabulary

    def choose(self, source_BS: Tensor, extra: Sequence[Sequence[int]] | None = None) -> Tensor:
        """int64 [B, L], the tokens of B sentences (int64 ids, padded to the time they are in).

        `extra` names tokens that each sentence has to have. Raises UsageError where there are more
        of them than fit.
        """
        frequent_BF = self.frequent_F.expand(len(source_BS), -1)
        count = min(self.best * source_BS.shape[1], self.vocabulary - len(self.frequent_F))
        weights_BW = self._weights_VM.new_zeros(len(source_BS), self.vocabulary)
        found_BX = self._tokens_VM[source_BS].flatten(1)
        weights_BW.scatter_add_(1, found_BX, self._weights_VM[source_BS].flatten(1))
        weights_BW.mul_(self.vocabulary).add_(self._order_W)
        for row, tokens in zip(weights_BW, extra or (), strict=False):
            needed = len(set(tokens) - self._frequent)
            if needed > count:
                raise UsageError(
                    f"a shortlist has room for {count} tokens of a sentence's own, found {needed} "
                    "that are asked for; set --shortlist higher, or leave it out"
                )
            if tokens:
                asked = to_device(torch.tensor(list(tokens)), weights_BW.device)
                row.index_fill_(0, asked, torch.iinfo(torch.int64).max)
        weights_BW.index_fill_(1, self.frequent_F, -1)
        own_BP = weights_BW.topk(count, sorted=False).indices.sort(dim=-1).values
        return torch.cat((frequent_BF, own_BP), dim=-1)


@dataclass(frozen=True)
class NarrowMemory:
    """B encoded sources, and what the output layer needs for their own tokens."""

    memory: Memory
    tokens_BL: Tensor
    """int64, the token at each place."""
    weights_BEP: Tensor
    bias_BP: Tensor

    def select(self, rows: Tensor) -> Self:
        """Rows `rows` (int64 [M]) of self, in that order."""
        return replace(
            self,
            memory=self.memory.select(rows),
            tokens_BL=self.tokens_BL.index_select(0, rows),
            weights_BEP=self.weights_BEP.index_select(0, rows),
            bias_BP=self.bias_BP.index_select(0, rows),
        )

    def put(self, rows: Tensor, other: Self) -> Self:
        """Self with row `rows[i]` replaced by row i of `other`; in place, as weights are large."""
        return replace(
            self,
            memory=self.memory.put(rows, other.memory),
            tokens_BL=self.tokens_BL.index_copy_(0, rows, other.tokens_BL),
            weights_BEP=self.weights_BEP.index_copy_(0, rows, other.weights_BEP),
            bias_BP=self.bias_BP.index_copy_(0, rows, other.bias_BP),
        )


class Narrowed:
    """A model that reads and predicts places in shortlists; its output layer computes no others."""

    def __init__(self, model: OutputModel, shortlist: Shortlist) -> None:
        self.model = model
        self.shortlist = shortlist
        self.frequent_output = model.output_of(shortlist.frequent_F)

    @property
    def vocabulary(self) -> int:
        """Size of the target vocabulary."""
        return self.model.vocabulary

    def encode(
        self, source: Tensor, lengths: Tensor, features: Sequence[Regions] = ()
    ) -> NarrowMemory:
        """Memory of B sentences with the tokens that their sources ask for."""
        return self.encode_among(source, lengths, self.shortlist.choose(source), features)

    def encode_among(
        self, source: Tensor, lengths: Tensor, tokens: Tensor, features: Sequence[Regions] = ()
    ) -> NarrowMemory:
        """Memory of B sentences with given tokens int64 [B, L]."""
        own_BP, output = tokens[:, len(self.shortlist.frequent_F) :], self.model.output
        memory = self.model.encode(source, lengths, features)
        return NarrowMemory(memory, tokens, output.weight[own_BP].mT, output.bias[own_BP])

    def start(self, memory: NarrowMemory) -> DecoderState:
        """State before the first token."""
        return self.model.start(memory.memory)

    def step(self, memory: NarrowMemory, state: DecoderState, tokens: Tensor) -> Step[DecoderState]:
        """Read the tokens at places int64 [N]; float32 logits [N, L]."""
        sentences = len(memory.tokens_BL)
        tokens_BK = memory.tokens_BL.gather(1, tokens.view(sentences, -1))
        decoded, state = self.model.step_readout(memory.memory, state, tokens_BK.flatten())
        own_NP = weighted_sum(decoded.readout, memory.weights_BEP)
        own_BKP = own_NP.view(*tokens_BK.shape, -1).add_(memory.bias_BP.unsqueeze(1))
        frequent_NF = self.frequent_output(decoded.readout)
        logits_NL = torch.cat((frequent_NF, own_BKP.flatten(0, 1)), dim=-1)
        return Step(logits_NL.float(), state, decoded.weights)


@dataclass(frozen=True)
class Shortlisted:
    """One model or several that share their shortlists, as a scorer over places in these.

    Its logits are the members' own for the tokens of a shortlist, so that probabilities are those
    of a model that knows no others. The token map turns places back into tokens.
    """

    members: tuple[Narrowed, ...]
    shortlist: Shortlist
    listed: Tensor | None = None
    """int64 [B, L], what the next sentences to be encoded have; what their sources ask for if
    None."""
    scorer: Scorer[Any, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scorer", ensemble(self.members))

    @property
    def vocabulary(self) -> int:
        """Size of the target vocabulary."""
        return self.shortlist.vocabulary

    def token_map(self) -> "ShortlistTokens":
        """See `HasTokenMap`."""
        return ShortlistTokens(self)

    def among(self, tokens: Tensor) -> "Shortlisted":
        """Self, to encode sentences with given tokens int64 [B, L]."""
        return replace(self, listed=tokens)

    def encode(self, source: Tensor, lengths: Tensor, features: Sequence[Regions] = ()) -> Any:
        """Every member's memory of the sentences."""
        tokens = self.shortlist.choose(source) if self.listed is None else self.listed
        given = (source, lengths, tokens, features)
        memories = [member.encode_among(*given) for member in self.members]
        return memories[0] if len(memories) == 1 else Bundles(tuple(memories))

    def start(self, memory: Any) -> Any:
        """State before the first token."""
        return self.scorer.start(memory)

    def step(self, memory: Any, state: Any, tokens: Tensor) -> Step[Any]:
        """Read the tokens at places int64 [N]; logits [N, L]."""
        return self.scorer.step(memory, state, tokens)


class ShortlistTokens:
    """The token map of a queue: each sentence has the tokens of its own shortlist."""

    def __init__(self, scorer: Shortlisted) -> None:
        self.scorer = scorer
        self.listed: dict[int, Tensor] = {}
        """int64 [L] on the host, by sentence."""

    def scorer_for(
        self, keys: Sequence[int], source_ES: Tensor, wanted: Sequence[Sequence[int]]
    ) -> Shortlisted:
        """See `TokenMap`."""
        tokens_EL = self.scorer.shortlist.choose(source_ES, wanted)
        self.listed.update(zip(keys, tokens_EL.cpu(), strict=False))
        return self.scorer.among(tokens_EL)

    def scorer_of(self, key: int) -> Shortlisted:
        """See `TokenMap`."""
        device = self.scorer.shortlist.frequent_F.device
        return self.scorer.among(to_device(self.listed[key].unsqueeze(0), device))

    def constraint(self, key: int, constraint: ConstraintSpec) -> ConstraintSpec:
        """See `TokenMap`."""
        if not constraint.constraints:
            return constraint
        return constraint.among(self.listed[key].tolist())

    def restored(self, key: int, found: list[Hypothesis]) -> list[Hypothesis]:
        """See `TokenMap`."""
        return restored(found, self.listed.pop(key).tolist())


def shortlisted(
    models: Sequence[OutputModel], lexicon: Lexicon, best: int, frequent: int, device: str
) -> Scorer[Any, Any]:
    """The models as one scorer with shortlists; without where these would hold all tokens."""
    shortlist = Shortlist(lexicon, best, frequent, device)
    if shortlist.is_all:
        return ensemble(models)
    return Shortlisted(tuple(Narrowed(model, shortlist) for model in models), shortlist)


def whole(scorer: Scorer[Any, Any]) -> Scorer[Any, Any]:
    """The scorer over all tokens that one with shortlists narrows; any other is itself."""
    if isinstance(scorer, Shortlisted):
        return ensemble([member.model for member in scorer.members])
    return scorer


def restored(found: Sequence[Hypothesis], tokens: Sequence[int]) -> list[Hypothesis]:
    """Hypotheses with the tokens at their places in a shortlist."""
    return [replace(h, tokens=tuple(tokens[place] for place in h.tokens)) for h in found]
