"""What embeddings start from, and what words are made of."""

from dataclasses import dataclass

from s2s.recipe.section import NonEmpty, PositiveInt, Section


@dataclass(frozen=True, kw_only=True)
class Pretrained(Section):
    """Files of word vectors that embeddings start from: word2vec's text format, GloVe, fastText's
    `.vec`, also compressed with gzip. Their width is that of `model.embeddings`."""

    source: NonEmpty | None = None
    """File for the source embeddings."""
    target: NonEmpty | None = None
    """File for the target embeddings."""

    def __post_init__(self) -> None:
        if self.source is None and self.target is None:
            raise ValueError("expected a file for 'source', 'target' or both")


@dataclass(frozen=True, kw_only=True)
class Characters(Section):
    """A bidirectional LSTM over the characters of a line, whose states at both ends of a word stand
    beside its embedding (Ling et al. 2015; over the whole line as in Akbik et al. 2018)."""

    width: PositiveInt = 64
    """Units per direction."""
