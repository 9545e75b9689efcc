"""Networks of timm; `base.py` has the dimension letters."""

import difflib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s2s.data.features.backbones.base import (
    TIMM,
    Backbone,
    load_weights,
    missing_library,
    read_weights,
)
from s2s.errors import UsageError


def open_timm(name: str, file: Path | None) -> Backbone:
    """The network `name` of timm; raises as `open_backbone` does."""
    try:
        import timm
        from timm.data import create_transform, resolve_data_config
    except Exception as error:
        raise missing_library("timm", error) from error
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=1)
        advice = f" (did you mean '{TIMM}{near[0]}'?)" if near else ""
        raise UsageError(f"--backbone {TIMM}{name}: no network of timm{advice}")
    try:
        network = timm.create_model(name, pretrained=False, num_classes=0).eval()
    except RuntimeError as error:  # the network has no weights of that tag
        raise UsageError(f"--backbone {TIMM}{name}: {error}") from error
    path = file or _cached(name, network.pretrained_cfg)
    classifier = network.pretrained_cfg.get("classifier") or ()
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    load_weights(network, read_weights(path), tuple(f"{head}." for head in heads), str(path))
    return Backbone(
        name=f"{TIMM}{name}",
        origin=str(path),
        prepare=create_transform(**resolve_data_config({}, model=network), is_training=False),
        last_map=_LastMap(network, f"{TIMM}{name}"),
        network=network,
    )


def _cached(name: str, settings: dict[str, Any]) -> Path:
    """The file of weights that timm would use, in the cache of the Hugging Face Hub."""
    from huggingface_hub import try_to_load_from_cache

    hub, _, revision = (settings.get("hf_hub_id") or "").partition("@")
    own = settings.get("hf_hub_filename")
    for file in (own,) if own else ("model.safetensors", "pytorch_model.bin"):
        found = try_to_load_from_cache(hub, file, revision=revision or None) if hub else None
        if isinstance(found, str):
            return Path(found)
    where = f", or {hub} in the cache of the Hugging Face hub" if hub else ""
    raise UsageError(f"--backbone {TIMM}{name}: no weights here; expected --weights FILE{where}")


class _LastMap:
    """Returns the last feature map of any kind of network in one shape."""

    def __init__(self, network: nn.Module, name: str) -> None:
        self._network: Any = network
        self._name = name
        # Only networks of tokens have it; timm reads it in the same way.
        self._num_prefix = getattr(network, "num_prefix_tokens", 0)

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        found = self._network.forward_features(images_BCHW)
        width = self._network.num_features
        if torch.is_tensor(found):
            if found.ndim == 3 and found.shape[-1] == width:
                return found[:, self._num_prefix :]
            if found.ndim == 4 and found.shape[1] == width:
                return found.flatten(2).transpose(1, 2)
            if found.ndim == 4 and found.shape[-1] == width:
                return found.flatten(1, 2)
        raise UsageError(f"--backbone {self._name}: has no single last feature map; use another")
