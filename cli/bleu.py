"""`s2s bleu`: scores a run's test set or any translation with BLEU."""

from .options.common import examples
from .options.grouped import grouped
from .options.scoring import Asked, ReferenceFiles, Scored, Tokenize, score
from .options.search import SearchOptions

EPILOG = examples(
    "s2s bleu",
    "s2s bleu --split validation --search greedy --json",
    "s2s bleu --run runs/one --run runs/two",
    "s2s bleu reference.en < output.en",
    "s2s bleu reference1.en reference2.en --confidence < output.en",
)


@grouped
def bleu(
    references: ReferenceFiles = None,
    *,
    tokenize: Tokenize = None,
    scored: Scored,
    search: SearchOptions,
) -> None:
    """Score a run's test set, or any translation, with BLEU, chrF and exact match.

    Without files, the model translates the test set first. With files, these are the references and
    the translations are read from stdin. sacrebleu computes BLEU and chrF; its signatures make them
    comparable. With several --run, the models' probabilities are averaged, and test set and recipe
    are those of the first run. `s2s evaluate` has other metrics.
    """
    asked = Asked(
        references=references,
        metrics=("bleu", "chrf", "exact"),
        reading={"tokenize": tokenize},
        scored=scored,
        search=search,
    )
    score(asked)
