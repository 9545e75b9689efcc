"""Damage: bytes as disks and networks change them, lines and recipes as people and programs do."""

import json
import random
import re
from collections.abc import Sequence

ODD_VALUES = (
    "null", "true", "0", "-1", "1e309", ".nan", "1e-400", "99999999999999999999", "''", "[]", "{}",
    "[[[[]]]]", "{kind: nothing}", "!!python/object:os.system x", "*x", "&x [*x]", "2026-13-45",
    "'\u202e'", "1_000", "0x1F", "[1, 2, 3]", "{a: b}", "|", ">", "~", "yes", "'- '", "\"\\ud800\"",
)  # fmt: skip

ODD_JSON = (
    *(None, True, -1, 0, 1.5, 10**30, 1e308, float("nan"), "", "x", [], {}, [[]], {"a": 1}),
    *("\ud800", "\x1b[31m", [None], 2**63, "9" * 5000),
)
"""Values of JSON in places of others."""

ODD_NUMBERS = (
    *(b"0", b"-1", b"1000000", b"99999999999999999999", b"1e9", b"1e999", b"-0.5", b"1e-400"),
    *(b"Infinity", b"NaN", b"true", b"null", b'""', b"9" * 5000),
)

CHARACTERS = (
    "abc 0123456789", "äöüßéñ", "日本語中文", "한국어", "\u200c\u200d\u200b\ufeff", "\u202e\u2066",
    "\x00\x01\x1b[31m\x07\x7f", "\u2028\u2029\x85\x0b\x0c", "😀👩‍👩‍👧", "\u0300\u0301", "\t\r",
    "½…²", "<unk></s><s>", "▁", "\U0010ffff", "\ue000",
)  # fmt: skip


def damaged(content: bytes, draw: random.Random) -> bytes:
    """A file as a bad disk, a cut connection or a stranger leaves it."""
    data = bytearray(content)
    ways = (_cut, _flip, _overwrite, _insert, _leave_out, _clear, _renumber, _repeat)
    draw.choice((*ways, _nest, _swap) if data[:1] in b"{[" else ways)(data, draw)
    return bytes(data)


def _place(data: bytearray, draw: random.Random) -> int:
    return draw.randrange(len(data) + 1)


def _cut(data: bytearray, draw: random.Random) -> None:
    del data[_place(data, draw) :]


def _flip(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 1, 2, 8)) if data else 0):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def _overwrite(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 4, 32)) if data else 0):
        data[draw.randrange(len(data))] = draw.choice((0, 255, 127, 128, 1, 123))


def _insert(data: bytearray, draw: random.Random) -> None:
    place = _place(data, draw)
    data[place:place] = draw.randbytes(draw.choice((1, 7, 300)))


def _leave_out(data: bytearray, draw: random.Random) -> None:
    place = _place(data, draw)
    del data[place : place + draw.choice((1, 8, 200))]


def _clear(data: bytearray, draw: random.Random) -> None:
    place, length = _place(data, draw), draw.choice((1, 16, 512))
    data[place : place + length] = bytes(length)


def _renumber(data: bytearray, draw: random.Random) -> None:
    numbers = [match.span() for match in re.finditer(rb"\d+", bytes(data[:20_000]))]
    if numbers:
        begin, end = draw.choice(numbers)
        data[begin:end] = draw.choice(ODD_NUMBERS)


def _nest(data: bytearray, draw: random.Random) -> None:
    depth = draw.choice((30, 150, 400, 900, 2_000, 200_000))
    opening, closing = draw.choice(((b"[", b"]"), (b'{"a":', b"}")))
    data[:] = opening * depth + draw.choice((b"1", bytes(data))) + closing * depth


def _swap(data: bytearray, draw: random.Random) -> None:
    """Another type in place of one value."""
    try:
        content = json.loads(data)
    except RecursionError:
        return
    except ValueError:  # lines of JSON
        lines = bytes(data).split(b"\n")
        place = draw.randrange(len(lines))
        line = bytearray(lines[place])
        if line and len(lines) > 1:
            _swap(line, draw)
            lines[place] = bytes(line)
            data[:] = b"\n".join(lines)
        return
    places = [place for place in _places(content) if place]
    if places:
        *above, last = draw.choice(places)
        section = content
        for key in above:
            section = section[key]
        section[last] = draw.choice(ODD_JSON)
    else:
        content = draw.choice(ODD_JSON)
    data[:] = json.dumps(content).encode()


def _places(value: object, keys: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The keys of a value and of all values in it, but for those deep inside."""
    if len(keys) > 12:
        return []
    items = (
        list(value.items())
        if isinstance(value, dict)
        else list(enumerate(value))
        if isinstance(value, list)
        else []
    )
    return [keys, *(place for key, item in items[:50] for place in _places(item, (*keys, key)))]


def _repeat(data: bytearray, draw: random.Random) -> None:
    place, other = _place(data, draw), _place(data, draw)
    data[place : place + 64] = data[other : other + 64]


def changed(content: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """One to three changes, one after the other; sometimes the end is that of another file."""
    for _ in range(draw.choice((1, 1, 2, 3))):
        if draw.random() < 0.1:
            other = draw.choice(others)
            content = content[: draw.randrange(len(content) + 1)]
            content += other[draw.randrange(len(other) + 1) :]
        if content[:1] in (b"{", b"[") and draw.random() < 0.4:
            data = bytearray(content)
            draw.choice((_swap, _swap, _renumber))(data, draw)
            content = bytes(data)
        else:
            content = damaged(content, draw)
    return content


def flipped(content: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """Mostly changes that leave all other bytes where they are, as formats with offsets need."""
    if draw.random() < 0.4:
        return changed(content, others, draw)
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 3))):
        draw.choice((_flip, _flip, _overwrite, _clear))(data, draw)
    return bytes(data)


def changed_text(content: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    """Changes of text: sometimes a piece of it is replaced by characters no one expects."""
    if draw.random() < 0.5:
        return changed(content, others, draw)
    place = draw.randrange(len(content) + 1)
    marks = ("\t", "\n", "\r", '"', ",", "|||", "\\u", "{", ":", " ", "0", "-", "")
    piece = b"".join((odd_line(draw), draw.choice(marks).encode()))
    return content[:place] + piece + content[place + draw.choice((0, 1, 5, 40)) :]


def odd_recipe(text: str, draw: random.Random) -> bytes:
    """A recipe with a few lines changed, doubled, moved or left out."""
    lines = text.splitlines()
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(lines))
        line = lines[place]
        match draw.randrange(7):
            case 0:
                lines[place] = re.sub(
                    r":.*", lambda _: f": {draw.choice(ODD_VALUES)}", line, count=1
                )
            case 1:
                del lines[place]
            case 2:
                lines.insert(draw.randrange(len(lines) + 1), line)
            case 3:
                lines[place] = " " * draw.randrange(9) + line.lstrip()
            case 4:
                letters = list(line)
                if letters:
                    letters[draw.randrange(len(letters))] = draw.choice(
                        "abcxyz:{}[]#'\"\t-&*!%@\x00"
                    )
                lines[place] = "".join(letters)
            case 5:
                lines[place] = re.sub(r"\w+", lambda m: m[0][::-1], line, count=1)
            case _:
                lines[place] = line + " " + draw.choice(ODD_VALUES)
        if not lines:
            break
    return "\n".join(lines).encode("utf-8", errors="surrogatepass")


def odd_line(draw: random.Random) -> bytes:
    """A line without its end, as no model has seen it; sometimes not UTF-8."""
    length = draw.choice((0, 1, 3, 10, 60, 400))
    text = "".join(draw.choice(draw.choice(CHARACTERS)) for _ in range(length))
    return text.replace("\n", "").encode()
