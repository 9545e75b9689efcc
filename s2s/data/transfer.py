"""From the host to where a model computes."""

import torch
from torch import Tensor


def send(tensor: Tensor, device: str | torch.device) -> Tensor:
    """A host's tensor on `device`, or itself where that is the CPU.

    It goes by way of pinned memory: of any other the copy begins only when the device has done all
    it was asked for, and the host waits meanwhile. PyTorch keeps such memory and reuses it.
    """
    if torch.device(device).type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)
