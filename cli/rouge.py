"""`s2s rouge`: scores a run's test set or any summaries with ROUGE."""

from .options.common import examples
from .options.grouped import grouped
from .options.scoring import Asked, ReferenceFiles, Scored, Stem, Tokens, score
from .options.search import SearchOptions

EPILOG = examples(
    "s2s rouge",
    "s2s rouge --stem --split validation --json",
    "s2s rouge headlines.txt < output.txt",
    "s2s rouge reference1.txt reference2.txt --confidence < output.txt",
)


@grouped
def rouge(
    references: ReferenceFiles = None,
    *,
    stem: Stem = None,
    rouge_tokens: Tokens = None,
    scored: Scored,
    search: SearchOptions,
) -> None:
    """Score a run's test set, or any summaries, with ROUGE-1, ROUGE-2 and ROUGE-L (F1).

    Without files, the model summarizes the test set first. With files, these are the references and
    the summaries are read from stdin. The package rouge-score computes the scores. With several
    --run, the models' probabilities are averaged.
    """
    asked = Asked(
        references=references,
        metrics=("rouge",),
        reading={"stem": stem, "rouge_tokens": rouge_tokens},
        scored=scored,
        search=search,
    )
    score(asked)
