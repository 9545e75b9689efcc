"""Opens a network of torchvision or timm by its name."""

from pathlib import Path

from s2s.data.features.backbones.base import TIMM, Backbone


def open_backbone(name: str, weights: Path | None) -> Backbone:
    """The network `name` of torchvision, or of timm if it begins with `timm/`.

    Raises UsageError if the library, the network or its weights are missing, DataError for weights
    of another network.
    """
    if name.startswith(TIMM):
        from s2s.data.features.backbones.timm import open_timm

        return open_timm(name.removeprefix(TIMM), weights)
    from s2s.data.features.backbones.torchvision import open_torchvision

    return open_torchvision(name, weights)
