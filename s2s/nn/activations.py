"""Sigmoid and tanh in a decoding step of search, by operations that round an element alike at any
place of a tensor.

The kernel of `torch.sigmoid` rounds a tensor's last elements in another way than the others, so
that a row's result would depend on its place. That of `torch.tanh` does not, but on an x86 CPU it
is MKL's, which takes three times as long as the exponential function on an AMD EPYC. The
exponential function is used where a test finds it to round alike, tanh elsewhere.
"""

from functools import cache

import torch
from torch import Tensor


def sigmoid_of_negative_(x: Tensor) -> Tensor:
    """1 / (1 + exp(x)) = sigmoid(-x), in place: layers negate the weights of their gates."""
    if x.device.type != "cpu":
        return x.neg_().sigmoid_()
    if not exp_rounds_alike():
        return x.mul_(-0.5).tanh_().add_(1.0).mul_(0.5)
    return x.exp_().add_(1.0).reciprocal_()


def tanh(x: Tensor) -> Tensor:
    """By 2 sigmoid(2 x) - 1 on a CPU, to an absolute error of 2^-22."""
    if x.device.type != "cpu" or not exp_rounds_alike():
        return torch.tanh(x)
    return sigmoid_of_negative_(x * -2.0).mul_(2.0).sub_(1.0)


@cache
def exp_rounds_alike() -> bool:
    """Whether the exponential function and the reciprocal give an element the same bits at every
    place, tried at the beginning, in the middle and at the end of tensors."""
    draw = torch.Generator().manual_seed(1)
    x = 8.0 * torch.rand(40_003, generator=draw, dtype=torch.float32) - 4.0
    whole = x.exp().add_(1.0).reciprocal_()
    parts = [(start, start + length) for start in range(1, 18) for length in (1, 7, 16, 31, 200)]
    for start, end in (*parts, (3, 33_000), (1, 40_003)):
        part = x[start:end].clone()
        if not torch.equal(part.exp_().add_(1.0).reciprocal_(), whole[start:end]):
            return False
    return True
