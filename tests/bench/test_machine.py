"""The machine of a benchmark and the load by other processes."""

import dataclasses

import pytest
import torch

from s2s.bench import machine


@pytest.mark.parametrize(
    ("load", "others", "is_busy"),
    [
        (5.0, 0.2, False),
        (0.0, 1.0, False),
        (0.0, 1.3, True),
        (1.3, None, True),
        (None, None, False),
    ],
)
def test_a_busy_machine_is_reported(
    load: float | None, others: float | None, is_busy: bool
) -> None:
    described = machine.describe_machine(torch.device("cpu"))
    found = dataclasses.replace(described, cores=2, threads=1, load=load, others=others)
    assert (found.warning is not None) == is_busy
