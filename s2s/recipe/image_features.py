"""Recipe sections of image features: the files, and their encoders."""

from dataclasses import dataclass
from typing import Literal

from s2s.recipe.section import Count, Fraction, NonEmpty, PositiveInt, Probability, Section


@dataclass(frozen=True, kw_only=True)
class ImageFeatureFile(Section):
    """A file of image features: for every id a vector, or a grid of regions with a vector each.
    Paths are relative to the folder that the command runs in."""

    path: NonEmpty
    """File of the features (docs/features.md lists the formats)."""
    ids: NonEmpty | None = None
    """Text file whose line i is the id of the features in row i; not given where the features bring
    their ids along."""
    column: NonEmpty = "image"
    """Column of the data that holds the id; of plain text files, a line is the ids, or text, tab,
    ids."""
    max_missing: Fraction = 0.0
    """Fail when the features of a larger share of a split's pairs are not there; the others are
    left out, and counted."""
    max_unused: Fraction = 1.0
    """Fail when a larger share of the file's ids is in no split."""


@dataclass(frozen=True, kw_only=True)
class ImageFeatureEncoder(Section):
    """A state for every region, s = tanh(W x + b): soft attention then looks at regions, and their
    mean is where the decoder begins (Xu et al. 2015, sections 3.1.1 and 3.1.2)."""

    width: PositiveInt | None = None
    """Width of the states; if not given that of a text's, model.encoder.width, twice for both
    directions. All that is attended to together is equally wide."""
    normalization: Literal["none", "layer"] = "layer"
    """`layer`: layer normalization of each region's features (Ba et al. 2016)."""
    dropout: Probability = 0.2
    """Channels of the features, the same of all regions."""
    layers: Count = 0
    """Layers of a bidirectional LSTM over the regions, in their order or along `rows`; 0 for none,
    as the order of a grid says little."""
    rows: PositiveInt | None = None
    """Rows of the grid, whose regions lie row by row: the layers then read along rows and along
    columns in turn, so that with two a state knows the whole image (ReNet, Visin et al. 2015). All
    grids of the file are equally large."""
    positions: bool = False
    """Add a learned vector for each place in the grid; without, and without LSTM, regions are a
    set."""

    def __post_init__(self) -> None:
        if self.rows is not None and not self.layers:
            raise ValueError("rows is what layers of an LSTM read along; give layers, 1 or more")
