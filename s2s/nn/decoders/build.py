"""The wirings of decoders, under the names the literature gives them.

Where attention feeds nothing back, teacher forcing runs fused LSTM kernels over the whole
target and attends to all steps in two products; where it does, only the recurrence is a loop.

Dimension letters: T target time, B sentences, N rows, E embedding width, D source state width,
H decoder width, S source time, G gates of a layer (4 H).
"""

from typing import assert_never

from s2s.nn.decoders.bahdanau import Bahdanau
from s2s.nn.decoders.base import Decoder
from s2s.nn.decoders.luong import Luong
from s2s.nn.decoders.stacked import Stacked
from s2s.recipe.model import BahdanauDecoder, LuongDecoder, Model, StackedDecoder


def build_decoder(recipe: Model, source_width: int) -> Decoder:
    """The wiring a recipe asks for, over source states of `source_width`."""
    match recipe.decoder:
        case LuongDecoder() as wiring:
            return Luong(recipe, wiring, source_width)
        case BahdanauDecoder() as wiring:
            return Bahdanau(recipe, wiring, source_width)
        case StackedDecoder() as wiring:
            return Stacked(recipe, wiring, source_width)
        case _:
            assert_never(recipe.decoder)
