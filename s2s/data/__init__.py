"""Corpora: sources, preparation, the memory-mapped store, batches."""
