"""Options that choose a search algorithm and change its parameters.

A field below is a field of the recipe's search section under the same name. Its option, type and
help text are written here and nowhere else.
"""

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from s2s.recipe.choices import (
    CandidateSource,
    CandidateWeighting,
    LengthNormalization,
    SearchKind,
    SearchPrecisionChoice,
    UtilityName,
)

from .panels import RISK, SAMPLING, SEARCH, SPEED

if TYPE_CHECKING:

    class UtilityChoice(StrEnum):
        """Utilities, as recipes name them."""

else:  # typer has no lists of Literal
    UtilityChoice = StrEnum("UtilityChoice", {name: name for name in get_args(UtilityName)})

SEARCHES = """\b
Search algorithms:
  greedy      The most probable token at every step.
                s2s translate --search greedy
  beam        The N best prefixes at every step.
                s2s translate --search beam --beam 8 --length-penalty 1
  sample      Tokens drawn at random, each with its probability.
                s2s translate --search sample --temperature 0.8 --seed 2
  exhaustive  The most probable of all outputs; slow, and reports where it is not proven.
                s2s translate --search exhaustive --nodes 10000 --scores
  mbr         Of N candidates the one that is most like the others (minimum Bayes risk).
                s2s translate --search mbr --candidates 32 --utility chrf
  rerank      A beam's outputs, ranked again as 's2s tune-rerank' tuned it.
                s2s translate --search rerank
"""


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """Options of every command that searches; None leaves the recipe's value."""

    kind: Annotated[
        SearchKind | None,
        typer.Option(
            "--search", help="Search algorithm; the recipe's by default.", rich_help_panel=SEARCH
        ),
    ] = None
    width: Annotated[
        int | None, typer.Option("--beam", metavar="N", help="Beam width; searches with a beam.")
    ] = None
    length_penalty: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Beam: rank by log-probability / length^X.",
            rich_help_panel=SEARCH,
        ),
    ] = None
    shortlist: Annotated[
        int | None,
        typer.Option(
            "--shortlist",
            metavar="N",
            help="Choose only among the most frequent tokens and N likely ones for each source "
            "token, as `s2s shortlist` learned them; faster. 0: among all tokens.",
            rich_help_panel=SPEED,
        ),
    ] = None
    precision: Annotated[
        SearchPrecisionChoice | None,
        typer.Option(
            help="Precision of matrix products: fp32, or faster and less exact: int8 on a CPU, "
            "bf16 on a GPU. auto: the fastest one here.",
            rich_help_panel=SPEED,
        ),
    ] = None

    candidates: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Number of candidates from each source.", rich_help_panel=RISK
        ),
    ] = None
    candidates_from: Annotated[
        CandidateSource | None,
        typer.Option(
            help="Source of the candidates: samples, a beam of that width, or both.",
            rich_help_panel=RISK,
        ),
    ] = None
    utility: Annotated[
        list[UtilityChoice] | None,
        typer.Option(
            metavar="METRIC",
            help="Metric that compares candidates: chrf, bleu, rouge, exact, wer, cer or per; "
            "repeatable, for their mean.",
            rich_help_panel=RISK,
        ),
    ] = None

    def choices(self) -> dict[str, Any]:
        """Values under the names of the recipe's fields; None where an option is not given."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return given | {"utility": [one.value for one in self.utility or ()] or None}


@dataclass(frozen=True, kw_only=True)
class AllSearchOptions(SearchOptions):
    """Options of `s2s translate`."""

    length_normalization: Annotated[
        LengthNormalization | None,
        typer.Option(
            help="Beam: base of the length penalty, the length or (5 + length) / 6.",
            rich_help_panel=SEARCH,
        ),
    ] = None
    coverage_penalty: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Beam: weight of the penalty for source tokens with little attention.",
            rich_help_panel=SEARCH,
        ),
    ] = None
    groups: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Diverse beam: N groups that avoid each other's tokens.",
            rich_help_panel=SEARCH,
        ),
    ] = None
    diversity: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Diverse beam: log-probability that a token loses for each use in another group.",
            rich_help_panel=SEARCH,
        ),
    ] = None
    nodes: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Exhaustive: give a line up after N prefixes.",
            rich_help_panel=SEARCH,
        ),
    ] = None
    max_ratio: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Longest output: X times the tokens of its source ...",
            rich_help_panel=SEARCH,
        ),
    ] = None
    max_offset: Annotated[
        int | None, typer.Option(metavar="N", help="... plus N.", rich_help_panel=SEARCH)
    ] = None
    min_ratio: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Shortest output: X times the tokens of its source ...",
            rich_help_panel=SEARCH,
        ),
    ] = None
    min_offset: Annotated[
        int | None, typer.Option(metavar="N", help="... plus N.", rich_help_panel=SEARCH)
    ] = None
    no_repeat_ngram: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="No N-gram of tokens twice in an output.", rich_help_panel=SEARCH
        ),
    ] = None
    repetition_penalty: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Multiply the log-probability of tokens that the output has already by X.",
            rich_help_panel=SEARCH,
        ),
    ] = None
    suppress_unknown: Annotated[
        bool | None,
        typer.Option(
            "--suppress-unknown/--allow-unknown",
            help="No unknown token in an output: the model chooses among all others.",
            rich_help_panel=SEARCH,
        ),
    ] = None
    samples: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Draw N outputs for each line and list them.",
            rich_help_panel=SAMPLING,
        ),
    ] = None
    temperature: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="Divide logits by X; 0 is greedy search.",
            rich_help_panel=SAMPLING,
        ),
    ] = None
    top_k: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Sample from the N most probable tokens.", rich_help_panel=SAMPLING
        ),
    ] = None
    top_p: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Sample from the fewest tokens with a total probability of P.",
            rich_help_panel=SAMPLING,
        ),
    ] = None
    min_p: Annotated[
        float | None,
        typer.Option(
            metavar="P",
            help="Sample from tokens with at least P times the highest probability.",
            rich_help_panel=SAMPLING,
        ),
    ] = None
    seed: Annotated[
        int | None,
        typer.Option(metavar="N", help="Seed of the samples.", rich_help_panel=SAMPLING),
    ] = None
    weighting: Annotated[
        CandidateWeighting | None,
        typer.Option(
            help="Weight of a candidate as a reference: how often it was found, or its "
            "probability.",
            rich_help_panel=RISK,
        ),
    ] = None
    shortlist_frequent: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="With --shortlist: the number of most frequent tokens.",
            rich_help_panel=SPEED,
        ),
    ] = None
