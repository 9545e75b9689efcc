"""A device that is not there: tensors that claim to be on it, and compute on the CPU all the same.

A tensor of the host that meets one of them in an operation is an error, as it is on a GPU, where
only these are allowed: numbers (tensors without dimensions), indices of a tensor on the device, and
copying. The device goes by the name `meta`, which PyTorch knows and has no kernels for.

`waits` tells when the host would wait for a GPU that still has work to do. `torch.autocast` casts
what it casts on a GPU; `torch.lstm` is refused where cuDNN would run in fp16 or copy its weights.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
ACROSS = {"copy_", "_to_copy", "to"}
"""Operations whose purpose is to go from one device to the other."""
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
"""Operations on a device that take indices from the host."""


SYNCHRONOUS = {
    *("_local_scalar_dense", "item", "nonzero", "nonzero_numpy", "masked_select", "equal"),
    *("_unique2", "one_hot"),
}
"""Operations whose results the host has to know, if only for their size."""
TO_HOST, TO_DEVICE = "to the host", "to the device"
"""Copies that wait."""
_waits: list[str] = []

LOWERED = {"linear", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "addmm", "baddbmm"}
"""What autocast runs in its type on a GPU, as far as s2s uses it."""
RAISED = {
    *("exp", "log", "pow", "logsumexp", "softmax", "log_softmax", "sum", "cumsum", "norm"),
    *("cross_entropy", "nll_loss", "kl_div"),
}
"""What it runs in fp32."""
_autocast_to: list[torch.dtype | None] = [None]
"""The type of autocast in the contexts that are open, the innermost last."""


class Elsewhere(Tensor):
    """A tensor on the device."""

    inner: Tensor
    """Its values."""

    @staticmethod
    def __new__(cls, inner: Tensor) -> "Elsewhere":
        made = Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
            requires_grad=inner.requires_grad,
        )
        made.inner = inner.detach()
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Device(TorchDispatchMode):
    """Makes tensors that are asked for on the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Data(TorchFunctionMode):
    """Numbers to the device and back."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.lstm:
            _check_lstm(*args[:3])
        if func is Tensor.pin_memory:
            assert not isinstance(args[0], Elsewhere), "only the host's memory can be pinned"
            made = args[0].clone()
            made.was_pinned = True
            return made
        if func is Tensor.tolist and isinstance(args[0], Elsewhere):
            _waits.append(TO_HOST)
            return args[0].inner.tolist()
        if func in {Tensor.__getitem__, Tensor.__setitem__} and isinstance(args[0], Elsewhere):
            args = (args[0], _indices(args[1]), *args[2:])
            if func is Tensor.__setitem__:
                _note_number(*args)
        if func is not torch.tensor:
            return func(*_cast(func, args), **kwargs)
        device = kwargs.pop("device", "cpu")
        return func(*args, **kwargs).to(device)


def _check_lstm(x: Tensor, state: tuple[Tensor, ...], weights: list[Tensor]) -> None:
    """What cuDNN does not do, or not as it was asked."""
    assert all(part.is_contiguous() for part in state), "cuDNN refuses such a state"
    if isinstance(x, Elsewhere):
        assert _autocast_to[-1] is None, "under autocast cuDNN runs in fp16"
        is_bf16 = any(weight.dtype == torch.bfloat16 for weight in weights)
        assert not is_bf16, "weights in bf16 are copied together at every call"


def _note_number(target: Elsewhere, key: Any, value: Any) -> None:
    """Of `target[key] = value`: numbers fill slices, but for tensors of indices, or for a single
    element, PyTorch makes a tensor of the host and copies it."""
    parts = key if isinstance(key, tuple) else (key,)
    is_slice = not any(isinstance(part, Tensor) and part.dim() for part in parts)
    is_one = is_slice and not target[key].dim()
    if not isinstance(value, Tensor) and (is_one or not is_slice):
        _waits.append(TO_DEVICE)


def _cast(func: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """What autocast makes of the arguments on the device."""
    name, kind = getattr(func, "__name__", ""), _autocast_to[-1]
    if kind is None or name not in LOWERED | RAISED:
        return args
    wanted = kind if name in LOWERED else torch.float32

    def cast(value: Any) -> Any:
        is_there = isinstance(value, Elsewhere) and value.is_floating_point()
        return value.to(wanted) if is_there and value.dtype != torch.float64 else value

    return tuple(cast(value) for value in args)


class _Autocast:
    """`torch.autocast` of the device, and of any other."""

    plain = torch.autocast

    def __new__(cls, device_type: str, dtype: Any = None, enabled: bool = True) -> Any:
        if device_type != DEVICE.type:
            return cls.plain(device_type, dtype, enabled)
        return _autocast(dtype if enabled else None)


@contextmanager
def _autocast(kind: torch.dtype | None) -> Iterator[None]:
    _autocast_to.append(kind)
    try:
        yield
    finally:
        _autocast_to.pop()


@contextmanager
def _with_autocast() -> Iterator[None]:
    """PyTorch knows no autocast for the device: tell of it, and of other devices as before."""
    enabled, dtype = torch.is_autocast_enabled, torch.get_autocast_dtype
    available = torch.amp.is_autocast_available

    def is_enabled(device: str) -> bool:
        return _autocast_to[-1] is not None if device == DEVICE.type else enabled(device)

    def dtype_of(device: str) -> torch.dtype:
        kind = _autocast_to[-1] if device == DEVICE.type else dtype(device)
        assert kind is not None
        return kind

    def is_available(device: str) -> bool:
        return device == DEVICE.type or available(device)

    with (
        patch.object(torch, "autocast", _Autocast),
        patch.object(torch, "is_autocast_enabled", is_enabled),
        patch.object(torch, "get_autocast_dtype", dtype_of),
        patch.object(torch.amp, "is_autocast_available", is_available),
    ):
        yield


def _indices(key: Any) -> Any:
    """Lists as tensors of the host: PyTorch would make them on the device, without their values."""
    parts = key if isinstance(key, tuple) else (key,)
    made = tuple(_index(part) if isinstance(part, list) else part for part in parts)
    return made if isinstance(key, tuple) else made[0]


def _index(places: list[Any]) -> Tensor:
    return torch.tensor(places, dtype=None if places else torch.int64)


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    flat, _ = tree_flatten((args, kwargs))
    tensors = [value for value in flat if isinstance(value, Tensor)]
    wanted = [torch.device(value) for value in flat if isinstance(value, torch.device)]
    name = func.overloadpacket.__name__
    is_there = any(isinstance(tensor, Elsewhere) for tensor in tensors)
    if is_there and name not in ACROSS:
        own = tensors[:1] if name in INDEXING else tensors
        host = [t for t in own if not isinstance(t, Elsewhere) and t.dim()]
        if host:
            shapes = ", ".join(f"{type(t).__name__} {list(t.shape)}" for t in tensors)
            raise RuntimeError(f"{func}: tensors on different devices: {shapes}")
    if wanted:
        is_there = wanted[0] == DEVICE
    elif name == "copy_":
        is_there = isinstance(args[0], Elsewhere)
    wait = _wait_of(func, name, args, tensors, is_there)
    if wait is not None:
        _waits.append(wait)
    inner_args, inner_kwargs = tree_map(_inner, (args, kwargs))
    found = func(*inner_args, **inner_kwargs)
    if not is_there:
        return found
    # What is changed in place is the same tensor afterwards.
    known = {id(tensor.inner): tensor for tensor in tensors if isinstance(tensor, Elsewhere)}
    # A view of a tensor with gradients is one in inference mode, too.
    is_inference = torch.is_inference_mode_enabled() and all(t.is_inference() for t in tensors)
    with torch.inference_mode(is_inference):
        return tree_map(lambda value: _outer(value, known), found)


def _wait_of(
    func: Any, name: str, args: tuple[Any, ...], tensors: list[Tensor], is_there: bool
) -> str | None:
    """What the host would wait for in an operation; `is_there` says where its result is."""
    if name in ACROSS:
        source = tensors[-1]
        if isinstance(source, Elsewhere):
            return None if is_there else TO_HOST
        # What is not pinned is copied when the device has done all it was asked for.
        return TO_DEVICE if is_there and not hasattr(source, "was_pinned") else None
    if name in INDEXING and isinstance(args[0], Elsewhere):
        indices = [index for index in args[1] if index is not None]
        if any(index.dtype in {torch.bool, torch.uint8} for index in indices):
            return name  # of a mask the places have to be known
        return (
            None
            if all(isinstance(part, Elsewhere) for part in (*indices, *args[2:3]))
            else TO_DEVICE
        )
    if name == "where" and is_there:  # a number is made a tensor of the host, and copied
        return None if all(isinstance(value, Elsewhere) for value in args) else TO_DEVICE
    is_counted = func is torch.ops.aten.repeat_interleave.Tensor
    return name if is_there and (name in SYNCHRONOUS or is_counted) else None


def _outer(value: Any, known: dict[int, Elsewhere]) -> Any:
    if not isinstance(value, Tensor):
        return value
    before = known.get(id(value))
    return Elsewhere(value) if before is None else before


def _inner(value: Any) -> Any:
    if isinstance(value, Elsewhere):
        return value.inner
    if isinstance(value, torch.device) and value == DEVICE:
        return torch.device("cpu")
    return value


@contextmanager
def elsewhere() -> Iterator[str]:
    """The name of the device, which is there for the time of the block."""
    before = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)  # or `inner` stays what it was
    try:
        with _with_autocast(), _Data(), _Device():
            yield str(DEVICE)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(before)


@contextmanager
def waits() -> Iterator[list[str]]:
    """What the host would wait for in this block, as it comes: copies, operations by name."""
    _waits.clear()
    yield _waits


def move(model: nn.Module) -> None:
    """Bring a module to the device; `Module.to` would keep the class of its parameters."""
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, old in module._parameters.items():
            if old is not None:
                new = made.setdefault(id(old), nn.Parameter(Elsewhere(old.detach())))
                module._parameters[name] = new
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = Elsewhere(buffer)
        if isinstance(module, nn.LSTM):
            module._init_flat_weights()
