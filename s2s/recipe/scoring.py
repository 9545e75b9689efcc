"""The recipe's `scoring`: how metrics read text."""

from dataclasses import dataclass

from s2s.recipe.choices import RougeTokens, Tokenization
from s2s.recipe.section import Section


@dataclass(frozen=True, kw_only=True)
class Scoring(Section):
    """How metrics read text; the signature of every score states it."""

    lowercase: bool = False
    """Ignore case (ROUGE's own tokens always do)."""
    tokenize: Tokenization = "13a"
    """How BLEU, METEOR, CIDEr-D, distinct-n and variety split words; `zh`, `ja-mecab`, `ko-mecab`
    or `char` for scripts without spaces; `ptb` for English captions: the Penn Treebank's tokens,
    lower-cased, without punctuation."""
    rouge_tokens: RougeTokens = "rouge"
    """`rouge`: lower-cased runs of a-z and 0-9, as in the original; other letters separate words
    and count for nothing. `space`: tokens are separated by spaces."""
    stem: bool = False
    """Whether ROUGE compares English word stems (Porter 1980)."""
    synonyms: bool = False
    """Whether METEOR matches English synonyms, for which nltk must find WordNet."""

    def __post_init__(self) -> None:
        if self.stem and self.rouge_tokens == "space":
            raise ValueError("stem needs rouge_tokens 'rouge'")
