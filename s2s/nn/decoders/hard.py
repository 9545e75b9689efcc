"""The decoder of hard attention (Wu et al. 2018; Wu & Cotterell 2019).

Dimension letters: T target time, B sentences, N rows, E embedding width, D encoder state width,
H decoder width, S source time, V vocabulary.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from s2s.nn.decoders.base import Decoder, DecoderOutput
from s2s.nn.dropout import channel_mask
from s2s.nn.hard_attention import (
    Emissions,
    OutputLayer,
    log_normalizers,
    log_posterior,
    log_prior,
    log_priors,
    marginal,
    masked_scores,
    target_logits,
)
from s2s.nn.memory import DecoderState, Memory
from s2s.nn.pointer import NEVER
from s2s.nn.step import Step
from s2s.recipe.model import HardAttention, LuongDecoder, Model


class HardReadout(nn.Module):
    """r_ij = tanh(W h_i + U s_j + b) of a decoder state and a source position.

    One matrix [W U] in the literature; the two products are computed once for a step and once for a
    position.
    """

    def __init__(self, width: int, source_width: int, embeddings: int) -> None:
        super().__init__()
        self.width = width
        self.state = nn.Linear(width, embeddings)
        self.source = nn.Linear(source_width, embeddings, bias=False)
        whole = torch.empty(embeddings, width + source_width)
        nn.init.xavier_uniform_(whole)
        with torch.no_grad():
            self.state.weight.copy_(whole[:, :width])
            self.source.weight.copy_(whole[:, width:])
            self.state.bias.zero_()


class Hard(Decoder):
    """h_i = LSTM(e_i, h_{i-1}); e_ij = score(h_i, s_j); each r_ij predicts from one position.

    The recurrence reads the tokens alone, so that states do not depend on alignments: that of Luong
    et al. 2015 without input feeding. `s2s.nn.hard_attention` has the sums over alignments. With
    monotonic attention a state carries what the posterior of the alignment needs once the step's
    token is known: log q_i [N, S], the normalizers of its logits [N, S], and W h_i + b [N, E].
    """

    reads_embedding = False

    def __init__(
        self, recipe: Model, section: LuongDecoder, attention: HardAttention, source_width: int
    ) -> None:
        upper = [section.width] * (section.layers - 1)
        super().__init__(recipe, source_width, [recipe.embeddings, *upper])
        self.is_monotonic = attention.kind == "hard_monotonic"
        self.readout: HardReadout = HardReadout(section.width, source_width, recipe.embeddings)

    def source_readouts(self, states_BSD: Tensor) -> Tensor:
        """U s [B, S, E] of encoder states."""
        found: Tensor = self.readout.source(states_BSD)
        return found

    def readout_bounds(self, embedding_E: Tensor, state_D: Tensor) -> dict[str, Tensor]:
        """See `Decoder`."""
        return {"state": embedding_E.new_full((self.width,), self.output_bound), "source": state_D}

    def start(self, memory: Memory) -> DecoderState:
        """See `Decoder`; a_0 is the first position, whatever is read."""
        state = super().start(memory)
        if not self.is_monotonic:
            return state
        assert memory.readouts_BSE is not None, "a memory for hard attention"
        zeros_BS = torch.zeros_like(memory.mask_BS, dtype=torch.float32)
        prior_BS = torch.full_like(zeros_BS, NEVER)
        prior_BS[:, 0] = 0.0
        own_BE = memory.readouts_BSE.new_zeros(len(zeros_BS), memory.readouts_BSE.shape[2])
        return replace(state, alignment=(prior_BS, zeros_BS, own_BE))

    def teacher_forced(self, memory: Memory, e_TBE: Tensor) -> DecoderOutput:
        """See `Decoder`; readouts are W h_i + b, scores are NEVER at padding; no weights."""
        h_TBH = self.run_layers(e_TBE, self.start(memory), first=0)
        assert self.scores is not None
        scores_BTS: Tensor = self.scores(h_TBH.transpose(0, 1), memory.keys)
        scores_BTS = masked_scores(scores_BTS.float(), memory.mask_BS)
        own_TBE: Tensor = self.readout.state(self.drop(h_TBH))
        kept = None
        if self.training and self.readout_dropout > 0:
            kept = channel_mask(own_TBE, self.readout_dropout, None)[0]
        return DecoderOutput(own_TBE, None, scores_BTS, kept=kept)

    def step(
        self, memory: Memory, state: DecoderState, e_NE: Tensor
    ) -> tuple[DecoderOutput, DecoderState]:
        """See `Decoder`; as `teacher_forced`. The state lacks the step's alignment."""
        h_NH, layers = self.step_layers(e_NE, state.layers, first=0)
        assert self.scores is not None
        scores_NS = self.scores.rows(h_NH, memory.keys)
        scores_BQS = scores_NS.view(len(memory.mask_BS), -1, scores_NS.shape[1])
        scores_NS = masked_scores(scores_BQS.float(), memory.mask_BS).flatten(0, 1)
        return DecoderOutput(self.readout.state(h_NH), None, scores_NS), DecoderState(tuple(layers))

    def log_probs(
        self, memory: Memory, decoded: DecoderOutput, target_BT: Tensor, output: OutputLayer
    ) -> Tensor:
        """log p(v | y_<i) float32 [B, T, V] of every next token, whose inputs are `target_BT`."""
        assert decoded.scores is not None
        time, sentences = decoded.readout.shape[:2]
        emissions = self.emissions(memory, decoded, output)
        # Row t * B + b is step t of sentence b, whose token is the next input; the last has none.
        next_N = target_BT.roll(-1, dims=1).t().flatten()
        logit_NS, normalizers_NS = emissions.each(target_logits, next_N).unbind(-1)
        said_TBS = (logit_NS - normalizers_NS).view(time, sentences, -1)
        prior_BTS = log_priors(decoded.scores, said_TBS.transpose(0, 1), self.is_monotonic)
        prior_NS = prior_BTS.transpose(0, 1).flatten(0, 1)
        log_probs_NV = emissions.each(marginal, prior_NS - normalizers_NS)
        return log_probs_NV.view(time, sentences, -1).transpose(0, 1)

    def emissions(
        self,
        memory: Memory,
        decoded: DecoderOutput,
        output: OutputLayer,
        places_N: Tensor | None = None,
    ) -> Emissions:
        """Those of the steps of `teacher_forced` at places int64 [N] of [T, B], flattened; by
        default all."""
        assert memory.readouts_BSE is not None
        time, sentences = decoded.readout.shape[:2]
        own_NE = decoded.readout.flatten(0, 1)
        if places_N is None:
            places_N = torch.arange(time * sentences, device=own_NE.device)
        else:
            own_NE = own_NE.index_select(0, places_N)
        sources = (memory.readouts_BSE, places_N % sentences)
        return Emissions(output, own_NE, *sources, decoded.kept)

    def predict(
        self,
        memory: Memory,
        before: DecoderState,
        tokens_N: Tensor,
        found: tuple[DecoderOutput, DecoderState],
        output: OutputLayer,
    ) -> Step[DecoderState]:
        """The step that read `tokens` after `before`, of which `step` found this.

        Its attention is q_i, the alignment before the token is known.
        """
        decoded, state = found
        assert decoded.scores is not None
        posterior_NS = None
        if self.is_monotonic:
            posterior_NS = _posterior(memory, before, tokens_N, output)
        prior_NS = log_prior(decoded.scores, posterior_NS)
        emissions = _step_emissions(memory, decoded.readout, output)
        normalizers_NS = emissions.each(log_normalizers)
        log_probs_NV = emissions.each(marginal, prior_NS - normalizers_NS)
        if self.is_monotonic:
            state = replace(state, alignment=(prior_NS, normalizers_NS, decoded.readout))
        return Step(log_probs_NV, state, prior_NS.exp())


def _posterior(
    memory: Memory, state: DecoderState, tokens_N: Tensor, output: OutputLayer
) -> Tensor:
    """log f [N, S] of the previous step, whose tokens are now known."""
    assert state.alignment is not None
    prior_NS, normalizers_NS, own_NE = state.alignment
    weight_N1E = output.weight.index_select(0, tokens_N).unsqueeze(1)
    bias_N1 = output.bias.index_select(0, tokens_N).unsqueeze(1)
    r_NSE = _step_emissions(memory, own_NE, output).readouts(slice(None))
    logits_NS = (r_NSE * weight_N1E).sum(-1) + bias_N1
    return log_posterior(prior_NS, logits_NS.float() - normalizers_NS)


def _step_emissions(memory: Memory, own_NE: Tensor, output: OutputLayer) -> Emissions:
    """Those of one step, the rows of a sentence adjacent."""
    assert memory.readouts_BSE is not None, "a memory for hard attention"
    hypotheses = len(own_NE) // len(memory.mask_BS)
    sentence_N = torch.arange(len(own_NE), device=own_NE.device) // hypotheses
    return Emissions(output, own_NE, memory.readouts_BSE, sentence_N)
