"""Choice of device, precision and threads."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from s2s.errors import UsageError
from s2s.nn import cuda
from s2s.nn.device import autocast, choose_device, choose_precision, fp32_of, limit_threads
from s2s.recipe.model import Model, StackedDecoder


def fp32_of_a_gpu() -> list[str]:
    """The precision of fp32 in products, convolutions and recurrences."""
    backends: Any = torch.backends
    if hasattr(backends.cudnn.rnn, "fp32_precision"):
        kinds = (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn)
        return [kind.fp32_precision for kind in kinds]
    flags = (backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32, backends.cudnn.allow_tf32)
    return ["tf32" if flag else "ieee" for flag in flags]


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    yield
    cuda.set_tf32(products=False, recurrences=False)  # no effect on a CPU


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
def test_missing_devices_are_refused(
    monkeypatch: pytest.MonkeyPatch, wanted: str, message: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    with pytest.raises(UsageError) as caught:
        choose_device(wanted)
    assert str(caught.value) == message
    assert choose_device("cuda:1").index == 1


def test_a_gpu_chosen_by_number_becomes_the_current_one(monkeypatch: pytest.MonkeyPatch) -> None:
    current: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    for name in ("cpu", "cuda", "cuda:1"):
        choose_device(name)
    assert current == [torch.device("cuda:1")]


def test_fp32_is_ieee_outside_of_tf32_contexts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    cuda.set_tf32(products=True, recurrences=True)
    choose_device("cpu")
    assert fp32_of_a_gpu() == ["tf32"] * 3
    choose_device("cuda")
    assert fp32_of_a_gpu() == ["ieee"] * 3
    gpu, means = torch.device("cuda"), {"fp32": ["ieee"] * 3, "tf32": ["tf32"] * 3}
    means["bf16"] = ["ieee", "tf32", "tf32"]  # products are in bf16
    for precision in ("fp32", "tf32", "bf16"):
        with fp32_of(precision, gpu):
            assert fp32_of_a_gpu() == means[precision]
        assert fp32_of_a_gpu() == ["ieee"] * 3
        with fp32_of(precision, torch.device("cpu")):
            assert fp32_of_a_gpu() == ["ieee"] * 3
    with fp32_of("tf32", gpu):
        with cuda.ieee_products():
            assert fp32_of_a_gpu() == ["ieee", "tf32", "tf32"]
        assert fp32_of_a_gpu() == ["tf32"] * 3
    with pytest.raises(KeyError), fp32_of("tf32", gpu):
        raise KeyError
    assert fp32_of_a_gpu() == ["ieee"] * 3


@pytest.mark.parametrize(
    "setter",
    ["_accelerator_setAllocatorSettings", "_cuda_cudaCachingAllocator_set_allocator_settings"],
)
@pytest.mark.parametrize("chosen", [None, *cuda.ALLOCATOR])
def test_segments_expand_unless_the_user_configured_the_allocator(
    setter: str, chosen: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    for name in cuda.ALLOCATOR:
        monkeypatch.delenv(name, raising=False)
    if chosen is not None:
        monkeypatch.setenv(chosen, "max_split_size_mb:64")
    monkeypatch.delattr(torch._C, "_accelerator_setAllocatorSettings", raising=False)
    monkeypatch.setattr(torch._C, setter, told.append, raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(cuda.platform, "system", lambda: "Linux")
    monkeypatch.setattr(torch.version, "cuda", None)
    choose_device("cuda")
    assert told == []
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    choose_device("cuda")
    assert told == ([] if chosen else ["expandable_segments:True"])


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
        ("tf32", "cuda", (8, 0), False, "tf32"),
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
    found = {"fp32": 1e11, "rounded": 9e10, "bf16": 3e11 if has_bf16 else 2e10}
    monkeypatch.setattr("s2s.nn.kernels.measured", lambda: found)
    for place in ("s2s.nn.kernels", "s2s.nn.device"):
        monkeypatch.setattr(f"{place}.runs_bf16_lstm", lambda: True)
    assert choose_precision(wanted, torch.device(device)) == precision


@pytest.mark.parametrize(("device", "found"), [("cpu", "--device cpu"), ("cuda", "an older one")])
def test_tf32_is_refused_on_hardware_without_it(
    device: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with pytest.raises(UsageError) as caught:
        choose_precision("tf32", torch.device(device))
    assert str(caught.value) == (
        "train.precision: tf32 needs a GPU of the Ampere generation or a later one, found "
        f"{found}; use auto, bf16 or fp32"
    )


def test_products_run_in_the_chosen_precision() -> None:
    a = torch.ones(2, 3)
    for precision in ("fp32", "tf32"):
        with autocast(precision, a.device):
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
def test_a_small_model_gets_one_thread_unless_the_user_sets_the_number(
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
