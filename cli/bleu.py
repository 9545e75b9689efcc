"""`s2s bleu`: score a run's test set, or any translation against reference files."""

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

    Without files the test set is translated first; with files they are the references, and the
    translations are read from stdin. BLEU and chrF are sacrebleu's own, printed with the
    signatures that make them comparable. With --run given several times, the models'
    probabilities are averaged; test set and recipe are the first run's. `s2s evaluate` has other
    metrics.
    """
    asked = Asked(
        references=references,
        metrics=("bleu", "chrf", "exact"),
        reading={"tokenize": tokenize},
        scored=scored,
        search=search,
    )
    score(asked)
