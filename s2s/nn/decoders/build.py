"""The table of decoders, under the names of the literature.

Where the recurrence does not read the attention, teacher forcing runs fused kernels over the whole
target and computes the attention of all steps in two products. Otherwise attention and recurrence
are a loop over time.
"""

from typing import assert_never

from s2s.nn.decoders.bahdanau import Bahdanau
from s2s.nn.decoders.base import Decoder
from s2s.nn.decoders.conditional import Conditional
from s2s.nn.decoders.hard import Hard
from s2s.nn.decoders.labels import TextLabels, WordLabels
from s2s.nn.decoders.luong import Luong
from s2s.nn.decoders.plain import Plain
from s2s.nn.decoders.stacked import Stacked
from s2s.recipe.model import (
    BahdanauDecoder,
    Classifier,
    ConditionalDecoder,
    HardAttention,
    LuongDecoder,
    Model,
    PlainDecoder,
    StackedDecoder,
    Tagger,
)


def build_decoder(recipe: Model, source_width: int) -> Decoder:
    """The decoder of a recipe, over encoder states of `source_width`."""
    match recipe.decoder:
        case LuongDecoder() as section:
            if isinstance(recipe.attention, HardAttention):
                return Hard(recipe, section, recipe.attention, source_width)
            return Luong(recipe, section, source_width)
        case BahdanauDecoder() as section:
            return Bahdanau(recipe, section, source_width)
        case StackedDecoder() as section:
            return Stacked(recipe, section, source_width)
        case ConditionalDecoder() as section:
            return Conditional(recipe, section, source_width)
        case PlainDecoder() as section:
            return Plain(recipe, section)
        case Classifier() as section:
            return TextLabels(recipe, section, source_width)
        case Tagger() as section:
            return WordLabels(recipe, section, source_width)
        case _:
            assert_never(recipe.decoder)
