"""Placeholders: numbered symbols in place of numbers, URLs and e-mail addresses.

A model learns to carry over `<num1>` once, and no number is too rare for it (Crego et al. 2016,
"SYSTRAN's Pure Neural Machine Translation Systems"; Post et al. 2019, "An Exploration of
Placeholding in Neural Machine Translation"). Text becomes placeholders and placeholders become
text here; that each is one token is the tokenizers' part (`tokenizer.symbols`).
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from s2s.recipe.choices import PlaceholderKind
from s2s.text.word_boundaries import joins

MOST = 9
"""Placeholders of each kind; the further entities of a line stay as they are."""

NAMES: dict[PlaceholderKind, str] = {"number": "num", "url": "url", "email": "email"}
"""What the placeholders of each kind are called: `<num1>`."""

PATTERNS: dict[PlaceholderKind, str] = {
    # Every URL with a scheme, and those that begin as most without do; ASCII as RFC 3986 has it.
    "url": r"(?:(?:https?|ftp)://|www\.)[A-Za-z0-9\[][!#-;=?-Z\[\]_a-z~]*",
    # The local part has at most 64 characters (RFC 5321, section 4.5.3.1.1).
    "email": r"(?<![\w.%+-])[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+",
    # `\d\d*`, as its first character is looked for quicker than that of `\d+`.
    "number": r"\d\d*(?:[.,:/]\d+)*",
}
"""What the entities of each kind look like; an earlier kind counts where several match."""

MARKS: dict[PlaceholderKind, tuple[str, ...]] = {"url": ("://", "www."), "email": ("@",)}
"""Texts of which every entity of a kind has one: looking for them is quicker than for a pattern."""

TRAILING = ".,:;!?'*_~"
"""Characters at the end of a URL that belong to the sentence around it."""

Entities = tuple[tuple[str, str], ...]
"""The placeholders of a text, in the order of their first places, and what each stands for."""


class Replaced(NamedTuple):
    """A text with placeholders."""

    text: str
    entities: Entities


class _Found(NamedTuple):
    """An entity of a text."""

    start: int
    end: int
    kind: PlaceholderKind
    text: str


class Placeholders:
    """Replaces the entities of texts by placeholders, and puts them back.

    An entity stands as a whole word, by the rule of `s2s.text.word_boundaries`. Equal entities of a
    text have one placeholder, which are numbered by their first places. What looks like a
    placeholder in a text is an entity itself, so `put_back` restores every text.
    """

    def __init__(self, kinds: Iterable[PlaceholderKind], kept: Iterable[str] = ()) -> None:
        """`kept` are symbols of tokenizers, within which nothing is replaced. Without kinds all
        texts stay."""
        chosen = set(kinds)
        self.kinds = tuple(kind for kind in PATTERNS if kind in chosen)
        self._kind_of = {
            f"<{NAMES[kind]}{number}>": kind for kind in self.kinds for number in range(1, MOST + 1)
        }
        # Tokenizers prefer the longest symbol, too.
        symbols = sorted({*self._kind_of, *filter(None, kept)}, key=len, reverse=True)
        self._symbol = re.compile("|".join(map(re.escape, symbols)))
        self._firsts = "".join({symbol[0] for symbol in symbols})
        self._patterns: dict[tuple[str, ...], re.Pattern[str]] = {}

    @property
    def symbols(self) -> tuple[str, ...]:
        """All placeholders."""
        return tuple(self._kind_of)

    def replace(self, text: str) -> Replaced:
        """The text with all its entities replaced, but for those beyond `MOST` of a kind."""
        if not self.kinds:
            return Replaced(text, ())
        found = self._found(text)
        return self._replaced(text, found, self._numbered(found))

    def replace_pair(self, source: str, target: str) -> tuple[str, str]:
        """Both texts, with the entities replaced that both have, numbered as in the source."""
        in_source = self._found(source)
        if not in_source:
            return source, target
        in_target = self._found(target)
        shared = {(one.kind, one.text) for one in in_target}
        symbols = self._numbered([one for one in in_source if (one.kind, one.text) in shared])
        if not symbols:
            return source, target
        return (
            self._replaced(source, in_source, symbols).text,
            self._replaced(target, in_target, symbols).text,
        )

    def replace_known(self, text: str, entities: Entities) -> str:
        """A text of the target side, with the entities of its source replaced as they are there."""
        if not entities:
            return text
        symbols = {(self._kind_of[symbol], entity): symbol for symbol, entity in entities}
        return self._replaced(text, self._found(text), symbols).text

    def put_back(self, text: str, entities: Entities) -> str:
        """The text with the entities of its source in place of their placeholders.

        A placeholder that the source does not have becomes the last entity of its kind there; where
        there is none it is left out, with a space beside it.
        """
        if not self.kinds:
            return text
        written: list[str] = []
        known = dict(entities)
        end, is_left_out = 0, False
        for found in self._symbol.finditer(text):
            symbol = found[0]
            if symbol not in self._kind_of:
                continue
            between, end = text[end : found.start()], found.end()
            written.append(_closed(written, between) if is_left_out else between)
            entity = known.get(symbol) or self._last(self._kind_of[symbol], entities)
            is_left_out = entity is None
            written.append(entity or "")
        if not is_left_out:
            return "".join([*written, text[end:]])
        rest = _closed(written, text[end:])
        restored = "".join([*written, rest])
        return restored if rest else restored.removesuffix(" ")

    def _last(self, kind: PlaceholderKind, entities: Entities) -> str | None:
        """The last entity of a kind."""
        of_kind = (text for symbol, text in reversed(entities) if self._kind_of[symbol] == kind)
        return next(of_kind, None)

    def _found(self, text: str) -> list[_Found]:
        """The entities of a text, in their order."""
        found = []
        for match in self._pattern_for(text).finditer(text):
            kind, start, end = match.lastgroup, match.start(), match.end()
            if kind == "symbol":
                if match[0] in self._kind_of:
                    found.append(_Found(start, end, self._kind_of[match[0]], match[0]))
                continue
            if kind == "url":
                end = start + len(_without_trailing(match[0]))
            is_part = start > 0 and joins(text[start - 1]) and joins(text[start])
            is_part |= end < len(text) and joins(text[end - 1]) and joins(text[end])
            if not is_part:
                found.append(_Found(start, end, kind, text[start:end]))  # type: ignore[arg-type]
        return found

    def _pattern_for(self, text: str) -> re.Pattern[str]:
        """A pattern that finds all symbols and entities of a text, with as little as that takes."""
        marked = (kind for kind in self.kinds if any(one in text for one in MARKS.get(kind, ("",))))
        has_symbols = any(first in text for first in self._firsts)
        names = (*(["symbol"] if has_symbols else []), *marked)
        if names not in self._patterns:
            # The look-ahead is quicker than trying one symbol after the other.
            symbol = f"(?=[{re.escape(self._firsts)}])(?:{self._symbol.pattern})"
            patterns = {"symbol": symbol, **{str(kind): one for kind, one in PATTERNS.items()}}
            parts = [f"(?P<{name}>{patterns[name]})" for name in names]
            self._patterns[names] = re.compile("|".join(parts) or r"(?!)")
        return self._patterns[names]

    def _numbered(self, found: Sequence[_Found]) -> dict[tuple[PlaceholderKind, str], str]:
        """The placeholder of every entity that gets one."""
        chosen: dict[tuple[PlaceholderKind, str], str] = {}
        for kind in self.kinds:
            texts = list(dict.fromkeys(one.text for one in found if one.kind == kind))
            if len(texts) > MOST:
                # What looks like a placeholder needs one: it could not be told from others.
                first = sorted(texts, key=lambda text: text not in self._kind_of)[:MOST]
                texts = [text for text in texts if text in first]
            for number, text in enumerate(texts, start=1):
                chosen[kind, text] = f"<{NAMES[kind]}{number}>"
        return chosen

    @staticmethod
    def _replaced(
        text: str, found: Sequence[_Found], symbols: dict[tuple[PlaceholderKind, str], str]
    ) -> Replaced:
        """The text with these entities replaced that have a placeholder."""
        parts: list[str] = []
        entities: dict[str, str] = {}
        end = 0
        for one in found:
            symbol = symbols.get((one.kind, one.text))
            if symbol is not None:
                parts += [text[end : one.start], symbol]
                entities[symbol] = one.text
                end = one.end
        return Replaced("".join([*parts, text[end:]]), tuple(entities.items()))


def _without_trailing(url: str) -> str:
    """A URL without the end that belongs to the sentence: punctuation, and brackets that it does
    not open."""
    opened, closed, end = url.count("("), url.count(")"), len(url)
    while end and (url[end - 1] in TRAILING or (url[end - 1] == ")" and closed > opened)):
        closed -= url[end - 1] == ")"
        end -= 1
    return url[:end]


def _closed(written: Sequence[str], text: str) -> str:
    """The text after a placeholder that is left out, without the space that would be one too
    many."""
    before = next((part for part in reversed(written) if part), "")
    is_after_space = not before or before[-1].isspace()
    return text[1:] if is_after_space and text[:1].isspace() else text
