"""The recipe's `data`: sources of pairs, and their treatment."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from s2s.recipe.choices import PlaceholderKind
from s2s.recipe.filters import Filters, HoldOut, Tag, TargetText, Truncate
from s2s.recipe.image_features import ImageFeatureFile
from s2s.recipe.section import Count, Files, Fraction, NonEmpty, Section
from s2s.recipe.synthetic import Synthetic


def _column_name(value: object) -> object:
    """A column's number as the text that names it."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Column = Annotated[str, Field(min_length=1), BeforeValidator(_column_name)]


@dataclass(frozen=True, kw_only=True)
class Columns(Section):
    """Columns (or JSON keys) of the text; `a.b` is a nested column."""

    source: Column | None = "source"
    """Column of the source text; null if image features are the only source."""
    target: Column = "target"
    """Column of the target text, or of a list of texts (JSONL, Parquet or data sets), such as all
    captions of an image. Each text makes a training pair. In validation and test all are
    references, and the loss is computed on the first."""
    source_features: Column | None = None
    """Column of source features, such as the morphological tags `V;PST`, which the encoder reads
    after the source. An input line of `s2s translate` is then source, tab, source features.
    `tokenizer.source_features` splits them."""
    references: NonEmpty | None = None
    """Column of validation and test with all references of a pair, a list of texts of any length
    (JSONL, Parquet or data sets). Metrics use them instead of the target; the loss is computed on
    the target."""
    group: Column | None = None
    """Column of validation and test whose equal values join rows: the rows of an image, or of a
    source, become one example, and the targets of all of them its references. Training reads every
    row as a pair."""
    labels: bool = False
    """The target is labels: whole numbers are read as text, and a list in source or target as its
    words, between spaces (a space within a word becomes `_`). Tasks `classify` and `tag` have it
    from the start."""


@dataclass(frozen=True, kw_only=True)
class Splits(Section):
    """Names of a data set's splits; `train[:1000]` is a slice, as in `datasets`."""

    train: NonEmpty = "train"
    """Split for training."""
    validation: NonEmpty | None = "validation"
    """Split whose score chooses the best checkpoint."""
    test: NonEmpty | None = "test"
    """Split that `s2s bleu` scores; training never reads it."""


@dataclass(frozen=True, kw_only=True)
class CorpusData(Section):
    """Fields that all kinds of data share.

    Descriptions are arguments of `Field`, because pydantic reads only the docstrings of a class's
    own fields.
    """

    kind: str  # the first key of a written recipe; each kind narrows its type
    weight: Annotated[
        float,
        Field(
            gt=0.0,
            le=1000.0,
            description="How often each pair occurs in an epoch on average: 2 is twice, 0.5 every "
            "other epoch.",
        ),
    ] = 1.0
    tag: Annotated[
        Tag | None, Field(description="A symbol, such as <2en>, in front of every source.")
    ] = None
    evaluated: Annotated[
        bool,
        Field(
            description="Among several corpora: take validation and test from this one; by default "
            "from the first."
        ),
    ] = False
    filters: Annotated[Filters, Field(description="Filters of training pairs.")] = field(
        default_factory=Filters
    )
    truncate: Annotated[Truncate, Field(description="Limits to which long texts are cut.")] = field(
        default_factory=Truncate
    )
    placeholders: Annotated[
        tuple[PlaceholderKind, ...],
        Field(
            description="Kinds of text that become numbered symbols such as `<num1>` and come back "
            "in outputs: `number`, `url`, `email` (docs/terms.md)."
        ),
    ] = ()
    target_text: Annotated[
        TargetText, Field(description="Normalization of targets, before all other steps.")
    ] = field(default_factory=TargetText)
    synthetic: Annotated[
        tuple[Synthetic, ...],
        Field(
            description="Training pairs of text without a translation and a trained run's outputs "
            "for it: back-translation, forward translation (docs/synthetic.md)."
        ),
    ] = ()

    @property
    def longest_source(self) -> int:
        """Number of tokens of the longest source that training can read."""
        return self.truncate.source or self.filters.max_length


@dataclass(frozen=True, kw_only=True)
class DatasetData(CorpusData):
    """A data set of the Hugging Face hub, or a local folder with the same layout."""

    kind: Literal["dataset"]
    dataset: NonEmpty
    """Name on the hub (`owner/name`) or path of a local folder."""
    config: NonEmpty | None = None
    """Configuration of the data set (`de-en`), if it has several."""
    revision: NonEmpty | None = None
    """Hub revision (commit, tag) to pin."""
    columns: Columns = field(default_factory=Columns)
    """Columns of source and target."""
    image_features: tuple[ImageFeatureFile, ...] = ()
    """Files of image features that belong to the pairs."""
    splits: Splits = field(default_factory=Splits)
    """Names of the splits."""
    hold_out: HoldOut | None = None
    """Take validation and test pairs from training; needs `splits.validation: null`, and
    `splits.test: null` for `hold_out.test`."""

    def __post_init__(self) -> None:
        if self.hold_out is None:
            return
        if self.hold_out.share and self.splits.validation is not None:
            raise ValueError("hold_out excludes splits.validation; make the latter null")
        if self.hold_out.test and self.splits.test is not None:
            raise ValueError("hold_out.test excludes splits.test; make the latter null")

    @property
    def has_validation(self) -> bool:
        """Whether there are validation pairs."""
        return self.splits.validation is not None or _holds_out(self.hold_out)


@dataclass(frozen=True, kw_only=True)
class FileSet(Section):
    """One split: two parallel text files, or one table with two columns; or several of either, one
    after the other. A list is read in its order, the files of a pattern (`parts/*.tsv`) sorted."""

    source: Files | None = None
    """Plain text, one source per line (`.gz` too); a file, a pattern, or a list of both. A language
    model has none."""
    target: Files | None = None
    """Plain text, whose line i is the target of line i of `source`; of several files, file i
    belongs to file i of `source`."""
    table: Files | None = None
    """`.tsv`, `.csv`, `.jsonl` or `.parquet` (`.gz` too) with the columns of `data.columns`; a
    file, a pattern, or a list of both."""
    references: Annotated[tuple[Files, ...], Field(min_length=1)] | None = None
    """All references of validation or test pairs: files parallel to `source`, or columns of `table`
    with a text each. Metrics use them instead of the target, so list the target too if it is a
    reference. `columns.references` is for lists of any length. Where `source` has several files,
    each entry has as many (a list, or a pattern)."""

    def __post_init__(self) -> None:
        if self.table is None and self.target is None:
            raise ValueError(
                "expected 'source' and 'target' (parallel text), 'target' alone (of a language "
                "model), or 'table'"
            )
        if self.table is not None and (self.source is not None or self.target is not None):
            raise ValueError("'table' excludes 'source' and 'target'; give one or the other")
        if self.table is not None and not all(
            isinstance(one, str) for one in self.references or ()
        ):
            raise ValueError("references of a 'table' are names of columns, not lists")


@dataclass(frozen=True, kw_only=True)
class FilesData(CorpusData):
    """Your own files; paths are relative to the working directory of the command."""

    kind: Literal["files"]
    train: FileSet
    """Training pairs."""
    validation: FileSet | None = None
    """Pairs whose score chooses the best checkpoint."""
    test: FileSet | None = None
    """Pairs that `s2s bleu` scores; training never reads them."""
    columns: Columns = field(default_factory=Columns)
    """Columns of tables: names in the header or JSON keys; `0`, `1` in a table without header."""
    image_features: tuple[ImageFeatureFile, ...] = ()
    """Files of image features that belong to the pairs."""
    header: bool = True
    """Whether TSV and CSV tables begin with a line of column names."""
    max_damaged: Fraction = 0.01
    """Fail if a larger share of the rows of a TSV or CSV table is damaged, such as by commas in a
    text without quotation marks. Up to it such rows are left out and reported."""
    hold_out: HoldOut | None = None
    """Take validation and test pairs from training; excludes `validation`, and `hold_out.test`
    excludes `test`."""

    def __post_init__(self) -> None:
        if self.hold_out is not None and self.hold_out.share and self.validation is not None:
            raise ValueError("hold_out excludes 'validation'; give one or the other")
        if self.hold_out is not None and self.hold_out.test and self.test is not None:
            raise ValueError("hold_out.test excludes 'test'; give one or the other")
        if self.train.references is not None:
            raise ValueError(
                "train.references has no effect; only validation and test have references"
            )
        for name, files in (("validation", self.validation), ("test", self.test)):
            if files and files.table and files.references and self.columns.references:
                raise ValueError(f"{name}.references excludes columns.references; give one of them")
        if self.columns.group is not None and (without := self._without_columns()):
            raise ValueError(
                f"columns.group joins rows of tables, and {without} is parallel text, which has no "
                "columns"
            )

    def _without_columns(self) -> str | None:
        """The first split with references that is parallel text; None if there is none."""
        held_out = None if self.hold_out is None else self.train
        named = {"validation": self.validation, "test": self.test, "train": held_out}
        return next((name for name, one in named.items() if one and one.table is None), None)

    @property
    def has_validation(self) -> bool:
        """Whether there are validation pairs."""
        return self.validation is not None or _holds_out(self.hold_out)


@dataclass(frozen=True, kw_only=True)
class GeneratedData(CorpusData):
    """A corpus that s2s generates from the rules of a language, without a download."""

    kind: Literal["generated"]
    corpus: Literal["dates"]
    """`dates`: dates and numbers as people write them, paired with how they are read aloud."""
    pairs: Annotated[int, Field(ge=100, le=1_000_000)] = 20_000
    """Training pairs."""
    held_out: Annotated[int, Field(ge=10, le=100_000)] = 500
    """Pairs of validation, and as many of test; no pair occurs in two splits."""
    seed: Count = 1
    """Seed of the generator."""

    @property
    def has_validation(self) -> bool:
        """Whether there are validation pairs."""
        return True


def _holds_out(hold_out: HoldOut | None) -> bool:
    """Whether validation pairs are taken from training."""
    return hold_out is not None and hold_out.share > 0.0


def _held_out(part: DatasetData | FilesData | GeneratedData) -> str | None:
    """The first field of a corpus that names validation or test pairs; None if there is none.

    The names of a data set's splits have defaults, and generated data always have such pairs, so
    these do not count.
    """
    if isinstance(part, GeneratedData):
        return None
    if part.hold_out is not None:
        return "hold_out"
    if isinstance(part, FilesData):
        named = {"validation": part.validation, "test": part.test}
        return next((name for name, files in named.items() if files is not None), None)
    return None


AnyCorpus = Annotated[DatasetData | FilesData | GeneratedData, Field(discriminator="kind")]


@dataclass(frozen=True, kw_only=True)
class SeveralData(Section):
    """Several corpora in one training, each with its columns, filters, weight and tag."""

    kind: Literal["several"]
    corpora: Annotated[tuple[AnyCorpus, ...], Field(min_length=1)]
    """The corpora; each is a section like `data` with one corpus."""
    truncate: Truncate = field(default_factory=Truncate)
    """Limits to which long texts are cut, in every corpus."""
    placeholders: tuple[PlaceholderKind, ...] = ()
    """Kinds of text that become numbered symbols, in every corpus."""
    synthetic: tuple[Synthetic, ...] = ()
    """Training pairs of text without a translation and a trained run's outputs for it, beside
    those of the corpora."""

    def __post_init__(self) -> None:
        chosen = [number for number, part in enumerate(self.corpora) if part.evaluated]
        if len(chosen) > 1:
            raise ValueError(f"corpora[{chosen[1]}].evaluated: corpora[{chosen[0]}] has it already")
        for number, part in enumerate(self.corpora):
            if part.truncate != Truncate():
                raise ValueError(
                    f"corpora[{number}].truncate: use data.truncate, which is for all corpora"
                )
            if part.placeholders:
                raise ValueError(
                    f"corpora[{number}].placeholders: use data.placeholders, which is for all "
                    "corpora"
                )
            if part.synthetic:
                raise ValueError(
                    f"corpora[{number}].synthetic: use data.synthetic, which is beside all corpora"
                )
            if part is not self.evaluated and (unused := _held_out(part)):
                raise ValueError(
                    f"corpora[{number}].{unused} has no effect: validation and test come from the "
                    "first corpus, or from the one with 'evaluated: true'"
                )

    @property
    def has_validation(self) -> bool:
        """Whether there are validation pairs."""
        return self.evaluated.has_validation

    @property
    def evaluated(self) -> AnyCorpus:
        """The corpus whose validation and test splits the run uses."""
        return next((part for part in self.corpora if part.evaluated), self.corpora[0])

    @property
    def longest_source(self) -> int:
        """Number of tokens of the longest source that training can read."""
        return self.truncate.source or max(part.filters.max_length for part in self.corpora)


Data = Annotated[DatasetData | FilesData | GeneratedData | SeveralData, Field(discriminator="kind")]


def corpora_of(data: Data) -> tuple[AnyCorpus, ...]:
    """The training corpora in the recipe's order."""
    return data.corpora if isinstance(data, SeveralData) else (data,)


def evaluated_of(data: Data) -> AnyCorpus:
    """The corpus whose validation and test splits the run uses."""
    return data.evaluated if isinstance(data, SeveralData) else data


def image_features_of(data: Data) -> tuple[ImageFeatureFile, ...]:
    """The files of image features, which several corpora share."""
    part = evaluated_of(data)
    return () if isinstance(part, GeneratedData) else part.image_features


def has_source_text(data: Data) -> bool:
    """Whether sources have text, with or without image features."""
    part = evaluated_of(data)
    return isinstance(part, GeneratedData) or part.columns.source is not None
