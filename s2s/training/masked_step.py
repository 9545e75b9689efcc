"""An optimizer step that a GPU skips by itself, without a wait of the host."""

import torch
from torch import Tensor


def masked_step(optimizer: torch.optim.Optimizer, norm: Tensor, clip_norm: float | None) -> Tensor:
    """Clip the gradients to `clip_norm` and step, unless their `norm` [] is not finite.

    Then weights, moments and the count of steps stay as they are: one such gradient would destroy
    them. float32 [], 1 where the step was left out and 0 where it was taken. The optimizer is a
    fused one, whose kernel divides gradients by `grad_scale` and heeds `found_inf`, as a
    `torch.amp.GradScaler` has it.
    """
    left_out = torch.isfinite(norm).logical_not().to(torch.float32)
    scaler = {"found_inf": left_out}
    if clip_norm is not None:  # as `torch.nn.utils.clip_grads_with_norm_`
        scaler["grad_scale"] = ((norm + 1e-6) / clip_norm).clamp(min=1.0)
    for name, tensor in scaler.items():
        setattr(optimizer, name, tensor)
    try:
        optimizer.step()
    finally:
        for name in scaler:
            delattr(optimizer, name)
    return left_out
