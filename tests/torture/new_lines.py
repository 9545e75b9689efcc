"""Coverage: which lines of s2s an input is the first to reach."""

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Protocol

Place = tuple[str, int]
"""A file below s2s, and a line of it."""


class NewLines(Protocol):
    """Watches this process."""

    def start(self) -> None:
        """Begin to watch."""
        ...

    def take(self) -> list[Place]:
        """The lines that were reached for the first time since the last call."""
        ...


def watch(known: set[Place]) -> NewLines:
    """Watch for lines of s2s that are not `known`, with what this Python has for it."""
    import s2s

    root = f"{Path(s2s.__file__).parent}/"
    monitoring = getattr(sys, "monitoring", None)
    return _Traced(root, known) if monitoring is None else _Monitored(root, known, monitoring)


class _Traced:
    """By `sys.settrace`, which Python 3.11 has: code whose lines are all known runs untraced."""

    def __init__(self, root: str, known: set[Place]) -> None:
        self._root = root
        self._known = known
        self._new: list[Place] = []
        self._locals: dict[CodeType, Callable[..., Any] | None] = {}

    def start(self) -> None:
        """Begin to watch, threads to come included."""
        threading.settrace(self._call)
        sys.settrace(self._call)

    def take(self) -> list[Place]:
        """The new lines."""
        found, self._new = self._new, []
        return found

    def _call(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        try:
            return self._locals[code]
        except KeyError:
            made = self._locals[code] = self._local(code)
            return made

    def _local(self, code: CodeType) -> Callable[..., Any] | None:
        if not code.co_filename.startswith(self._root):
            return None
        file = code.co_filename[len(self._root) :]
        lines = {line for _, _, line in code.co_lines() if line is not None}
        left = {line for line in lines if (file, line) not in self._known}

        def local(frame: FrameType, event: str, argument: Any) -> Any:
            if event == "line" and frame.f_lineno in left:
                left.discard(frame.f_lineno)
                place = (file, frame.f_lineno)
                if place not in self._known:
                    self._known.add(place)
                    self._new.append(place)
                if not left:
                    self._locals[code] = None
            return local

        return local if left else None


class _Monitored:
    """By `sys.monitoring`, from Python 3.12 on: each line costs something once."""

    def __init__(self, root: str, known: set[Place], monitoring: Any) -> None:
        self._root = root
        self._known = known
        self._new: list[Place] = []
        self._monitoring = monitoring

    def start(self) -> None:
        """Begin to watch, in all threads."""
        tool, events = self._monitoring.COVERAGE_ID, self._monitoring.events
        self._monitoring.use_tool_id(tool, "torture")
        self._monitoring.register_callback(tool, events.LINE, self._line)
        self._monitoring.set_events(tool, events.LINE)

    def take(self) -> list[Place]:
        """The new lines."""
        found, self._new = self._new, []
        return found

    def _line(self, code: CodeType, line: int) -> Any:
        if code.co_filename.startswith(self._root):
            place = (code.co_filename[len(self._root) :], line)
            if place not in self._known:
                self._known.add(place)
                self._new.append(place)
        return self._monitoring.DISABLE
