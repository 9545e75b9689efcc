"""The recipe's `data`: where pairs come from, and what is done with them."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from s2s.recipe.filters import Filters, HoldOut, Tag, TargetText, Truncate
from s2s.recipe.image_features import ImageFeatureFile
from s2s.recipe.section import Count, NonEmpty, Section


@dataclass(frozen=True, kw_only=True)
class Columns(Section):
    """Which columns (or JSON keys) hold the text; `a.b` reaches into a nested column."""

    source: NonEmpty | None = "source"
    """Column of the source text; null where there is none and `data.image_features` are the only
    source."""
    target: NonEmpty = "target"
    """Column of the target text, or of a list of texts (JSONL, Parquet or data sets), such as all
    captions of an image: each makes a training pair; of validation and test pairs all are
    references, and the loss is computed on the first."""
    source_features: NonEmpty | None = None
    """Column of source features, such as the morphological tags `V;PST`, read after the source; a
    source line of `s2s translate` is then source, tab, features. `tokenizer.source_features` splits
    them."""
    references: NonEmpty | None = None
    """Column of validation and test with all references of a pair, a list of texts of any length
    (JSONL, Parquet or data sets). Metrics then read these instead of the target, which remains
    what the loss is computed on."""


@dataclass(frozen=True, kw_only=True)
class Splits(Section):
    """What the data set calls its splits; `train[:1000]` slices as `datasets` does."""

    train: NonEmpty = "train"
    """Split to train on."""
    validation: NonEmpty | None = "validation"
    """Split that chooses the best checkpoint."""
    test: NonEmpty | None = "test"
    """Split that `s2s bleu` scores; never looked at before."""


@dataclass(frozen=True, kw_only=True)
class CorpusData(Section):
    """What is done with pairs, wherever they come from.

    Descriptions stand in `Field`: for a schema, pydantic reads docstrings of a class's own fields
    only.
    """

    kind: str  # first in a recipe that is written out; each kind narrows it
    weight: Annotated[
        float,
        Field(
            gt=0.0,
            le=1000.0,
            description="How often an epoch sees each pair, on average: 2 is twice, 0.5 every "
            "other epoch.",
        ),
    ] = 1.0
    tag: Annotated[
        Tag | None, Field(description="One symbol, such as <2en>, put in front of every source.")
    ] = None
    evaluated: Annotated[
        bool,
        Field(
            description="Among several corpora: validation and test are this one's; the first's if "
            "none says so."
        ),
    ] = False
    filters: Annotated[Filters, Field(description="What is left out of training.")] = field(
        default_factory=Filters
    )
    truncate: Annotated[Truncate, Field(description="How many tokens of a long text are kept.")] = (
        field(default_factory=Truncate)
    )
    target_text: Annotated[
        TargetText, Field(description="What is done to targets before all else.")
    ] = field(default_factory=TargetText)

    @property
    def longest_source(self) -> int:
        """Tokens of the longest source that training can see."""
        return self.truncate.source or self.filters.max_length


@dataclass(frozen=True, kw_only=True)
class DatasetData(CorpusData):
    """A data set of the Hugging Face hub, or a local folder laid out like one."""

    kind: Literal["dataset"]
    dataset: NonEmpty
    """Hub name (`owner/name`) or path of a local folder."""
    config: NonEmpty | None = None
    """Configuration of the data set (`de-en`), where it has several."""
    revision: NonEmpty | None = None
    """Hub revision (commit, tag) to pin."""
    columns: Columns = field(default_factory=Columns)
    """Columns that hold source and target."""
    image_features: tuple[ImageFeatureFile, ...] = ()
    """Files of image features: a vector or a grid of regions for each pair."""
    splits: Splits = field(default_factory=Splits)
    """Names of the splits."""
    hold_out: HoldOut | None = None
    """Take validation pairs from training; `splits.validation` is null then."""

    def __post_init__(self) -> None:
        if self.hold_out is not None and self.splits.validation is not None:
            raise ValueError("hold_out excludes splits.validation; make the latter null")

    @property
    def has_validation(self) -> bool:
        """Whether there are pairs that choose the best checkpoint."""
        return self.splits.validation is not None or self.hold_out is not None


@dataclass(frozen=True, kw_only=True)
class FileSet(Section):
    """One split as files: two parallel text files, or one table with two columns."""

    source: NonEmpty | None = None
    """Plain text, one source sentence a line (`.gz` too)."""
    target: NonEmpty | None = None
    """Plain text, line i the target of line i of `source`."""
    table: NonEmpty | None = None
    """`.tsv`, `.csv`, `.jsonl` or `.parquet` (`.gz` too) with the columns of `data.columns`."""
    references: Annotated[tuple[NonEmpty, ...], Field(min_length=1)] | None = None
    """Of validation and test: all references of a pair, as files beside `source`, or as columns of
    `table` with a text each. Metrics then read these instead of the target; name it too where it is
    one. `columns.references` is for lists of any length."""

    def __post_init__(self) -> None:
        if self.table is None and (self.source is None or self.target is None):
            raise ValueError("expected 'source' and 'target' (parallel text), or 'table'")
        if self.table is not None and (self.source is not None or self.target is not None):
            raise ValueError("'table' excludes 'source' and 'target'; give one or the other")


@dataclass(frozen=True, kw_only=True)
class FilesData(CorpusData):
    """Files of your own; paths are relative to the folder the command runs in."""

    kind: Literal["files"]
    train: FileSet
    """Pairs to train on."""
    validation: FileSet | None = None
    """Pairs that choose the best checkpoint."""
    test: FileSet | None = None
    """Pairs that `s2s bleu` scores; never looked at before."""
    columns: Columns = field(default_factory=Columns)
    """Columns of tables: names of the header line or JSON keys; `0`, `1` for a table without."""
    image_features: tuple[ImageFeatureFile, ...] = ()
    """Files of image features: a vector or a grid of regions for each pair."""
    header: bool = True
    """Whether TSV and CSV tables open with a line of column names."""
    hold_out: HoldOut | None = None
    """Take validation pairs from training; there is no `validation` then."""

    def __post_init__(self) -> None:
        if self.hold_out is not None and self.validation is not None:
            raise ValueError("hold_out excludes 'validation'; give one or the other")
        if self.train.references is not None:
            raise ValueError("train.references would not be used; validation and test have them")
        for name, files in (("validation", self.validation), ("test", self.test)):
            if files and files.table and files.references and self.columns.references:
                raise ValueError(f"{name}.references excludes columns.references; give one of them")

    @property
    def has_validation(self) -> bool:
        """Whether there are pairs that choose the best checkpoint."""
        return self.validation is not None or self.hold_out is not None


@dataclass(frozen=True, kw_only=True)
class GeneratedData(CorpusData):
    """A corpus that s2s makes itself from a language's own rules: nothing to download."""

    kind: Literal["generated"]
    corpus: Literal["dates"]
    """`dates`: dates and numbers as people write them, and as they are read aloud."""
    pairs: Annotated[int, Field(ge=100, le=1_000_000)] = 20_000
    """Training pairs."""
    held_out: Annotated[int, Field(ge=10, le=100_000)] = 500
    """Pairs in validation, and again in test; none occurs in another split."""
    seed: Count = 1
    """Seed of the generator."""

    @property
    def has_validation(self) -> bool:
        """Whether there are pairs that choose the best checkpoint."""
        return True


def _held_out(part: DatasetData | FilesData | GeneratedData) -> str | None:
    """A field of a corpus that asks for validation or test pairs, if one does.

    The names of a data set's splits have defaults, and generated data are held out in any case.
    """
    if isinstance(part, GeneratedData):
        return None
    if part.hold_out is not None:
        return "hold_out"
    if isinstance(part, FilesData):
        asked = {"validation": part.validation, "test": part.test}
        return next((name for name, files in asked.items() if files is not None), None)
    return None


AnyCorpus = Annotated[DatasetData | FilesData | GeneratedData, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True)
class SeveralData(Section):
    """Several corpora to train on together, each with columns, filters, weight and tag."""

    kind: Literal["several"]
    corpora: Annotated[tuple[AnyCorpus, ...], Field(min_length=1)]
    """The corpora, each written as `data` is when there is one."""
    truncate: Truncate = field(default_factory=Truncate)
    """How many tokens of a long text are kept, in every corpus."""

    def __post_init__(self) -> None:
        chosen = [number for number, part in enumerate(self.corpora) if part.evaluated]
        if len(chosen) > 1:
            raise ValueError(f"corpora[{chosen[1]}].evaluated: corpora[{chosen[0]}] is already")
        for number, part in enumerate(self.corpora):
            if part.truncate != Truncate():
                raise ValueError(
                    f"corpora[{number}].truncate: truncate all corpora alike, with data.truncate"
                )
            if part is not self.evaluated and (unused := _held_out(part)):
                raise ValueError(
                    f"corpora[{number}].{unused} would not be used: validation and test are those "
                    "of the first corpus, or of the one with 'evaluated: true'"
                )

    @property
    def has_validation(self) -> bool:
        """Whether there are pairs that choose the best checkpoint."""
        return self.evaluated.has_validation

    @property
    def evaluated(self) -> AnyCorpus:
        """The corpus whose validation and test splits are the run's."""
        return next((part for part in self.corpora if part.evaluated), self.corpora[0])

    @property
    def longest_source(self) -> int:
        """Tokens of the longest source that training can see."""
        return self.truncate.source or max(part.filters.max_length for part in self.corpora)


Data = Annotated[DatasetData | FilesData | GeneratedData | SeveralData, Field(discriminator="kind")]


def corpora_of(data: Data) -> tuple[AnyCorpus, ...]:
    """The corpora to train on, in the recipe's order."""
    return data.corpora if isinstance(data, SeveralData) else (data,)


def evaluated_of(data: Data) -> AnyCorpus:
    """The corpus whose validation and test splits are the run's."""
    return data.evaluated if isinstance(data, SeveralData) else data


def image_features_of(data: Data) -> tuple[ImageFeatureFile, ...]:
    """The files of image features; all corpora have the same."""
    part = evaluated_of(data)
    return () if isinstance(part, GeneratedData) else part.image_features


def has_source_text(data: Data) -> bool:
    """Whether sources have text, beside features or alone."""
    part = evaluated_of(data)
    return isinstance(part, GeneratedData) or part.columns.source is not None
