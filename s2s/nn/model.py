"""The assembled encoder-decoder: an `nn.Module` for training that is also a scorer for search.

Dimension letters: B sentences, N rows, S source time, T target time, E embedding width,
D encoder state width, V target vocabulary.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from s2s.nn.batch import Regions
from s2s.nn.cells.base import CellState
from s2s.nn.decoders.base import DecoderOutput
from s2s.nn.decoders.build import build_decoder
from s2s.nn.decoders.hard import Hard
from s2s.nn.decoders.labels import Labels, next_place
from s2s.nn.decoders.plain import Plain
from s2s.nn.dropout import drop_channels, drop_words
from s2s.nn.encoders.characters import CharacterEncoder, WordPlaces
from s2s.nn.encoders.recurrent import RecurrentEncoder
from s2s.nn.encoders.regions import EncoderOutput, FeatureShape, RegionEncoder
from s2s.nn.label_scores import LabelScores
from s2s.nn.memory import DecoderState, Memory
from s2s.nn.pointer import extended_ids, first_positions, known_ids, mixed_logits
from s2s.nn.step import Step
from s2s.recipe.model import LabelDecoder, Model, Tagger
from s2s.special import PAD


class Seq2Seq(nn.Module):
    """Encoder, attention, decoder and the output layer over `target_vocabulary` tokens.

    A sample has a text, unless `source_vocabulary` is None, and features of every file whose shape
    is in `features`; a language model (decoder `plain`) has neither. The encoders' states are
    concatenated along S, text first. With several sources, a learned vector is added to the states
    of each, and the decoder starts from tanh(W [f_1; f_2; ...] + b) of the sources' vectors (Zoph &
    Knight 2016, "Multi-Source Neural Translation", section 3.1). docs/model.md has the equations.

    `unigram` (float [V], summing to one) are the target tokens' frequencies in training; the output
    bias starts at their logarithm. With a zero bias, training first learns those frequencies by a
    saturated, constant readout, whose gradients vanish for hundreds of updates.

    A model that copies (`recipe.copy`) reads and predicts extended ids (`s2s.nn.pointer`) and needs
    `target_of_source`: int64 [source vocabulary], the target id of every source token (see
    `pointer.extended_ids`). It comes from the tokenizers and is no weight of the model.

    A model of labels (decoder `classifier` or `tagger`) predicts one target token for the source,
    or for each of its words, and then the end. Where sources have characters after their words,
    `num_source_words` is the number of ids of words, which come before those of characters.
    """

    def __init__(
        self,
        recipe: Model,
        source_vocabulary: int | None,
        target_vocabulary: int,
        unigram: Tensor | None = None,
        target_of_source: Tensor | None = None,
        *,
        features: Sequence[FeatureShape] = (),
        num_source_words: int | None = None,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.target_vocabulary = target_vocabulary
        width = recipe.embeddings
        self.target_embedding = _embedding(target_vocabulary, width)
        self.source_embedding: nn.Embedding | None = None
        self.encoder: RecurrentEncoder | None = None
        self.characters: CharacterEncoder | None = None
        if source_vocabulary is not None:
            is_shared = recipe.tied == "all"
            self.source_embedding = (
                self.target_embedding if is_shared else _embedding(source_vocabulary, width)
            )
            self.characters, self.encoder = _text_encoders(recipe, num_source_words)
        state_width = recipe.state_width(has_text=source_vocabulary is not None)
        self.features = nn.ModuleList(
            RegionEncoder(
                recipe.image_feature_encoder(place), shape, state_width, recipe.dropout.encoder
            )
            for place, shape in enumerate(features)
        )
        sources = len(features) + (source_vocabulary is not None)
        assert sources or recipe.decoder.kind == "plain", "a sample has a source"
        self.marks = nn.Parameter(torch.zeros(sources, state_width)) if sources > 1 else None
        self.combination = nn.Linear(sources * state_width, state_width) if sources > 1 else None
        if self.combination is not None:
            nn.init.xavier_uniform_(self.combination.weight)
            nn.init.zeros_(self.combination.bias)
        self.decoder = build_decoder(recipe, state_width)
        self.label_scores = _label_scores(recipe, target_vocabulary)
        self.output = nn.Linear(width, target_vocabulary)
        if recipe.tied == "none":
            nn.init.normal_(self.output.weight, std=width**-0.5)
        else:
            self.output.weight = self.target_embedding.weight
        assert (recipe.copy == "none") == (target_of_source is None), (
            "copying needs target_of_source"
        )
        self.target_of_source: Tensor | None
        self.register_buffer("target_of_source", target_of_source, persistent=False)
        with torch.no_grad():
            self.output.bias.zero_()
            if unigram is not None:
                self.output.bias.copy_(unigram.clamp_min(1e-7).log())

    @property
    def vocabulary(self) -> int:
        """Size of the target vocabulary."""
        return self.target_vocabulary

    @property
    def is_copying(self) -> bool:
        """Whether the model copies, so that its ids are of the extended vocabularies."""
        return self.target_of_source is not None

    def encode(self, source: Tensor, lengths: Tensor, features: Sequence[Regions] = ()) -> Memory:
        """Memory of B sources: int64 [B, S] padded with PAD, lengths int64 [B], and features.

        S is 0 in a model without source text; a language model reads no source, only its number.
        """
        if self.encoder is None and not self.features:
            return no_memory(source)
        marks = [None] * (len(self.features) + 1) if self.marks is None else list(self.marks)
        parts = [] if self.encoder is None else [self._encode_text(source, lengths, marks.pop(0))]
        for encoder, regions, mark_D in zip(self.features, features, marks, strict=False):
            parts.append(encoder(regions, mark_D))
        assert len(parts) == len(self.features) + (self.encoder is not None), (
            "features of every file"
        )
        whole = parts[0] if self.combination is None else _combined(parts, self.combination)
        keys = self.decoder.keys(whole.states_BSD)
        values = self.decoder.values(whole.states_BSD)
        memory = Memory(whole.states_BSD, keys, whole.mask_BS, whole.final_BD, values=values)
        if self.label_scores is not None:
            return self._with_labels(memory)
        if isinstance(self.decoder, Hard):
            readouts_BSE = self.decoder.source_readouts(whole.states_BSD)
            memory = replace(memory, readouts_BSE=readouts_BSE)
        if self.target_of_source is None:
            has_scores = self.decoder.scores is not None
            return replace(memory, words_BS=whole.words_BS) if has_scores else memory
        # Words are copied, regions are not.
        num_regions = whole.mask_BS.shape[1] - source.shape[1]
        words_BS, table = parts[0].words_BS, self.target_of_source
        copies_BS = extended_ids(source, words_BS, table, self.target_vocabulary)
        copies_BS = nn.functional.pad(copies_BS, (0, num_regions), value=PAD)
        first_BS = first_positions(copies_BS)
        return replace(memory, words_BS=whole.words_BS, copies_BS=copies_BS, first_BS=first_BS)

    def _encode_text(self, source: Tensor, lengths: Tensor, mark_D: Tensor | None) -> EncoderOutput:
        """The states of B texts."""
        assert self.encoder is not None and self.source_embedding is not None
        if self.characters is None:
            e_SBE = self._embed(self.source_embedding, source.t())
        else:
            e_SBE, lengths = self._spelled(source, lengths, self.characters)
        states_SBD, final_BD = self.encoder(e_SBE, lengths)
        states_BSD = states_SBD.transpose(0, 1).contiguous()
        place_S = torch.arange(len(e_SBE), device=source.device)
        mask_BS = place_S < lengths.unsqueeze(1)
        if mark_D is not None:
            states_BSD = states_BSD + mark_D * mask_BS.unsqueeze(-1).to(states_BSD.dtype)
        # Coverage and copying are of words, without the source's EOS.
        return EncoderOutput(states_BSD, mask_BS, place_S < lengths.unsqueeze(1) - 1, final_BD)

    def _spelled(
        self, source: Tensor, lengths: Tensor, characters: CharacterEncoder
    ) -> tuple[Tensor, Tensor]:
        """Words [W, B, E + 2H] from their embeddings and characters, and their number int64 [B]."""
        assert self.source_embedding is not None
        places = WordPlaces.of(source, lengths, characters.num_words)
        symbols = self._look_up(self.source_embedding, characters.symbols(source).t())
        symbols = drop_channels(symbols, self.recipe.dropout.embedding, self.training)
        spelled = characters(symbols, lengths, places)
        words = self._embed(self.source_embedding, source.gather(1, places.first_BW).t())
        return torch.cat((words, spelled.to(words.dtype)), dim=-1), places.lengths_B

    def _with_labels(self, memory: Memory) -> Memory:
        """The memory with the logits of all labels, which depend on no label before them."""
        assert isinstance(self.decoder, Labels) and self.label_scores is not None
        logits_BTV = self.output(self.decoder.readouts(memory))
        count_B = self.decoder.count(memory)
        return replace(memory, labels_BTV=self.label_scores(logits_BTV, count_B))

    def encoder_bound(self) -> float:
        """The largest absolute value of an encoder's output."""
        encoders = [*self.features, *([] if self.encoder is None else [self.encoder])]
        return max((cast(float, encoder.output_bound) for encoder in encoders), default=0.0)

    def state_bound(self) -> Tensor:
        """float32 [D]: the largest absolute value of each channel of the memory."""
        bound = self.encoder_bound()
        width, device = self.decoder.source_width, self.output.bias.device
        bound_D = torch.full((width,), bound, device=device)
        if self.marks is None or self.encoder is None:
            return bound_D
        return bound_D + self.marks[0].detach().abs()

    def decoded(self, memory: Memory, target_input: Tensor) -> DecoderOutput:
        """The decoder's output under teacher forcing, of `target_input` int64 [B, T]."""
        e_TBE = self._embed(self.target_embedding, target_input.t())
        return self.decoder.teacher_forced(memory, e_TBE)

    def continued(
        self, target_input: Tensor, states: tuple[CellState, ...] | None
    ) -> tuple[Tensor, tuple[CellState, ...]]:
        """Of a language model, readouts [T, B, E] of `target_input` int64 [B, T] after states of
        all layers (zeros if None), and the last states."""
        assert isinstance(self.decoder, Plain), "a language model"
        if states is None:
            states = self.start(no_memory(target_input)).layers
        e_TBE = self._embed(self.target_embedding, target_input.t())
        found: tuple[Tensor, tuple[CellState, ...]] = self.decoder(e_TBE, states)
        return found

    def forward(
        self,
        source: Tensor,
        lengths: Tensor,
        target_input: Tensor,
        features: Sequence[Regions] = (),
    ) -> Tensor:
        """Logits [B, T, V] of every next token under teacher forcing; [B, T, V + S] if copying."""
        memory = self.encode(source, lengths, features)
        if self.label_scores is not None and memory.labels_BTV is not None:
            last = memory.labels_BTV.shape[1] - 1
            place_T = torch.arange(target_input.shape[1], device=source.device).clamp_max(last)
            return self.label_scores.after(memory.labels_BTV[:, place_T], target_input)
        decoded = self.decoded(memory, target_input)
        if isinstance(self.decoder, Hard):
            return self.decoder.log_probs(memory, decoded, target_input, self.output)
        logits_BTV: Tensor = self.output(decoded.readout).transpose(0, 1)
        if decoded.gate is None or decoded.scores is None or not self.is_copying:
            return logits_BTV
        flat_NV, scores_NS = logits_BTV.flatten(0, 1).float(), decoded.scores.flatten(0, 1)
        mixed_NX = mixed_logits(flat_NV, decoded.gate.t().flatten(), scores_NS, memory)
        return mixed_NX.view(*logits_BTV.shape[:2], -1)

    def start(self, memory: Memory) -> DecoderState:
        """The state before the first token, one row per sentence."""
        return self.decoder.start(memory)

    def step(self, memory: Memory, state: DecoderState, tokens: Tensor) -> Step[DecoderState]:
        """Read `tokens` int64 [N]; logits float32 [N, V] of the next, [N, V + S] if copying."""
        if self.label_scores is not None and memory.labels_BTV is not None:
            sentences, times, _ = memory.labels_BTV.shape
            assert state.place is not None
            sentence_N = torch.arange(len(tokens), device=tokens.device)
            sentence_N = sentence_N // (len(tokens) // sentences)
            place_N = state.place.clamp_max(times - 1)
            logits = self.label_scores.after(memory.labels_BTV[sentence_N, place_N], tokens)
            return Step(logits, next_place(state), None)
        decoded, after = self.step_readout(memory, state, tokens)
        if isinstance(self.decoder, Hard):
            return self.decoder.predict(memory, state, tokens, (decoded, after), self.output)
        logits = self.output(decoded.readout).float()
        if decoded.gate is not None and decoded.scores is not None:
            logits = mixed_logits(logits, decoded.gate, decoded.scores, memory)
        return Step(logits, after, decoded.weights)

    def step_readout(
        self, memory: Memory, state: DecoderState, tokens: Tensor
    ) -> tuple[DecoderOutput, DecoderState]:
        """Read `tokens` int64 [N]; the readout [N, E] below the output layer."""
        return self.decoder.step(memory, state, self._look_up(self.target_embedding, tokens))

    def output_of(self, tokens: Tensor) -> Callable[[Tensor], Tensor]:
        """The output layer of some tokens int64 [F]: logits [N, F] of readouts [N, E]."""
        weight_FE, bias_F = self.output.weight.detach()[tokens], self.output.bias.detach()[tokens]
        return lambda readout_NE: nn.functional.linear(readout_NE, weight_FE, bias_F)

    def _embed(self, embedding: nn.Embedding, ids_TB: Tensor) -> Tensor:
        dropout = self.recipe.dropout
        e_TBE = drop_words(self._look_up(embedding, ids_TB), dropout.word, self.training)
        return drop_channels(e_TBE, dropout.embedding, self.training)

    def _look_up(self, embedding: nn.Embedding, ids: Tensor) -> Tensor:
        if self.is_copying:
            ids = known_ids(ids, embedding.num_embeddings)
        embedded: Tensor = embedding(ids)
        return embedded


def _text_encoders(
    recipe: Model, num_words: int | None
) -> tuple[CharacterEncoder | None, RecurrentEncoder]:
    """The encoder of characters, where words have some, and that of words or other tokens."""
    characters = None if num_words is None else CharacterEncoder(recipe, num_words)
    width = recipe.embeddings + (0 if characters is None else characters.width)
    dropout = recipe.dropout
    return characters, RecurrentEncoder(recipe.encoder, width, dropout.encoder, dropout.recurrent)


def _label_scores(recipe: Model, vocabulary: int) -> LabelScores | None:
    """The scores of a model of labels; None for others."""
    if not isinstance(recipe.decoder, LabelDecoder):
        return None
    return LabelScores(vocabulary, crf=isinstance(recipe.decoder, Tagger) and recipe.decoder.crf)


def no_memory(source: Tensor) -> Memory:
    """The memory of a language model: B rows, no positions."""
    nothing_BSD = torch.zeros(len(source), 0, 0, dtype=torch.float32, device=source.device)
    mask_BS = torch.zeros(len(source), 0, dtype=torch.bool, device=source.device)
    return Memory(nothing_BSD, nothing_BSD, mask_BS, nothing_BSD.sum(1))


def _combined(parts: Sequence[EncoderOutput], combination: nn.Module) -> EncoderOutput:
    """Sources concatenated along S, their vectors combined into one."""
    states, masks, words, finals = zip(*parts, strict=True)
    states_BSD, mask_BS, words_BS = torch.cat(states, 1), torch.cat(masks, 1), torch.cat(words, 1)
    final_BD = torch.tanh(combination(torch.cat(finals, dim=-1)))
    return EncoderOutput(states_BSD, mask_BS, words_BS, final_BD)


def _embedding(vocabulary: int, width: int) -> nn.Embedding:
    """Rows of expected norm 1, so that a tied output starts with logits of order 1."""
    embedding = nn.Embedding(vocabulary, width)
    nn.init.normal_(embedding.weight, std=width**-0.5)
    return embedding
