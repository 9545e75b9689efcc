"""Ids every vocabulary of s2s begins with."""

PAD, UNK, BOS, EOS = 0, 1, 2, 3
"""Padding, unknown token, begin of sentence, end of sentence."""

SPECIAL_PIECES = ("<pad>", "<unk>", "<s>", "</s>")
"""How they are written, by id."""
