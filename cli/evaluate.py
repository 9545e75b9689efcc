"""`s2s evaluate`: whatever the recipe's `metrics` names, of a run or of any output."""

from .options import (
    RUNS,
    BatchSize,
    Beam,
    Checkpoint,
    Device,
    LengthPenalty,
    RunNames,
    Runs,
    SearchChoice,
    ShortlistSize,
    examples,
)
from .scoring import (
    AsJson,
    Asked,
    Confidence,
    Lowercase,
    Metrics,
    ReferenceFiles,
    Split,
    SplitChoice,
    Stem,
    Tokenize,
    Tokens,
    score,
)
from .search_options import PrecisionChoice

EPILOG = examples(
    "s2s evaluate",
    "s2s evaluate --split validation --search greedy --confidence",
    "s2s evaluate --metric per --metric g2p_wer --json",
    "s2s evaluate --metric cer reference.txt < output.txt",
)


def evaluate(
    references: ReferenceFiles = None,
    *,
    metrics: Metrics = None,
    run: RunNames = None,
    runs: Runs = RUNS,
    checkpoint: Checkpoint = "best",
    split: SplitChoice = Split.TEST,
    as_json: AsJson = False,
    confidence: Confidence = False,
    tokenize: Tokenize = None,
    lowercase: Lowercase = False,
    stem: Stem = None,
    rouge_tokens: Tokens = None,
    device: Device = "auto",
    batch_size: BatchSize = 1024,
    search: SearchChoice = None,
    beam: Beam = None,
    length_penalty: LengthPenalty = None,
    shortlist: ShortlistSize = None,
    precision: PrecisionChoice = None,
) -> None:
    """Score a run's test set, or any output, with the recipe's metrics or those named here.

    Without files the test set is run through the model first; with files they are the references,
    and the output is read from stdin. docs/metrics.md says what each metric is. Several --run are
    averaged, as in `s2s bleu`.
    """
    asked = Asked(
        references=references,
        metrics=tuple(metric.value for metric in metrics or ()),
        reading={
            "tokenize": tokenize and tokenize.value,
            "lowercase": lowercase or None,
            "stem": stem,
            "rouge_tokens": rouge_tokens and rouge_tokens.value,
        },
        confidence=confidence,
        run=tuple(run or ()),
        runs=runs,
        checkpoint=checkpoint,
        split=split,
        search=search,
        beam=beam,
        length_penalty=length_penalty,
        shortlist=shortlist,
        precision=precision,
        batch_size=batch_size,
        device=device,
    )
    score(asked, as_json=as_json)
