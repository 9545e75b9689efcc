"""Where and how precisely training computes."""

import pytest
import torch

from s2s.errors import UsageError
from s2s.recipe import Model, StackedDecoder
from s2s.train.device import autocast, choose_device, choose_precision, limit_threads


def test_the_device_is_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for has_gpu, kind in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda has_gpu=has_gpu: has_gpu)
        assert choose_device("auto").type == kind
        assert choose_device("cpu").type == "cpu"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("gpu", "--device gpu: expected auto, cpu, cuda or cuda:N"),
        ("", "--device : expected auto, cpu, cuda or cuda:N"),
        ("cuda:x", "--device cuda:x: expected auto, cpu, cuda or cuda:N"),
        ("meta", "--device meta: expected auto, cpu, cuda or cuda:N"),
        ("cuda:2", "--device cuda:2: found 2 CUDA devices; use --device cpu"),
    ],
)
def test_devices_that_are_not_there(
    monkeypatch: pytest.MonkeyPatch, wanted: str, message: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UsageError) as caught:
        choose_device(wanted)
    assert str(caught.value) == message
    assert choose_device("cuda:1").index == 1


@pytest.mark.parametrize(
    ("wanted", "device", "capability", "has_bf16", "precision"),
    [
        ("fp32", "cpu", (9, 0), True, "fp32"),
        ("bf16", "cpu", (7, 0), False, "bf16"),
        ("auto", "cpu", (9, 0), True, "bf16"),
        ("auto", "cpu", (9, 0), False, "fp32"),
        ("auto", "cuda", (9, 0), False, "bf16"),
        ("auto", "cuda", (8, 0), False, "bf16"),
        ("auto", "cuda", (7, 5), True, "fp32"),
    ],
)
def test_precision(
    monkeypatch: pytest.MonkeyPatch,
    wanted: str,
    device: str,
    capability: tuple[int, int],
    has_bf16: bool,
    precision: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_bf16, raising=False)
    assert choose_precision(wanted, torch.device(device)) == precision


def test_products_run_in_the_chosen_precision() -> None:
    a = torch.ones(2, 3)
    with autocast("fp32", a.device):
        assert (a @ a.t()).dtype == torch.float32
    with autocast("bf16", a.device):
        assert (a @ a.t()).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("width", "device", "said", "threads"),
    [
        (256, "cpu", None, 1),
        (512, "cpu", None, 2),
        (256, "cuda", None, 2),
        (256, "cpu", "2", 2),
        (256, "cpu", "many", 1),
    ],
)
def test_a_small_model_gets_one_thread_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, width: int, device: str, said: str | None, threads: int
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    recipe = Model(decoder=StackedDecoder(kind="stacked", width=width))
    torch.set_num_threads(2)
    try:
        limit_threads(recipe, torch.device(device))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(1)
