"""Preparation of a corpus: tokenizers, filters, encoded data, a report."""
