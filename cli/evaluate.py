"""`s2s evaluate`: scores a run or any output with the recipe's metrics."""

from .options.common import examples
from .options.grouped import grouped
from .options.scoring import (
    Asked,
    Metrics,
    ReferenceFiles,
    Scored,
    ShowConfusion,
    Stem,
    Synonyms,
    Tokenize,
    Tokens,
    score,
)
from .options.search import SearchOptions

EPILOG = examples(
    "s2s evaluate",
    "s2s evaluate --split validation --search greedy --confidence",
    "s2s evaluate --metric per --metric g2p_wer --json",
    "s2s evaluate --run runs/sst5 --confusion",
    "s2s evaluate --metric cer reference.txt < output.txt",
    "s2s evaluate --metric bleu_n --metric cider --tokenize ptb one.txt two.txt < output.txt",
)


@grouped
def evaluate(
    references: ReferenceFiles = None,
    *,
    metrics: Metrics = None,
    tokenize: Tokenize = None,
    stem: Stem = None,
    synonyms: Synonyms = None,
    rouge_tokens: Tokens = None,
    confusion: ShowConfusion = False,
    scored: Scored,
    search: SearchOptions,
) -> None:
    """Score a run or an output with the recipe's or other metrics.

    Without files, the model translates the test set first. With files, these are the references and
    the output is read from stdin. docs/metrics.md describes the metrics. With several --run, the
    models' probabilities are averaged.
    """
    asked = Asked(
        references=references,
        metrics=tuple(metric.value for metric in metrics or ()),
        reading={
            "tokenize": tokenize,
            "stem": stem,
            "synonyms": synonyms,
            "rouge_tokens": rouge_tokens,
        },
        confusion=confusion,
        scored=scored,
        search=search,
    )
    score(asked)
