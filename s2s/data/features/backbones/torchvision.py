"""Networks of torchvision; `base.py` has the dimension letters."""

import difflib
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from s2s.data.features.backbones.base import Backbone, load_weights, missing_library, read_weights
from s2s.errors import UsageError

LAST = {
    "alexnet": "features",
    "convnext": "features",
    "densenet": "features",
    "efficientnet": "features",
    "googlenet": "inception5b",
    "inception": "Mixed_7c",
    "maxvit": "blocks.3",
    "mnasnet": "layers",
    "mobilenet": "features",
    "regnet": "trunk_output",
    "resnet": "layer4",
    "resnext": "layer4",
    "shufflenet": "conv5",
    "squeezenet": "features",
    "swin": "permute",
    "vgg": "features",
    "vit": "encoder",
    "wide_resnet": "layer4",
}
"""The part of each family's networks whose output is the last feature map."""

HEADS = ("AuxLogits.", "aux1.", "aux2.", "classifier.", "fc.", "head.", "heads.")
"""The parts after it."""

OLD_DENSENET = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)")
"""Names in torchvision's files of densenet: `norm.1.weight` became `norm1.weight`."""


def open_torchvision(name: str, file: Path | None) -> Backbone:
    """The network `name` of torchvision; raises as `open_backbone` does."""
    try:
        from torchvision import models
    except Exception as error:
        raise missing_library("torchvision", error) from error
    known = models.list_models(module=models)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        advice = f" (did you mean '{near[0]}'?)" if near else ""
        raise UsageError(
            f"--backbone {name}: no network of torchvision{advice}; expected one of "
            f"{', '.join(known[:3])}, ... or, of timm, timm/NAME"
        )
    entries = list(models.get_model_weights(name))
    entry, path = find_weights(name, entries, file)
    # Both would initialize all weights from a truncated normal, which takes half a minute.
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    network = models.get_model(name, weights=None, **options).eval()
    weights = {OLD_DENSENET.sub(r"\1\2", key): value for key, value in read_weights(path).items()}
    load_weights(network, weights, HEADS, str(path))
    family = next(family for family in LAST if name.startswith(family))
    return Backbone(
        name=name,
        origin=str(path),
        prepare=entry.transforms(),
        last_map=_LastMap(network, LAST[family], family),
        network=network,
    )


def find_weights(name: str, entries: list[Any], file: Path | None) -> tuple[Any, Path]:
    """The library's entry for the weights, and their file.

    A user's file has the entry of the same file name, otherwise that of the library's best.
    """
    names = [Path(entry.url).name for entry in entries]
    default = len(entries) - 1  # the library lists its best weights last
    if file is not None:
        return entries[names.index(file.name) if file.name in names else default], file
    folder = Path(torch.hub.get_dir(), "checkpoints")
    for entry, own in reversed(list(zip(entries, names, strict=True))):
        if (folder / own).is_file():
            return entry, folder / own
    raise UsageError(
        f"--backbone {name}: no weights here; expected --weights FILE, or torchvision's own as "
        f"{folder / names[default]} (from {entries[default].url})"
    )


class _LastMap:
    """Runs a network and keeps the output of one of its parts."""

    def __init__(self, network: nn.Module, part: str, family: str) -> None:
        self._network = network
        self._family = family
        self._kept = torch.empty(0)
        network.get_submodule(part).register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self._kept = output

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        self._network(images_BCHW)
        if self._family == "vit":  # the first token is the class token
            return self._kept[:, 1:]
        if self._family == "densenet":  # its last activation is outside of the part
            self._kept = torch.relu(self._kept)
        return self._kept.flatten(2).transpose(1, 2)
