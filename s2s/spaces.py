"""White space, as every reader of text and every metric sees it."""

MARK = "\ufeff"
"""The byte order mark, U+FEFF; within a line it is an invisible space."""

INVISIBLE_SPACES = f"\u200b{MARK}"
"""Zero-width space, which separates words in Thai and Khmer, and zero-width no-break space; Unicode
does not count them as white space."""


def split_words(text: str) -> list[str]:
    """The words of a text between white space, invisible spaces included."""
    return with_visible_spaces(text).split()


def with_visible_spaces(text: str) -> str:
    """The text, of equal length, with U+0020 for invisible spaces."""
    if not text.isascii():
        for space in INVISIBLE_SPACES:
            text = text.replace(space, " ")
    return text


def is_blank(text: str) -> bool:
    """Whether a text is empty, or white space alone."""
    return not text.strip() or (not text.isascii() and not split_words(text))


def without_end_space(text: str) -> str:
    """The text without white space at its end, invisible spaces included."""
    return text[: len(with_visible_spaces(text).rstrip())]


def without_outer_space(text: str) -> str:
    """The text without white space at its beginning and end, invisible spaces included."""
    text = without_end_space(text)
    return text[len(text) - len(with_visible_spaces(text).lstrip()) :]
