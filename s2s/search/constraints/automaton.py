"""Terms as a finite automaton that reads text, however tokens spell it.

Constraints are on whole words of the *text*. So the terms are compiled into one automaton over
characters (Aho & Corasick 1975, with word boundaries), and its transitions over the characters of
every token into one table: a hypothesis carries a state, and a token is one look-up.

Dimension letters: Q states, C classes of characters, V vocabulary, L characters of a token,
n terms.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from s2s.errors import DataError
from s2s.text.word_boundaries import joins

SPACE, LETTER, OTHER = 0, 1, 2
"""Classes of the characters that occur in no term; the others follow."""

BYTES = 0x110000
"""A token that is a byte of UTF-8 stands for this code point plus the byte."""

MOST_CELLS = 1 << 25
"""States times tokens of a table, which bounds its memory (200 to 500 MB while it is made)."""

CLASS_CELLS = 32
"""What finding the step of a state over a class of characters counts as: it takes so much longer
than that over a token."""

STATES = 16
"""States whose rows of a table are computed together."""

Ints = NDArray[np.int64]


class Spelling:
    """The characters of every token of a vocabulary."""

    def __init__(self, surfaces: Sequence[str | bytes]) -> None:
        """`surfaces` are the text that each token adds to an output."""
        self._surfaces = list(surfaces)
        self.token_of = {surface: token for token, surface in enumerate(surfaces)}
        rows = [_codes(surface) for surface in surfaces]
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        self.size = len(rows)
        self.order_V = np.argsort(-lengths, kind="stable")  # long tokens first
        self.counts_L = [int((lengths > place).sum()) for place in range(lengths.max(initial=0))]
        self.has_bytes = any(code >= BYTES for row in rows for code in row)
        """Whether a token may be a part of a character."""
        flat = [rows[v][place] for place, n in enumerate(self.counts_L) for v in self.order_V[:n]]
        self.codes, self.flat = np.unique(np.array(flat, dtype=np.int64), return_inverse=True)
        self.class_of_code = np.array([_class(code) for code in self.codes], dtype=np.int64)

    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens."""
        several = (self._surfaces[token] for token in tokens)
        raw = b"".join(one.encode() if isinstance(one, str) else one for one in several)
        return raw.decode(errors="replace")

    def symbols(self, token: int, special: dict[int, int]) -> list[int]:
        """The classes of a token's characters; `special` as in `classes`."""
        return [special.get(code, _class(code)) for code in _codes(self._surfaces[token])]

    def classes(self, special: dict[int, int]) -> list[Ints]:
        """For every place L, the classes of the characters there of the tokens that reach it.

        `special` gives the classes of some code points.
        """
        class_of_code = self.class_of_code.copy()
        for code, number in special.items():
            place = int(np.searchsorted(self.codes, code))
            if place < len(self.codes) and self.codes[place] == code:
                class_of_code[place] = number
        flat = class_of_code[self.flat]
        ends = np.cumsum([0, *self.counts_L])
        return [flat[a:b] for a, b in pairwise(ends.tolist())]


def _codes(surface: str | bytes) -> list[int]:
    if isinstance(surface, str):
        return [ord(character) for character in surface]
    return [byte if byte < 0x80 else BYTES + byte for byte in surface]


def _class(code: int) -> int:
    if code >= BYTES:
        return OTHER
    character = chr(code)
    return SPACE if character.isspace() else LETTER if joins(character) else OTHER


@dataclass(frozen=True)
class AutomatonState:
    """A state: the part of the text read so far that matters."""

    places: frozenset[tuple[int, int]] = frozenset()
    """(term, number of its characters) that the text ends with."""
    whole: frozenset[int] = frozenset()
    """Terms that the text ends with, which are met unless a letter follows."""
    last: int = SPACE
    """Class of the last character: SPACE, LETTER or OTHER."""
    part: bytes = b""
    """Bytes of an incomplete character of a term."""


Met = frozenset[int]
NOTHING: Met = frozenset()


class Automaton:
    """All reachable states, numbered; state 0 is the beginning of the text."""

    def __init__(self, terms: Sequence[str], spelling: Spelling) -> None:
        """`terms` are single-spaced and not empty; `spelling` has the tokens that will be read.

        Raises DataError for terms that are together so long that a table of these tokens would
        take very much memory.
        """
        self.terms = tuple(terms)
        characters = sorted({c for term in terms for c in term if c != " "})
        self.special = {ord(c): number for number, c in enumerate(characters, start=3)}
        self._kind = [SPACE, LETTER, OTHER, *(LETTER if joins(c) else OTHER for c in characters)]
        self._words = [[self.special.get(ord(c), SPACE) for c in term] for term in terms]
        self._starts: dict[int, list[int]] = {}
        for i, word in enumerate(self._words):
            self._starts.setdefault(word[0], []).append(i)
        several = [c for c in characters if ord(c) >= 0x80] if spelling.has_bytes else []
        self._encoded = {c.encode(): self.special[ord(c)] for c in several}
        self._begun = {code[:n] for code in self._encoded for n in range(1, len(code))}
        spelled = sorted({byte for encoding in self._encoded for byte in encoding})
        self._byte_of = dict(enumerate(spelled, start=len(self._kind)))
        self.special |= {BYTES + byte: number for number, byte in self._byte_of.items()}
        self.classes = len(self._kind) + len(spelled)
        self.states: list[AutomatonState] = [AutomatonState()]
        self.steps: list[list[int]] = []
        self.met: list[list[Met]] = []
        cells = max(spelling.size, CLASS_CELLS * self.classes)
        self._build(max(1, MOST_CELLS // max(1, cells)))

    def _build(self, most: int) -> None:
        """Find all states. Raises DataError for more than `most`."""
        numbers = {self.states[0]: 0}
        for state in self.states:  # grows during the loop
            if len(self.states) > most:
                raise DataError(
                    f"terms that must, or must not, appear: too long together "
                    f"({sum(map(len, self.terms)):,} characters in {len(self.terms):,}, with those "
                    f"of '{max(self.terms, key=len):.40}'); expected words and short phrases, "
                    "leave some out"
                )
            found = [self._read(state, c) for c in range(self.classes)]
            for new, _ in found:
                if new not in numbers:
                    numbers[new] = len(self.states)
                    self.states.append(new)
            self.steps.append([numbers[new] for new, _ in found])
            self.met.append([met for _, met in found])

    def _read(self, state: AutomatonState, symbol: int) -> tuple[AutomatonState, Met]:
        """The state after a symbol, and the terms it shows to be met."""
        byte = self._byte_of.get(symbol)
        if byte is not None:
            part = state.part + bytes([byte])
            if part in self._encoded:
                return self._step(_without_part(state), self._encoded[part])
            if part in self._begun:
                return AutomatonState(state.places, state.whole, state.last, part), NOTHING
        met = NOTHING
        if state.part:  # not a character of a term; other bytes count as no letter
            state, met = self._step(_without_part(state), OTHER)
            if byte is not None:
                state, more = self._read(state, symbol)
                return state, met | more
        new, more = self._step(state, OTHER if byte is not None else symbol)
        return new, met | more

    def _step(self, state: AutomatonState, symbol: int) -> tuple[AutomatonState, Met]:
        """`_read` of a symbol that is a character."""
        kind = self._kind[symbol]
        if kind == SPACE == state.last:
            return state, NOTHING  # several spaces count as one
        is_glued = kind == LETTER == state.last
        begun = () if is_glued else self._starts.get(symbol, ())
        places, whole = set(), set()
        met = set(state.whole) if kind != LETTER else set()
        for i, place in (*state.places, *((i, 0) for i in begun)):
            word = self._words[i]
            if word[place] != symbol:
                continue
            if place + 1 < len(word):
                places.add((i, place + 1))
            elif kind == LETTER:
                whole.add(i)
            else:
                met.add(i)
        return AutomatonState(frozenset(places), frozenset(whole), kind), frozenset(met)

    def met_at_end(self, number: int) -> Met:
        """Terms that are met if the text ends in a state."""
        return self.states[number].whole

    def read(self, number: int, symbols: Sequence[int]) -> tuple[int, list[int]]:
        """The state after symbols from a state, and the terms met on the way, with repetitions."""
        met: list[int] = []
        for symbol in symbols:
            met.extend(self.met[number][symbol])
            number = self.steps[number][symbol]
        return number, met

    def progress(self, number: int, term: int) -> int:
        """Number of characters of a term that the text of a state ends with."""
        state = self.states[number]
        if term in state.whole:
            return len(self.terms[term])
        return max((place for i, place in state.places if i == term), default=0)


def _without_part(state: AutomatonState) -> AutomatonState:
    return AutomatonState(state.places, state.whole, state.last)


class Tables:
    """The transitions of an automaton over whole tokens."""

    def __init__(self, automaton: Automaton, spelling: Spelling, bits_n: Sequence[int]) -> None:
        """`bits_n` are the bits that each term sets in `met`."""
        classes = automaton.classes
        bits = [[_or(bits_n, met) for met in row] for row in automaton.met]
        # Small types, and few states at a time, so that the tables stay in the caches.
        kind = np.min_scalar_type(max(bits_n, default=1))
        met_Z = np.array(bits, dtype=kind).ravel()
        step_Z = np.array(automaton.steps, dtype=np.int32).ravel() * np.int32(classes)
        symbols_L = [s.astype(np.int32) for s in spelling.classes(automaton.special)]
        states = len(automaton.states)
        next_QV = np.empty((states, spelling.size), dtype=np.int32)
        met_QV = np.zeros((states, spelling.size), dtype=kind)
        twice_QV = np.zeros((states, spelling.size), dtype=bool)
        for first in range(0, states, STATES):
            rows = slice(first, first + STATES)
            here_QV, seen_QV = next_QV[rows], met_QV[rows]
            here_QV[...] = np.arange(first, first + len(here_QV))[:, None] * classes
            for symbols in symbols_L:
                long = slice(0, len(symbols))  # the tokens that are
                place = here_QV[:, long] + symbols
                found = met_Z.take(place)
                if found.any():
                    twice_QV[rows, long] |= (seen_QV[:, long] & found) != 0
                    seen_QV[:, long] |= found
                here_QV[:, long] = step_Z.take(place)
        next_QV //= np.int32(classes)
        back_V = np.argsort(spelling.order_V)
        self.next_QV: NDArray[np.int32] = next_QV[:, back_V]
        self.met_QV: NDArray[np.unsignedinteger] = met_QV[:, back_V]
        """[Q, V], the bits of terms that a token shows to be met."""
        self.twice_QV: NDArray[np.bool_] = twice_QV[:, back_V]
        """bool [Q, V], whether a token meets one of them more than once."""
        self.ends_Q: Ints = np.array(
            [_or(bits_n, automaton.met_at_end(q)) for q in range(states)], dtype=np.int64
        )
        """int64 [Q], the bits of terms that the end of the text shows to be met."""


def _or(bits_n: Sequence[int], met: Met) -> int:
    total = 0
    for i in met:
        total |= bits_n[i]
    return total
