"""Decoders: the ways to connect attention and recurrence."""
