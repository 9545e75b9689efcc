"""Words as embeddings and characters: a bidirectional LSTM over the characters of a line.

A source is ids of words, each followed by those of its characters (`s2s.text.spelled_words`). The
LSTM reads the characters, with one symbol where a word begins. A word is its embedding, the forward
state at its last character and the backward state at its beginning, so both have read the word and
what is before or after it (Akbik et al. 2018, section 2.3; of single words Ling et al. 2015).

Dimension letters: B sentences, S source time (words and characters), W words, E embedding width,
H units of a direction.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from s2s.nn.encoders.recurrent import RecurrentEncoder
from s2s.recipe.model import Encoder, Model
from s2s.special import BOS, PAD


class WordPlaces(NamedTuple):
    """Where the words of a batch are among the ids of words and characters."""

    first_BW: Tensor
    """int64, the place of each word; of none the place of the first."""
    last_BW: Tensor
    """int64, the place of its last character."""
    lengths_B: Tensor
    """int64, the number of words, EOS included."""

    @classmethod
    def of(cls, ids_BS: Tensor, lengths_B: Tensor, num_words: int) -> "WordPlaces":
        """Those of ids below `num_words`; W is the most words that S ids can have."""
        batch, time = ids_BS.shape
        most = (time + 1) // 2  # a word has a character, EOS none
        place_S = torch.arange(time, device=ids_BS.device)
        is_word_BS = (ids_BS < num_words) & (place_S < lengths_B.unsqueeze(1))
        found_B = is_word_BS.sum(1)
        number_BS = torch.where(is_word_BS, is_word_BS.cumsum(1) - 1, most).clamp_max(most)
        first_BW = torch.zeros(batch, most + 1, dtype=torch.int64, device=ids_BS.device)
        first_BW.scatter_(1, number_BS, place_S.expand(batch, -1))
        first_BW = first_BW[:, :most]
        number_W = torch.arange(most, device=ids_BS.device)
        first_BW = first_BW.masked_fill(number_W >= found_B.unsqueeze(1), 0)
        after_BW = nn.functional.pad(first_BW[:, 1:], (0, 1))
        is_last_BW = number_W == (found_B - 1).unsqueeze(1)
        last_BW = torch.where(is_last_BW, lengths_B.unsqueeze(1), after_BW) - 1
        return cls(first_BW, last_BW.clamp_min(0), found_B)


class CharacterEncoder(nn.Module):
    """The states of the characters at the ends of words."""

    def __init__(self, recipe: Model, num_words: int) -> None:
        super().__init__()
        assert recipe.characters is not None
        section = Encoder(width=recipe.characters.width)
        self.num_words = num_words
        self.recurrence: nn.Module = RecurrentEncoder(
            section, recipe.embeddings, recipe.dropout.encoder
        )
        self.units = section.width
        self.width = 2 * section.width

    def symbols(self, ids_BS: Tensor) -> Tensor:
        """int64 [B, S]: the characters, and one symbol in place of words."""
        is_word_BS = (ids_BS < self.num_words) & (ids_BS != PAD)
        return ids_BS.masked_fill(is_word_BS, BOS)

    def forward(self, x_SBE: Tensor, lengths_B: Tensor, places: WordPlaces) -> Tensor:
        """[W, B, 2H] of embedded `symbols`."""
        states_SBH, _ = self.recurrence(x_SBE, lengths_B)
        ahead_SBH, back_SBH = states_SBH.split(self.units, dim=-1)
        return torch.cat((_at(ahead_SBH, places.last_BW), _at(back_SBH, places.first_BW)), dim=-1)


def _at(states_SBH: Tensor, places_BW: Tensor) -> Tensor:
    """[W, B, H]: the states at places of each sentence."""
    index_WBH = places_BW.t().unsqueeze(-1).expand(-1, -1, states_SBH.shape[-1])
    return states_SBH.gather(0, index_WBH)
