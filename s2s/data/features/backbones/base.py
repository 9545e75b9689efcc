"""Image backbones of torchvision and timm, which extract features.

B: images, C: channels, H, W: height and width, R: regions, D: width.

Weights come from a file of the user, or from the folder to which the library downloads them;
s2s downloads nothing.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from s2s.errors import DataError, UsageError
from s2s.text.lines import no_such_file

if TYPE_CHECKING:
    from PIL.Image import Image


TIMM = "timm/"
"""The prefix of the names of timm's networks; others are torchvision's."""


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A network with its weights, in evaluation mode."""

    name: str
    origin: str
    """The file of its weights."""
    prepare: Callable[["Image"], Tensor]
    """Resizes, crops and normalizes an image to [3, H, W], as in training of the network."""
    last_map: Callable[[Tensor], Tensor]
    """The last feature map of images [B, 3, H, W], as [B, R, D]."""
    network: nn.Module

    def grids(self, images_BCHW: Tensor) -> Tensor:
        """The regions of each image, row by row from the top left: [B, R, D]."""
        with torch.inference_mode():
            return self.last_map(images_BCHW)


def missing_library(library: str, error: Exception) -> UsageError:
    """The error for a library that is not installed, or incompatible with the installed torch."""
    if isinstance(error, ModuleNotFoundError):
        return UsageError(f"image networks need {library}: pip install pillow timm torchvision")
    reason = str(error).partition("\n")[0]
    return UsageError(
        f"{library} does not fit torch {torch.__version__} ({reason}); install both from one index"
    )


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file, or of a state dict saved by `torch.save`.

    Code in such a file is never executed. Raises DataError.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise no_such_file(path) from error
    except SafetensorError as error:
        raise DataError(f"{path}: not a safetensors file ({error})") from error
    except Exception as error:  # unpickling fails in many ways
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"{path}: expected a .safetensors file or a state dict saved by torch ({reason})"
        ) from error
    for key in ("state_dict", "model"):  # as training scripts save them
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(map(torch.is_tensor, content.values())):
        raise DataError(f"{path}: expected a state dict, names and their tensors")
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


def load_weights(
    network: nn.Module, weights: dict[str, Tensor], unused: tuple[str, ...], place: str
) -> None:
    """Load the weights, except for parts whose names begin with `unused`: features ignore them.

    Raises DataError for a tensor that is missing, unknown or of another shape.
    """

    def is_used(name: str) -> bool:
        return not name.startswith(unused)

    own: Any = network.state_dict()
    wanted = {name: tensor for name, tensor in own.items() if is_used(name)}
    given: Any = OrderedDict((name, tensor) for name, tensor in weights.items() if is_used(name))
    given._metadata = own._metadata  # versions of modules, which some modules read
    # Older files lack the counters of batches.
    missing = [n for n in wanted if n not in given and not n.endswith("num_batches_tracked")]
    if missing:
        raise DataError(
            f"{place}: not the weights of this network; {len(missing)} of {len(wanted)} tensors "
            f"are missing, first '{missing[0]}'"
        )
    for name, tensor in given.items():
        if name not in wanted:
            raise DataError(f"{place}: not the weights of this network, which has no '{name}'")
        if tensor.shape != wanted[name].shape:
            raise DataError(
                f"{place}: '{name}' is {list(tensor.shape)}, the network's is "
                f"{list(wanted[name].shape)}"
            )
    network.load_state_dict(given, strict=False)
