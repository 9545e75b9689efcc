"""Tells whether the first row of a table names its columns."""

import re
from collections import Counter
from pathlib import Path

from s2s.data.sources.chunks import doubled_column

SOURCES = ("source", "src", "input", "text", "document", "body", "question", "word", "lemma")
TARGETS = ("target", "tgt", "trg", "output", "summary", "title", "answer", "phones", "form")
"""Usual names of columns."""

HEADER_WORDS = {*SOURCES, *TARGETS, "id", "features", "feats", "tags", "label", "url", "licence"}

ENDS = (".", "!", "?", "。", "！", "？", "।", "؟")
"""Characters that end sentences, and no names of columns."""


def is_header(rows: list[list[str]]) -> bool:
    """Whether the first row names the columns: known names, or short names that no other row has,
    above cells that are longer or sentences."""
    first, body = rows[0], rows[1:]
    names = [cell.strip().lower() for cell in first]
    if len(set(names)) < len(names) or not all(names[1:]) or len(rows) < 2:
        return False
    # A first name may be empty: pandas writes an index so.
    if any(name in HEADER_WORDS for name in names):
        return True
    names = [name for name in names if name]
    if not all(re.match(r"^[\w][\w .:-]{0,29}$", name) for name in names):
        return False
    known = set(first)
    if any(cell in known for row in body for cell in row):
        return False
    if any(cell.rstrip().endswith(ENDS) for cell in first):
        return False
    cells = [cell for row in body for cell in row if cell]
    ratio = sum(map(len, cells)) / max(1, len(cells)) / (sum(map(len, first)) / len(first))
    if ratio > 2.0:
        return True
    sentences = sum(cell.rstrip().endswith(ENDS) for cell in cells)
    return sentences > len(cells) / 2


def check_names(path: Path, first: list[str]) -> None:
    """Raises DataError for a header that has a usual name twice."""
    names = Counter(cell.strip().lower() for cell in first)
    for name, count in names.items():
        if count > 1 and len(names) > 1 and name in HEADER_WORDS:
            raise doubled_column(str(path), name)
