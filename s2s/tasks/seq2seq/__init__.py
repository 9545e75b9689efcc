"""Sequence-to-sequence tasks: translation, summarization, captioning."""
