"""Recurrent layers, over whole sequences and one step at a time."""
