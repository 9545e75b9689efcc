"""Decoders: how attention and recurrence are connected."""
