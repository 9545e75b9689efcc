"""The special ids, with which every vocabulary begins."""

PAD, UNK, BOS, EOS = 0, 1, 2, 3
"""Padding, unknown token, begin of sentence, end of sentence."""

SPECIAL_PIECES = ("<pad>", "<unk>", "<s>", "</s>")
"""Their spelling, by id."""
