"""Where tests find the project, and the real corpora that some of them read."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The folder of the project."""

CORPORA = ROOT.parent / "shared" / "data"
"""A folder a corpus; tests that need one skip where it is absent."""
