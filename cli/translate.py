"""`s2s translate`: lines in, lines out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options.common import (
    RUNS,
    STDIN,
    BatchSize,
    Checkpoint,
    Device,
    FeatureIds,
    Features,
    RunNames,
    Runs,
    RunTarget,
    choose_checkpoint,
    choose_features,
    choose_runs,
    choose_search,
    examples,
    file_or_standard,
    read_stdin_once,
)
from .options.fusion import Lm, LmWeight, choose_fusion
from .options.grouped import grouped
from .options.outputs import (
    Avoid,
    Columns,
    Dictionary,
    Format,
    GlossaryFile,
    GlossaryIgnoreCase,
    ListFormat,
    Must,
    NBest,
    PrefixFile,
    ReplaceUnknown,
    Scores,
    Tag,
    Workers,
    choose_glossary,
)
from .options.search import SEARCHES, AllSearchOptions

if TYPE_CHECKING:
    from s2s.inference.line_constraints import LineConstraintsReader
    from s2s.inference.nbest import NbestOptions

EPILOG = f"{SEARCHES}\n" + examples(
    "s2s translate < input.txt > output.txt",
    "s2s translate --run runs/multi30k-de-en --beam 10 --input test.de --output test.en",
    "s2s translate --input test.de --output test.en --resume",
    "s2s translate --run runs/one --run runs/two < input.txt",
    "s2s translate --tag '<2en>' < input.txt",
    "echo 'Ein Hund schläft.' | s2s translate --search greedy",
    "s2s translate --precision int8 --workers 2 --input million.de --output million.en",
    "s2s translate --beam 8 --nbest 8 --format jsonl < input.txt",
    "s2s translate --lm runs/news-lm --lm-weight 0.2 < input.txt",
    "s2s shortlist && s2s translate --shortlist 4 < input.txt",
    "s2s translate --beam 6 --groups 3 --diversity 0.5 --nbest 6 < input.txt",
    "s2s translate --samples 5 --temperature 0.8 --top-p 0.95 --seed 2 < input.txt",
    "s2s translate --avoid guy --avoid 'young man' < input.txt",
    "s2s translate --replace-unknown --dictionary de-en.tsv < input.txt",
    "s2s translate --must 'ice cream' < input.txt",
    "s2s translate --columns source,prefix,must,avoid < input.tsv",
    "s2s translate --glossary terms.tsv < input.txt",
    "s2s translate --prefix-file beginnings.txt < input.txt",
    "s2s translate --run runs/flickr8k-grid < ids.txt > captions.txt",
    "s2s translate --features new.npy --feature-ids new.txt < new.txt > captions.txt",
)


Input = Annotated[
    Path | None,
    typer.Option("--input", metavar="FILE", help="Read FILE (also .gz) instead of stdin (or -)."),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", metavar="FILE", help="Write FILE (also .gz) instead of stdout (or -)."
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Resume a stopped command: complete its --output.")
]


@grouped
def translate(
    target_run: RunTarget = None,
    *,
    source: Input = None,
    target: Output = None,
    run: RunNames = None,
    search: AllSearchOptions,
    lm: Lm = None,
    lm_weight: LmWeight = None,
    nbest: NBest = None,
    resume: Resume = False,
    device: Device = "auto",
    scores: Scores = False,
    form: Format = None,
    tag: Tag = None,
    prefix_file: PrefixFile = None,
    columns: Columns = None,
    must: Must = None,
    avoid: Avoid = None,
    glossary: GlossaryFile = None,
    glossary_ignore_case: GlossaryIgnoreCase = False,
    replace_unknown: ReplaceUnknown = False,
    dictionary: Dictionary = None,
    runs: Runs = RUNS,
    checkpoint: Checkpoint = "best",
    features: Features = None,
    feature_ids: FeatureIds = None,
    workers: Workers = 1,
    batch_size: BatchSize = 8192,
) -> None:
    """Translate stdin to stdout, line by line.

    Options replace fields of the recipe's search section. With several --run, the models'
    probabilities are averaged. A model of images reads the id of an image, or a text, a tab and the
    id. --nbest, --samples, --scores and --format list outputs instead, a row each.
    """
    read_stdin_once(
        input=source or STDIN,
        prefix_file=prefix_file,
        glossary=glossary,
        dictionary=dictionary,
        feature_ids=feature_ids,
    )
    several = choose_runs(run, runs, target_run)
    settings = choose_search(several[0], search)
    which = choose_checkpoint(checkpoint)
    is_listed = scores or search.samples is not None
    from s2s.pipeline.translation import Files, translate_files

    translate_files(
        several,
        Files(
            source=file_or_standard(source),
            target=file_or_standard(target),
            resume=resume,
            features=choose_features(features, feature_ids),
        ),
        search=settings,
        batch_size=batch_size,
        workers=workers,
        device=device,
        checkpoint=which,
        listing=listing(nbest, form, is_listed),
        line_constraints=line_constraints(columns, prefix_file, must, avoid),
        glossary=choose_glossary(glossary, glossary_ignore_case),
        tag=tag,
        unknown=_unknown(replace_unknown, dictionary),
        fusion=choose_fusion(lm, lm_weight, runs),
    )


def _unknown(is_asked: bool, path: Path | None) -> "dict[str, str] | None":
    """Translations of source words for unknown tokens; None unless these are to be replaced."""
    from s2s.errors import UsageError
    from s2s.inference.replace_unknown import read_dictionary

    if path is not None and not is_asked:
        raise UsageError("--dictionary: has no effect without --replace-unknown")
    if not is_asked:
        return None
    return {} if path is None else read_dictionary(path)


def line_constraints(
    columns: str | None = None,
    prefix_file: Path | None = None,
    must: list[str] | None = None,
    avoid: list[str] | None = None,
) -> "LineConstraintsReader | None":
    """The reader of each line's constraints, if there are any."""
    if columns is None and prefix_file is None and not must and not avoid:
        return None
    from s2s.inference.line_constraints import LineConstraints, LineConstraintsReader, parse_columns

    names = None if columns is None else parse_columns(columns)
    every = LineConstraints(must=tuple(must or ()), avoid=tuple(avoid or ()))
    return LineConstraintsReader(columns=names, prefixes=prefix_file, every=every)


def listing(nbest: int | None, form: ListFormat | None, asked: bool) -> "NbestOptions | None":
    """The format of listed outputs; None for plain lines."""
    from s2s.inference.nbest import NbestOptions

    if nbest is None and form is None and not asked:
        return None
    return NbestOptions(nbest or 1, form or "tsv")
