"""Damage: bytes as disks and networks change them, lines and recipes as people and programs do."""

import random
import re

ODD_VALUES = (
    "null", "true", "0", "-1", "1e309", ".nan", "1e-400", "99999999999999999999", "''", "[]", "{}",
    "[[[[]]]]", "{kind: nothing}", "!!python/object:os.system x", "*x", "&x [*x]", "2026-13-45",
    "'\u202e'", "1_000", "0x1F", "[1, 2, 3]", "{a: b}", "|", ">", "~", "yes", "'- '", "\"\\ud800\"",
)  # fmt: skip

CHARACTERS = (
    "abc 0123456789", "äöüßéñ", "日本語中文", "한국어", "\u200c\u200d\u200b\ufeff", "\u202e\u2066",
    "\x00\x01\x1b[31m\x07\x7f", "\u2028\u2029\x85\x0b\x0c", "😀👩‍👩‍👧", "\u0300\u0301", "\t\r",
    "½…²", "<unk></s><s>", "▁", "\U0010ffff", "\ue000",
)  # fmt: skip


def damaged(content: bytes, draw: random.Random) -> bytes:
    """A file as a bad disk, a cut connection or a stranger leaves it."""
    data = bytearray(content)
    draw.choice((_cut, _flip, _overwrite, _insert, _leave_out, _clear, _renumber, _repeat))(
        data, draw
    )
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
        data[begin:end] = draw.choice((b"0", b"-1", b"1000000", b"99999999999999999999", b"1e9"))


def _repeat(data: bytearray, draw: random.Random) -> None:
    place, other = _place(data, draw), _place(data, draw)
    data[place : place + 64] = data[other : other + 64]


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
