"""Signals interrupt a stream between lines."""

import io
import signal
import threading

import pytest

from s2s.errors import Interrupted
from s2s.inference.signals import handle_signals
from s2s.inference.stream import StreamContext, respond_stream
from s2s.signals import SIGNALS
from s2s.training.signals import stop_request
from tests.inference.test_resume import caught_signals

__all__ = ["caught_signals"]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_leaves_whole_lines_and_says_how_many(number: signal.Signals) -> None:
    target = io.BytesIO()

    def answer(lines: list[str], first: int) -> list[str]:
        if first == 6:
            signal.raise_signal(number)
        return lines

    with handle_signals() as signals, pytest.raises(Interrupted) as caught:
        context = StreamContext(
            start=2, signals=signals, advice=lambda done: f"tail -n +{done + 1}"
        )
        respond_stream(io.BytesIO(b"x\n" * 100), target, answer, 2, False, context=context)
    assert target.getvalue() == b"x\n" * 4
    assert str(caught.value) == "interrupted: 6 lines are done; tail -n +7"
    assert caught.value.exit_status == 128 + number


def test_a_signal_while_a_window_is_written_waits_for_its_end() -> None:
    class Slow(io.BytesIO):
        def write(self, data) -> int:
            if self.tell() == 4:
                signal.raise_signal(signal.SIGINT)
            return super().write(data)

    target = Slow()
    with handle_signals() as signals, pytest.raises(Interrupted, match="interrupted: 4 lines"):
        respond_stream(
            io.BytesIO(b"x\n" * 9),
            target,
            lambda x, _: x,
            2,
            False,
            context=StreamContext(signals=signals),
        )
    assert target.getvalue() == b"x\n" * 4


def test_a_second_signal_does_not_wait() -> None:
    class Stuck(io.BytesIO):
        def write(self, data) -> int:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("not reached")

    with handle_signals() as signals, pytest.raises(Interrupted, match="interrupted: 0 lines"):
        respond_stream(
            io.BytesIO(b"x\n"),
            Stuck(),
            lambda x, _: x,
            2,
            False,
            context=StreamContext(signals=signals),
        )


def test_signals_that_are_ignored_stay_ignored_and_all_is_as_before() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with handle_signals():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before)
    seen: list[int | None] = []

    def look() -> None:
        with handle_signals() as signals:
            seen.append(signals.signal_number)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [None]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has none")
def test_a_closed_terminal_may_say_so_twice_within_a_write() -> None:
    class Slow(io.BytesIO):
        def write(self, data) -> int:
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGHUP)
            return super().write(data)

    target = Slow()
    with handle_signals() as signals, pytest.raises(Interrupted) as caught:
        context = StreamContext(signals=signals)
        respond_stream(io.BytesIO(b"x\n" * 9), target, lambda x, _: x, 2, False, context=context)
    assert target.getvalue() == b"x\n" * 2
    assert caught.value.exit_status == 128 + signal.SIGHUP


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has none")
@pytest.mark.parametrize("catch", [handle_signals, stop_request])
def test_nohup_is_respected(catch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with catch():
            signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
