"""`s2s rouge`: ROUGE of a run's test set, or of any summaries against reference files."""

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
    ReferenceFiles,
    Split,
    SplitChoice,
    Stem,
    Tokens,
    score,
)
from .search_options import PrecisionChoice

EPILOG = examples(
    "s2s rouge",
    "s2s rouge --stem --split validation --json",
    "s2s rouge headlines.txt < output.txt",
    "s2s rouge reference1.txt reference2.txt --confidence < output.txt",
)


def rouge(
    references: ReferenceFiles = None,
    *,
    run: RunNames = None,
    runs: Runs = RUNS,
    checkpoint: Checkpoint = "best",
    split: SplitChoice = Split.TEST,
    as_json: AsJson = False,
    confidence: Confidence = False,
    stem: Stem = None,
    rouge_tokens: Tokens = None,
    lowercase: Lowercase = False,
    device: Device = "auto",
    batch_size: BatchSize = 1024,
    search: SearchChoice = None,
    beam: Beam = None,
    length_penalty: LengthPenalty = None,
    shortlist: ShortlistSize = None,
    precision: PrecisionChoice = None,
) -> None:
    """Score a run's test set, or any summaries, with ROUGE-1, ROUGE-2 and ROUGE-L (F1).

    Without files the test set is run through the model first; with files they are the references,
    and the summaries are read from stdin. The figures are those of the package rouge-score.
    Several --run are averaged, as in `s2s bleu`.
    """
    asked = Asked(
        references=references,
        metrics=("rouge",),
        reading={
            "stem": stem,
            "rouge_tokens": rouge_tokens and rouge_tokens.value,
            "lowercase": lowercase or None,
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
