"""The recipe's image features: files of vectors or grids, and their encoders."""

from dataclasses import dataclass, field
from typing import Literal

from s2s.recipe.cells import AnyCell, LSTMCell
from s2s.recipe.section import Count, Fraction, NonEmpty, PositiveInt, Probability, Section


@dataclass(frozen=True, kw_only=True)
class ImageFeatureFile(Section):
    """A file of image features: for every id a vector, or a grid of regions with a vector each.
    Paths are relative to the working directory of the command."""

    path: NonEmpty
    """The file (docs/features.md lists the formats)."""
    ids: NonEmpty | None = None
    """Text file whose line i is the id of row i; not given if the file itself has ids."""
    column: NonEmpty = "image"
    """Column of the data with the id. A line of plain text files is the ids, or text, tab, ids."""
    max_missing: Fraction = 0.0
    """Fail if a larger share of a split's pairs has no features. Pairs without features are left
    out and counted."""
    max_unused: Fraction = 1.0
    """Fail if a larger share of the file's ids is in no split."""


@dataclass(frozen=True, kw_only=True)
class ImageFeatureEncoder(Section):
    """An encoder state for every region, s = tanh(W x + b). Attention is over regions, and their
    mean initializes the decoder (Xu et al. 2015, sections 3.1.1 and 3.1.2)."""

    width: PositiveInt | None = None
    """Width of the states; by default that of a text's states, which is model.encoder.width, times
    two for both directions. All states that a decoder attends to have one width."""
    normalization: Literal["none", "layer"] = "layer"
    """`layer`: layer normalization of each region's features (Ba et al. 2016)."""
    dropout: Probability = 0.2
    """Dropout rate of the features' channels; one mask for all regions of an image."""
    layers: Count = 0
    """Bidirectional recurrent layers over the regions, in order or along `rows`; 0 for none."""
    cell: AnyCell = field(default_factory=lambda: LSTMCell(kind="lstm"))
    """Cell of these layers."""
    rows: PositiveInt | None = None
    """Rows of the grid, whose regions are stored row by row. The layers then read along rows and
    along columns in turn, so that after two layers every state depends on the whole image (ReNet,
    Visin et al. 2015). All grids of the file must have one size."""
    positions: bool = False
    """Add a learned position embedding to each region; without it and without layers, regions are
    a set."""

    def __post_init__(self) -> None:
        if self.rows is not None and not self.layers:
            raise ValueError("rows needs layers, 1 or more: these layers read along them")
