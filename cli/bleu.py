"""`s2s bleu`: score a run's test set, or any translation against reference files."""

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
    Tokenize,
    score,
)
from .search_options import PrecisionChoice

EPILOG = examples(
    "s2s bleu",
    "s2s bleu --split validation --search greedy --json",
    "s2s bleu --run runs/one --run runs/two",
    "s2s bleu reference.en < output.en",
    "s2s bleu reference1.en reference2.en --confidence < output.en",
)


def bleu(
    references: ReferenceFiles = None,
    *,
    run: RunNames = None,
    runs: Runs = RUNS,
    checkpoint: Checkpoint = "best",
    split: SplitChoice = Split.TEST,
    as_json: AsJson = False,
    confidence: Confidence = False,
    tokenize: Tokenize = None,
    lowercase: Lowercase = False,
    device: Device = "auto",
    batch_size: BatchSize = 1024,
    search: SearchChoice = None,
    beam: Beam = None,
    length_penalty: LengthPenalty = None,
    shortlist: ShortlistSize = None,
    precision: PrecisionChoice = None,
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
        reading={"tokenize": tokenize and tokenize.value, "lowercase": lowercase or None},
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
