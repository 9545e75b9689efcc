"""Recurrent cells over whole sequences and by single steps."""
