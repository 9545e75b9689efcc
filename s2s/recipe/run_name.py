"""The name of a run for a recipe that has none, from the name of its file."""

import hashlib
import re
import unicodedata


def latin_name(text: str) -> str:
    """The name of a run for any text: what is no letter from A to Z, digit, `.`, `_` or `-` becomes
    `-`; where letters or digits are lost so, a hash tells names apart."""
    whole = unicodedata.normalize("NFC", text)  # some systems store names decomposed
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", whole).strip("-_.")
    if not any(_is_lost(character) for character in whole):
        return plain or "run"
    digest = hashlib.sha256(whole.encode(errors="surrogateescape")).hexdigest()[:6]
    return f"{plain or 'run'}-{digest}"


def _is_lost(character: str) -> bool:
    """Whether a letter, a digit or a byte that is no text has no place in the name of a run."""
    is_letter = character.isalnum() or unicodedata.category(character)[0] == "M"
    return not character.isascii() and (is_letter or unicodedata.category(character) == "Cs")
