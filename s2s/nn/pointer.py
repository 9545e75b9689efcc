"""Pointer-generator: the model generates a token, or copies one from the source.

    P(w) = g P_generated(w) + (1 - g) sum_{j: word j of the source is w} a_j
    g = sigmoid(u . [c; h; e] + b)

(See, Liu & Manning 2017, "Get To The Point", equations 8 and 9; e is the decoder's input.) a is the
attention over the source's words, without EOS and padding, renormalized to sum to one. For a source
without words g is 1.

Ids of the extended target vocabulary: 0 to V-1 are the target vocabulary's. A token that it lacks
is V + j, with its first source position j. Ids of the extended source vocabulary: 0 to V'-1 are the
source vocabulary's. A token that it lacks is V' + x, with its id x in the extended target
vocabulary. `s2s.text.extended_vocabulary` computes both from text.

Dimension letters: B sentences, S source time, N rows (N = B*Q, those of a sentence adjacent),
V target vocabulary, X = V + S extended target vocabulary, T target time.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.nn.memory import Memory
from s2s.special import PAD, UNK

CERTAIN = 1e4
"""A logit of the gate so large that the sigmoid is exactly 1."""

NEVER = -1e30
"""In the place of log 0, because -inf would make a NaN of a zero gradient."""


class Gate(nn.Module):
    """The logit of a scalar gate, a linear function of its inputs.

    Of the pointer-generator it is that of generating a token rather than copying it; of
    `model.context_gate` that of passing the context on.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, *parts: Tensor) -> Tensor:
        """Logits [T, B] of [c; h; e] over whole sequences."""
        logits: Tensor = self.linear(torch.cat(parts, dim=-1)).squeeze(-1)
        return logits.float()

    def rows(self, *parts: Tensor) -> Tensor:
        """Logits [N] of one step.

        A product with a single column rounds the last rows of a batch differently, so that a
        sentence's output would depend on its place; a sum per row does not.
        """
        weighed_NW = torch.cat(parts, dim=-1) * self.linear.weight[0]
        return weighed_NW.float().sum(-1) + self.linear.bias.float()


def known_ids(ids: Tensor, vocabulary: int) -> Tensor:
    """Ids of an extended vocabulary for the embedding, with UNK for those beyond `vocabulary`."""
    return ids.masked_fill(ids >= vocabulary, UNK)


def extended_ids(
    source_BS: Tensor, words_BS: Tensor, target_of_source: Tensor, vocabulary: int
) -> Tensor:
    """Every word's id in the extended target vocabulary, int64 [B, S]; PAD at other positions.

    `source_BS` are extended source ids. `target_of_source` int64 [V'] has the target id of every
    source id: -1 if the target's vocabulary lacks it, -2 if it is not copied. `vocabulary` is V.
    """
    size = len(target_of_source)
    known_BS = target_of_source[source_BS.clamp(max=size - 1)]
    ids_BS = torch.where(source_BS < size, known_BS, source_BS - size)
    # A token that the target's vocabulary lacks is V + its first position.
    ids_BS = torch.where(ids_BS == -1, vocabulary + first_positions(source_BS), ids_BS)
    return ids_BS.masked_fill(~words_BS | (ids_BS < 0), PAD)


def first_positions(ids_BS: Tensor) -> Tensor:
    """int64 [B, S], the first position of each id in its row."""
    is_same_BSS = ids_BS.unsqueeze(2) == ids_BS.unsqueeze(1)
    return is_same_BSS.to(torch.uint8).argmax(-1)  # the first of equal values


def mixed_logits(logits_NV: Tensor, gate_N: Tensor, scores_NS: Tensor, memory: Memory) -> Tensor:
    """float32 [N, X]: logits of the mixture, from those of the generator, the gate and attention.

    They are log P without the constant log g - log sum exp(logits), which saves a pass over the
    vocabulary. A generated token keeps its logit; copying id x adds, as a logit,
    log sum exp(logits) - gate + log sum_{j: x} a_j. Ids of no token are -inf.
    """
    words_NS, copies_NS, first_NS = _per_row(memory, len(logits_NV))
    attention_NS = _attention(scores_NS, words_NS)
    # The sum over all copies of a token, at its first position.
    summed_NS = torch.zeros_like(attention_NS).scatter_add_(1, first_NS, attention_NS)
    summed_NS = summed_NS.gather(1, first_NS).clamp_min(torch.finfo(torch.float32).tiny)
    shift_N1 = (logits_NV.logsumexp(-1) - gate_N).unsqueeze(1)
    copied_NS = (summed_NS.log() + shift_N1).masked_fill(~words_NS, -torch.inf)
    mixed_NX = F.pad(logits_NV, (0, copies_NS.shape[1]), value=-torch.inf)
    both_NS = _log_sum(mixed_NX.gather(1, copies_NS), copied_NS)
    if not both_NS.requires_grad:
        return mixed_NX.scatter_(1, copies_NS, both_NS)
    # All copies of a token write the same value; the gradient must count it once.
    place_S = torch.arange(both_NS.shape[1], device=both_NS.device)
    once_NS = torch.where(first_NS == place_S, both_NS, both_NS.detach())
    return mixed_NX.scatter(1, copies_NS, once_NS)


def _log_sum(x: Tensor, y: Tensor) -> Tensor:
    """log(exp x + exp y), at most one of them -inf.

    `torch.logaddexp` rounds the last elements of a tensor differently, so that a result would
    depend on its place.
    """
    top = torch.maximum(x, y)
    return top + ((x - top).exp() + (y - top).exp()).log()


def _per_row(memory: Memory, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Words, copies and first positions [N, S] of the Q = N/B rows of every sentence."""
    assert memory.copies_BS is not None
    assert memory.first_BS is not None
    repeats = rows // memory.copies_BS.shape[0]
    parts = (memory.copies_BS, memory.first_BS)
    copies_NS, first_NS = (part.repeat_interleave(repeats, dim=0) for part in parts)
    return copies_NS != PAD, copies_NS, first_NS


def _attention(scores_NS: Tensor, words_NS: Tensor) -> Tensor:
    """float32 [N, S], summing to one over words; zeros in a source without words."""
    attention_NS = torch.softmax(scores_NS.float().masked_fill(~words_NS, NEVER), dim=-1)
    return attention_NS * words_NS


def copied_log_probs(scores_NS: Tensor, words_NS: Tensor, is_target_NS: Tensor) -> Tensor:
    """float32 [N]: log sum_j a_j over the words that are the target; NEVER if none is."""
    scores_NS = scores_NS.float()
    targets_NS = is_target_NS & words_NS
    target_N = scores_NS.masked_fill(~targets_NS, NEVER).logsumexp(-1)
    total_N = scores_NS.masked_fill(~words_NS, NEVER).logsumexp(-1)
    return (target_N - total_N).masked_fill(~targets_NS.any(-1), NEVER)
