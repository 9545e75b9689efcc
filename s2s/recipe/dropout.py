"""The recipe's `model.dropout`."""

from dataclasses import dataclass

from s2s.recipe.section import Probability, Section


@dataclass(frozen=True, kw_only=True)
class Dropout(Section):
    """Rates of variational dropout: one mask per sentence for all steps (Gal & Ghahramani 2016)."""

    embedding: Probability = 0.2
    """Channels of the source and target embeddings."""
    word: Probability = 0.0
    """Whole tokens of the source and of the target prefix."""
    encoder: Probability = 0.2
    """Channels of every encoder layer's output."""
    decoder: Probability = 0.2
    """Channels between decoder layers and of the attention's context."""
    readout: Probability = 0.2
    """Channels of the readout below the softmax."""
    recurrent: Probability = 0.0
    """Weights of the recurrent matrices, one mask for all steps of a batch (weight drop, Merity et
    al. 2018)."""

    @property
    def is_on(self) -> bool:
        """Whether any rate is above 0."""
        return any(vars(self).values())
