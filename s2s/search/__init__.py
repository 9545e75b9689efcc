"""The one decoding loop and its strategies."""

from s2s.search.hypothesis import Hypothesis
from s2s.search.loop import search, search_stream
from s2s.search.settings import Choices, override

__all__ = ["Choices", "Hypothesis", "override", "search", "search_stream"]
