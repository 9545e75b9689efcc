"""Metrics of text against reference text."""
