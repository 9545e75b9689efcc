"""Options of `s2s translate`: how to search, what an output may hold, how outputs are listed."""

from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from s2s.recipe.search_overrides import Choices

SEARCHES = """\b
Ways of looking for an output:
  greedy  The most probable token at every step.
            s2s translate --search greedy
  beam    The N best beginnings at every step.
            s2s translate --search beam --beam 8 --length-penalty 1
  sample  Tokens at random, each with its probability.
            s2s translate --search sample --temperature 0.8 --seed 2
  exhaustive  The most probable of all outputs; slow, and says where it is not proven.
            s2s translate --search exhaustive --nodes 10000 --scores
"""


class SearchKind(StrEnum):
    """Ways of looking for an output."""

    GREEDY = "greedy"
    BEAM = "beam"
    SAMPLE = "sample"
    EXHAUSTIVE = "exhaustive"


class ListFormat(StrEnum):
    """How outputs are listed."""

    TSV = "tsv"
    JSONL = "jsonl"


class Normalization(StrEnum):
    """What the length penalty raises to its power."""

    LENGTH = "length"
    GNMT = "gnmt"


class Precision(StrEnum):
    """How a decoding step multiplies."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    INT8 = "int8"


SearchChoice = Annotated[
    SearchKind | None, typer.Option("--search", help="How to search; as in the recipe by default.")
]
Beam = Annotated[int | None, typer.Option(metavar="N", help="Width of the beam.")]
ShortlistSize = Annotated[
    int | None,
    typer.Option(
        "--shortlist",
        metavar="N",
        help="Choose among N likely tokens for each source token and the most frequent ones, as "
        "`s2s shortlist` learned them; quicker. 0: among all.",
    ),
]
LengthPenalty = Annotated[
    float | None,
    typer.Option(metavar="X", help="Rank by log-probability / length^X."),
]
LengthNormalization = Annotated[
    Normalization | None, typer.Option(help="Beam: penalize length, or (5 + length) / 6.")
]
Coverage = Annotated[
    float | None,
    typer.Option("--coverage-penalty", metavar="X", help="Beam: penalize words left out."),
]
Groups = Annotated[
    int | None, typer.Option(metavar="N", help="Beam: N groups that avoid each other's tokens.")
]
Diversity = Annotated[
    float | None, typer.Option(metavar="X", help="Groups: log-probability taken off each time.")
]
Temperature = Annotated[
    float | None, typer.Option(metavar="X", help="Sample from logits / X; 0 is greedy search.")
]
TopK = Annotated[
    int | None, typer.Option("--top-k", metavar="N", help="Sample among the N best tokens.")
]
TopP = Annotated[
    float | None,
    typer.Option("--top-p", metavar="P", help="Sample among the fewest tokens that hold P."),
]
MinP = Annotated[
    float | None,
    typer.Option("--min-p", metavar="P", help="Sample among tokens at P times the best or more."),
]
Samples = Annotated[
    int | None, typer.Option(metavar="N", help="Draw N outputs of each line, and list them.")
]
Nodes = Annotated[
    int | None, typer.Option(metavar="N", help="Give a line up after N prefixes (exhaustive).")
]
Seed = Annotated[int | None, typer.Option(metavar="N", help="Draw other samples.")]
MaxRatio = Annotated[
    float | None,
    typer.Option(metavar="X", help="Cut an output at X times its source's tokens ..."),
]
MaxOffset = Annotated[int | None, typer.Option(metavar="N", help="... plus N.")]
MinRatio = Annotated[
    float | None,
    typer.Option(metavar="X", help="No output shorter than X times its source's tokens ..."),
]
MinOffset = Annotated[int | None, typer.Option(metavar="N", help="... plus N.")]
NoRepeat = Annotated[
    int | None,
    typer.Option("--no-repeat-ngram", metavar="N", help="No N tokens twice in an output."),
]
ShortlistFrequent = Annotated[
    int | None,
    typer.Option("--shortlist-frequent", metavar="N", help="With --shortlist: how many of these."),
]
RepetitionPenalty = Annotated[
    float | None,
    typer.Option(metavar="X", help="Choose tokens again by log-probability times X."),
]
PrefixFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Output i begins with line i of FILE."),
]
Columns = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES", help="The input is TSV of: source, features, prefix, must, avoid."
    ),
]
Must = Annotated[
    list[str] | None,
    typer.Option(metavar="TERM", help="Every output holds TERM (beam search); repeatable."),
]
Avoid = Annotated[
    list[str] | None,
    typer.Option(metavar="TERM", help="No output holds TERM as whole words; repeatable."),
]
ReplaceUnknown = Annotated[
    bool,
    typer.Option("--replace-unknown", help="Copy attended source words for unknown tokens ..."),
]
Dictionary = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="... or write what FILE has for them: source, tab, target."),
]
PrecisionChoice = Annotated[
    Precision | None,
    typer.Option(
        "--precision",
        help="Compute exactly, or faster: int8 on a CPU, bf16 on a GPU; auto chooses.",
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        min=1, metavar="N", help="N processes translate side by side, each on a core (CPU)."
    ),
]
NBest = Annotated[
    int | None, typer.Option("--nbest", metavar="N", min=1, help="List the N best outputs.")
]
Scores = Annotated[bool, typer.Option("--scores", help="List the output with its scores.")]
Format = Annotated[
    ListFormat | None,
    typer.Option(
        "--format",
        help="How to list: line, rank, log_prob, score, length, status, text (tsv by default).",
    ),
]


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """What every command that searches may be told."""

    search: SearchChoice = None
    beam: Beam = None
    length_penalty: LengthPenalty = None
    shortlist: ShortlistSize = None
    precision: PrecisionChoice = None

    def choices(self) -> "Choices":
        """Under the names of the recipe's fields."""
        from s2s.recipe.search_overrides import Choices

        said = {field.name: getattr(self, field.name) for field in fields(self)}
        return Choices(kind=said.pop("search"), width=said.pop("beam"), **said)


@dataclass(frozen=True, kw_only=True)
class AllSearchOptions(SearchOptions):
    """What `s2s translate` may be told: every field of the recipe's section."""

    length_normalization: LengthNormalization = None
    coverage_penalty: Coverage = None
    groups: Groups = None
    diversity: Diversity = None
    samples: Samples = None
    temperature: Temperature = None
    top_k: TopK = None
    top_p: TopP = None
    min_p: MinP = None
    seed: Seed = None
    nodes: Nodes = None
    max_ratio: MaxRatio = None
    max_offset: MaxOffset = None
    min_ratio: MinRatio = None
    min_offset: MinOffset = None
    no_repeat_ngram: NoRepeat = None
    repetition_penalty: RepetitionPenalty = None
    shortlist_frequent: ShortlistFrequent = None
