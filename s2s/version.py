"""The version of s2s, where files of every level find it."""

__version__ = "0.1.0"
