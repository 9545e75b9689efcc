"""Opens the network of an image library by its name."""

from pathlib import Path

from s2s.data.features.backbones.base import TIMM, Backbone


def open_backbone(name: str, weights: Path | None) -> Backbone:
    """The network `name` of torchvision, or of timm where it begins with `timm/`.

    Raises UsageError where the library or the network is not there, or has no weights here;
    DataError for a file of weights that are not the network's.
    """
    if name.startswith(TIMM):
        from s2s.data.features.backbones.timm import open_timm

        return open_timm(name.removeprefix(TIMM), weights)
    from s2s.data.features.backbones.torchvision import open_torchvision

    return open_torchvision(name, weights)
