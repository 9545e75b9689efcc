"""Prepares a corpus once: tokenizers, filters, encoded data, a report."""
