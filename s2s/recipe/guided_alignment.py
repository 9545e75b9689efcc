"""The recipe's `train.guided_alignment`: attention that learns from word alignments."""

from dataclasses import dataclass

from s2s.recipe.section import NonEmpty, NonNegativeFloat, Section


@dataclass(frozen=True, kw_only=True)
class GuidedAlignment(Section):
    """Cross-entropy between attention weights and word alignments, added to the loss (Chen et al.
    2016, "Guided Alignment Training for Topic-Aware Neural Machine Translation", section 4)."""

    weight: NonNegativeFloat = 0.1
    """Weight of the cross-entropy of a target token that has links."""
    alignments: NonEmpty | None = None
    """File with a line for each training pair, in their order, before filters drop some: links
    `source-target` of words between spaces, from 0, such as `0-0 1-2 2-1` (Pharaoh's format, of
    fast_align and eflomal); null to learn them with IBM Model 1, in both directions."""
