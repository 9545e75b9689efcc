"""Words between separators."""

from s2s.spaces import split_words

SPACE = " "

LINE = "\n"
"""The separator of labels: a line is one, its white space single spaces."""


def words_between(line: str, separators: str) -> list[str]:
    """The words of a line; where U+0020 is a separator, all white space is."""
    if separators == LINE:
        label = SPACE.join(split_words(line))
        return [label] if label else []
    if SPACE not in separators:
        return words_between_exactly(line, separators)
    for other in separators.replace(SPACE, ""):
        line = line.replace(other, SPACE)
    return split_words(line)


def words_between_exactly(line: str, separators: str) -> list[str]:
    """The words of a line between these characters alone."""
    for other in separators[1:]:
        line = line.replace(other, separators[0])
    return [word for word in line.split(separators[0]) if word]
