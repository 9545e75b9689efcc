"""The command line of s2s, imported as `s2s_cli`: one file per command.

A command parses, calls `s2s.pipeline` and prints. Nothing that takes long to import (torch,
datasets, pydantic) is imported before the command that needs it runs.
"""
