"""YAML text as plain data, with the place of every value.

Only the node tree is read, so no tag can construct an object. Duplicate keys, custom tags,
infinities and several documents are faults, although YAML allows them.
"""

import json
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from s2s.errors import shortened

Keys = tuple[str | int, ...]
"""The keys from the top of a recipe to a value."""

MAX_DEPTH = 20  # recipes are about 5 deep; more is a mistake or an attack
MAX_VALUES = 20_000  # aliases can expand ten lines to billions of values
MAX_NODES = 20_000  # keys and values in the text; the parser takes seconds for them
MAX_BYTES = 1 << 20  # of a recipe file
MAX_LINES = 50_000  # of a recipe file: comments take the parser more than their share
MAX_FAULTS = 50  # of a recipe that are reported
LONGEST_FAULT = 1000  # characters: values and messages of rules may be long
LARGEST = 2**63  # beyond any field and any seed

_STANDARD = "tag:yaml.org,2002:"
_ILLEGAL = re.compile("[\0\ud800-\udfff]")  # in no file name, and surrogates in no file


def flow(value: Any) -> str:
    """A plain value in YAML, on one line: `{kind: cosine, warmup: 100}`."""
    match value:
        case Mapping():
            return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(flow, value)) + "]"
        case str() if not _needs_quotes(value):
            return value
        case float() if float(f"{value:g}") == value:
            return f"{value:g}"
    return json.dumps(value, ensure_ascii=False)


def _needs_quotes(text: str) -> bool:
    """Whether YAML would read the text as something else, or as a part of a flow mapping."""
    if any(character in text for character in "{}[],:#\"'&*!|>%@`\\\n") or text != text.strip():
        return True
    try:
        return not isinstance(YAML(typ="safe", pure=True).load(text), str)
    except (YAMLError, ValueError):  # no YAML, or a date of month 13
        return True


@dataclass(frozen=True, order=True)
class Place:
    """The place of a value: a line of the file, or a `--set`."""

    rank: tuple[int, int]
    """Sort key: lines of bases (negative, the deepest first), of the file, then the overrides in
    their order."""
    label: str
    """The place in messages: `recipe.yaml:5` or `--set seed`."""


@dataclass(frozen=True, order=True)
class Fault:
    """One error in a recipe."""

    place: Place
    keys: str
    """The path within the recipe, dotted; empty for the recipe as a whole."""
    what: str
    """The expected and the found value."""

    def __str__(self) -> str:
        """The message, on one line."""
        is_named = not self.keys or self.place.label.endswith(f" {self.keys}")  # of an override
        keys = "" if is_named else f"{self.keys}: "
        return f"{self.place.label}: {keys}{shortened(self.what, LONGEST_FAULT)}"


def messages(faults: Iterable[Fault]) -> list[str]:
    """The faults in the order of their places, a line each; of very many the first."""
    found = sorted(set(faults))
    listed = [str(fault) for fault in found[:MAX_FAULTS]]
    more = len(found) - len(listed)
    return [*listed, f"and {more:,} more faults"] if more > 0 else listed


@dataclass
class Document:
    """A recipe as plain data: dicts, lists, text, numbers, booleans, None."""

    name: str
    """The file's name in messages."""
    data: dict[str, Any] = field(default_factory=dict)
    """The top-level mapping."""
    places: dict[Keys, Place] = field(default_factory=dict)
    """The place of each value."""
    faults: list[Fault] = field(default_factory=list)
    """Faults of the YAML itself and of overrides."""
    refused: set[Keys] = field(default_factory=set)
    """Values with a fault; their entries in `data` have no meaning."""
    depth: int = 0
    """0 for the recipe itself, 1 for its base, 2 for the base of that."""

    def line(self, number: int) -> Place:
        """The place of a line of the file, counted from 1."""
        return Place((-self.depth, number), f"{self.name}:{number}")

    def place(self, keys: Keys) -> Place:
        """The place of the value at `keys`, or of the nearest section around it."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.places:
                return self.places[keys[:length]]
        return self.places.get((), self.line(1))

    def refuse(self, place: Place, keys: Keys, what: str) -> None:
        """Record a fault of the value at `keys`."""
        self.faults.append(Fault(place, dotted(keys), what))
        self.refused.add(keys)

    def is_refused(self, keys: Keys) -> bool:
        """Whether the value at `keys`, or a section around it, has a fault already."""
        return any(keys[:length] in self.refused for length in range(len(keys) + 1))


def dotted(keys: Keys) -> str:
    """`model.encoder.layers`, or `metrics[1]` for an item of a list."""
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{_printable(key) or '(empty)'}"
    return text.removeprefix(".")


def read_document(name: str, content: bytes, depth: int = 0) -> Document:
    """Read the bytes of a recipe file; faults of the YAML are in `faults`, and none is raised."""
    document = Document(name, depth=depth)
    if len(content) > MAX_BYTES:
        document.refuse(document.line(1), (), f"far too large: more than {MAX_BYTES:,} bytes")
        return document
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        document.refuse(document.line(line), (), "not valid UTF-8")
        return document
    if text.count("\n") > MAX_LINES:
        document.refuse(document.line(1), (), f"far too large: more than {MAX_LINES:,} lines")
        return document
    node = _compose(document, text)
    if isinstance(node, MappingNode):
        document.places[()] = document.line(node.start_mark.line + 1)
        document.data = _Converter(document).value(node, ()) or {}
    elif not document.faults:
        found = (
            "nothing" if node is None else "a list" if isinstance(node, SequenceNode) else "text"
        )
        document.refuse(document.line(1), (), f"expected sections (key: value), found {found}")
    return document


def read_value(document: Document, place: Place, keys: Keys, text: str) -> object:
    """Read `text`, the value of an override, as the value at `keys`; faults go to `document`."""
    scratch = Document("")
    node = _compose(scratch, text)
    if scratch.faults:
        document.refuse(place, keys, scratch.faults[0].what)
        return None
    for old in [known for known in document.places if known[: len(keys)] == keys]:
        del document.places[old]
    if node is None:
        document.places[keys] = place
        return None
    return _Converter(document, place).value(node, keys)


def _compose(document: Document, text: str) -> Node | None:
    """The node tree of `text`, or None with a fault recorded."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an anchor used twice is legal YAML
            yaml = YAML(typ="rt", pure=True)
            yaml.Composer = _Composer
            tree: Node | None = yaml.compose(text)
            return tree
    except _TooLarge as error:
        line, what = error.line, f"far too large: more than {MAX_NODES:,} keys and values in all"
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        what = f"not valid YAML: {error.problem or error.context}"
        if "another document" in what:
            what = "expected one YAML document, found another one ('---')"
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"not valid YAML: character {error.character!r} is not allowed"
    except RecursionError:
        line, what = 1, "not valid YAML: nested too deeply"
    except Exception as error:  # other errors of the parser in malformed text
        line, what = 1, f"not valid YAML: {_printable(str(error))}"
    document.refuse(document.line(line), (), " ".join(what.split()))
    return None


class _TooLarge(Exception):
    """A text with more nodes than any recipe has."""

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line


class _Composer(Composer):
    """Composes no more nodes than a recipe may have: each takes the parser a quarter of a
    millisecond."""

    num_nodes = 0
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """The next node and those in it. Raises _TooLarge, and RecursionError where they are nested
        deeper than a recipe's: the scanner's time grows with the square of the depth."""
        self.num_nodes += 1
        if self.num_nodes > MAX_NODES:
            raise _TooLarge(self.parser.peek_event().start_mark.line + 1)
        if self.depth > 2 * MAX_DEPTH:
            raise RecursionError
        self.depth += 1
        found = super().compose_node(parent, index)
        self.depth -= 1
        return found


class _Converter:
    """Turns nodes into plain data and records the place of each."""

    def __init__(self, document: Document, place: Place | None = None) -> None:
        self._document = document
        self._place = place
        self._count = 0

    def value(self, node: Node, keys: Keys) -> Any:
        """The plain value of a node; None with a fault."""
        place = self._document.places.setdefault(keys, self._place_of(node))
        self._count += 1
        if len(keys) > MAX_DEPTH or self._count > MAX_VALUES:
            if self._count <= MAX_VALUES + 1:
                self._document.refuse(place, keys[:1], "nested too deeply, or far too large")
            return None
        tag = str(node.tag)
        if isinstance(node, ScalarNode):
            return self._scalar(node, tag, place, keys)
        if isinstance(node, MappingNode) and tag == f"{_STANDARD}map":
            return self._mapping(node, keys)
        if isinstance(node, SequenceNode) and tag == f"{_STANDARD}seq":
            return [self.value(item, (*keys, i)) for i, item in enumerate(node.value)]
        self._document.refuse(place, keys, f"unknown tag '{_short(tag)}'")
        return None

    def _place_of(self, node: Node) -> Place:
        return self._place or self._document.line(node.start_mark.line + 1)

    def _fault(self, place: Place, keys: Keys, what: str) -> None:
        """Record a fault of a key; the section around it is still checked."""
        self._document.faults.append(Fault(place, dotted(keys), what))

    def _mapping(self, node: MappingNode, keys: Keys) -> dict[str, Any]:
        result: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key, value, is_own in self._pairs(node, keys):
            place = self._place_of(key)
            if not isinstance(key, ScalarNode):
                self._fault(place, keys, "expected a name as key, found a list or a section")
            elif _ILLEGAL.search(key.value):
                self._fault(place, keys, f"not valid text: {_cut(key.value)!r}")
            elif key.value not in result:
                lines[key.value] = key.start_mark.line + 1
                self._document.places[*keys, key.value] = place
                result[key.value] = self.value(value, (*keys, key.value))
            elif is_own:
                what = f"duplicate key (first on line {lines[key.value]})"
                self._fault(place, (*keys, key.value), what)
        return result

    def _pairs(self, node: Node, keys: Keys, depth: int = 0) -> list[tuple[Node, Node, bool]]:
        """Keys and values of a mapping: its own (True), then those that `<<: *anchor` adds."""
        own: list[tuple[Node, Node, bool]] = []
        added: list[tuple[Node, Node, bool]] = []
        self._count += 1
        if not isinstance(node, MappingNode) or max(depth, self._count // 1000) > MAX_DEPTH:
            self._document.refuse(self._place_of(node), keys, "'<<' can add only another section")
            return []
        for key, value in node.value:
            if str(key.tag) != f"{_STANDARD}merge":
                own.append((key, value, depth == 0))
                continue
            for other in value.value if isinstance(value, SequenceNode) else [value]:
                added += self._pairs(other, keys, depth + 1)
        return own + added

    def _scalar(self, node: ScalarNode, tag: str, place: Place, keys: Keys) -> Any:
        text: str = node.value
        match tag.removeprefix(_STANDARD):
            case "null":
                return None
            case "bool":
                return text.lower() in ("true", "yes", "on", "y")
            case "int" | "float" as kind:
                return self._number(text, kind, place, keys)
            case "str" | "timestamp" | "value" | "merge":
                if not _ILLEGAL.search(text):
                    return text
                self._document.refuse(place, keys, f"not valid text: {_cut(text)!r}")
                return None
        self._document.refuse(place, keys, f"unknown tag '{_short(tag)}'")
        return None

    def _number(self, text: str, kind: str, place: Place, keys: Keys) -> int | float | str | None:
        """A number, or the text itself where it only resembles one (`1:30`)."""
        try:
            number = _integer(text) if kind == "int" else _decimal(text)
        except ValueError:
            return text
        if isinstance(number, float) and not math.isfinite(number):
            self._document.refuse(place, keys, f"expected a finite number, found {text[:20]}")
            return None
        if abs(number) >= LARGEST:
            self._document.refuse(place, keys, f"the number is too large: {text[:20]}")
            return None
        return number


def _integer(text: str) -> int:
    """A YAML 1.2 integer: `12`, `+1_000`, `012` (twelve), `0o17`, `0x1F`, `0b11`."""
    plain = text.replace("_", "")
    if re.fullmatch(r"[-+]?[0-9]+", plain):
        return int(plain) if len(plain) < LARGEST.bit_length() else LARGEST
    return int(plain, 0)


def _decimal(text: str) -> float:
    """A YAML 1.2 float: `1e-3`, `.5`, `.inf`, `.nan`."""
    return float(re.sub(r"\.(inf|nan)", r"\1", text.lower().replace("_", "")))


def _short(tag: str) -> str:
    return _printable(tag.replace(_STANDARD, "!!"))


def _printable(text: str, longest: int = 60) -> str:
    """`text` on one line, without control characters, cut short."""
    plain = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text[: longest + 1])
    return _cut(plain, longest)


def _cut(text: str, longest: int = 60) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
