"""Recipe sections of training pairs of which trained runs make one side."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from s2s.recipe.filters import Filters, TagOrNone
from s2s.recipe.search import Search
from s2s.recipe.section import Files, PositiveFloat, PositiveInt, Section
from s2s.recipe.transfer import CheckpointName

DEFAULT_TAG = "<bt>"
"""Tag of back-translated sources if the recipe names none."""

Runs = Annotated[
    Files,
    Field(
        description="A run by its name or folder, a file of `s2s export`, or a model of the hub; a "
        "list of them is an ensemble."
    ),
]
Weight = Annotated[
    float,
    Field(
        gt=0.0,
        le=1000.0,
        description="How often each pair made occurs in an epoch on average: 2 is twice, 0.5 every "
        "other epoch.",
    ),
]
OwnSearch = Annotated[
    Search | None,
    Field(description="Search that makes the outputs; null for the (first) run's own."),
]
Outputs = Annotated[
    int,
    Field(
        ge=1,
        le=1000,
        description="Outputs of each line, the best ones of a beam or as many samples; equal ones "
        "make one pair.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Synthetic(Section):
    """Pairs of text without a translation and a trained run's outputs for it.

    Text in the target language (`target`) gets sources, back-translation (Sennrich et al. 2016),
    from a run that translates the other way. Text in the source language (`source`) gets targets,
    forward translation or self-training (Zhang & Zong 2016).
    """

    run: Runs
    target: Files | None = None
    """Text in the target language, a line each (`.gz` too): a file, a pattern, or a list."""
    source: Files | None = None
    """Text in the source language, likewise."""
    checkpoint: CheckpointName = "best"
    """`best`, `last`, a number of updates or a name, such as `average`."""
    search: OwnSearch = None
    outputs: Outputs = 1
    tag: TagOrNone | None = None
    """A symbol in front of every source, which tells the model that a source was made (Caswell et
    al. 2019). Null is `<bt>` for back-translation and none for forward translation; `none` is none
    for both."""
    weight: Weight = 1.0
    filters: Filters | None = None
    """Filters of the pairs; null for those of the data."""

    def __post_init__(self) -> None:
        if (self.source is None) == (self.target is None):
            raise ValueError(
                "expected 'target' (text to translate back into sources) or 'source' (text to "
                f"translate into targets), found {'neither' if self.source is None else 'both'}"
            )
        check_outputs(self.search, self.outputs)

    @property
    def is_back_translation(self) -> bool:
        """Whether sources are made, not targets."""
        return self.target is not None

    @property
    def source_tag(self) -> str | None:
        """The tag of the sources."""
        if self.tag is None:
            return DEFAULT_TAG if self.is_back_translation else None
        return None if self.tag == "none" else self.tag


@dataclass(frozen=True, kw_only=True)
class Distill(Section):
    """Knowledge distillation: the model learns from what trained runs, its teachers, predict for
    its own training sources (Kim & Rush 2016)."""

    teacher: Runs
    checkpoint: CheckpointName = "best"
    """`best`, `last`, a number of updates or a name, such as `average`."""
    level: Literal["sequence", "word", "both"] = "sequence"
    """`sequence`: the teachers' outputs are targets (section 3.2). `word`: the loss of every token
    is the cross-entropy with the teachers' distribution too, which are given the same prefix
    (section 3.1); they need the model's target tokenizer. `both`: both (section 4)."""
    search: OwnSearch = None
    outputs: Outputs = 1
    choose: Literal["all", "closest"] = "all"
    """Which of several outputs become targets: `all`, or the one `closest` to the true target by
    sentence BLEU (section 3.3)."""
    originals: bool = True
    """Whether the true pairs stay in training, beside those with the teachers' outputs (Freitag et
    al. 2017)."""
    weight: Weight = 1.0
    mix: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """Share of the teachers' distribution in the loss of a token, the rest being that of the
    target (alpha in section 5)."""
    top_k: PositiveInt = 8
    """Number of most probable tokens of that distribution, which are kept and scaled to a sum of
    1."""
    temperature: PositiveFloat = 1.0
    """Divisor of the teachers' log-probabilities before that (Hinton et al. 2015)."""

    def __post_init__(self) -> None:
        if self.choose == "closest" and self.outputs == 1:
            raise ValueError("choose 'closest' needs several outputs to choose among, found 1")
        check_outputs(self.search, self.outputs)

    @property
    def makes_pairs(self) -> bool:
        """Whether the teachers' outputs become targets."""
        return self.level != "word"

    @property
    def has_distributions(self) -> bool:
        """Whether the teachers' distributions are in the loss."""
        return self.level != "sequence"


def check_outputs(search: Any, outputs: int) -> None:
    """Raise ValueError for more outputs than a search finds; the run's own is not known yet."""
    if search is None or outputs == 1:
        return
    kind = search.kind
    most = {"beam": getattr(search, "width", 1), "sample": getattr(search, "samples", 1)}
    if outputs > (found := most.get(kind, 1)):
        field_ = {"beam": "width", "sample": "samples"}.get(kind)
        advice = f"raise search.{field_}" if field_ else "use search 'beam' or 'sample'"
        raise ValueError(f"outputs: search '{kind}' finds {found}, found {outputs}; {advice}")
