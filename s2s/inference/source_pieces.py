"""The sources to search for some lines, in pieces where lines are long."""

from typing import NamedTuple

from s2s.search.constraints.spec import ConstraintSpec
from s2s.text.extended_vocabulary import EncodedSource


class SourcePieces(NamedTuple):
    """The sources to search for some lines: one piece for each line, none, or several."""

    sources: list[EncodedSource]
    """All pieces, in the order of the lines."""
    places: list[int]
    """The number of each piece, on which its samples depend."""
    ends: list[int]
    """The number of pieces up to the end of each line."""
    constraints: list[ConstraintSpec] | None
    """The constraints on the output of each piece; None if there are none."""

    @property
    def ids(self) -> list[list[int]]:
        """Token ids of all pieces."""
        return [source.ids for source in self.sources]
