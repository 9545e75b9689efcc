"""Tokens without invisible characters, for all kinds of maps."""

import unicodedata

_JOINERS = "\u200c\u200d"
"""Invisible characters that belong to the spelling of Persian and of scripts of India."""

_INVISIBLE = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"}
"""Unicode categories of characters that are invisible or change the text around them."""


def visible(token: str) -> str:
    """The token without invisible characters; `▁` stays as the mark of a space.

    ASCII controls become their pictures (U+0000 is `␀`), other invisible characters their code
    (`<U+202E>`). A combining mark without a letter gets a circle; an empty token is `∅`.
    """
    has_letter = any(unicodedata.category(letter)[0] == "L" for letter in token)
    shown = "".join(_visible(letter, has_letter) for letter in token)
    if shown and unicodedata.category(shown[0])[0] == "M":
        return f"◌{shown}"
    return shown or "∅"


def visible_line(text: str) -> str:
    """A line without invisible characters, word by word."""
    return " ".join(visible(word) for word in text.split(" ") if word)


def _visible(letter: str, has_letter: bool) -> str:
    code = ord(letter)
    if letter == " ":
        return "▁"
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    if unicodedata.category(letter) in _INVISIBLE and not (has_letter and letter in _JOINERS):
        return f"<U+{code:04X}>"
    return letter


def clusters(text: str) -> list[str]:
    """The text as a list of letters, each with its combining marks."""
    found: list[str] = []
    for letter in text:
        joins = found and (letter in _JOINERS or found[-1][-1] == "\u200d")
        if found and (joins or unicodedata.category(letter)[0] == "M"):
            found[-1] += letter
        else:
            found.append(letter)
    return found
