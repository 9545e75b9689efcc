"""Sigmoid and tanh in a decoding step of search, by operations that round an element alike at any
place of a tensor.

The kernel of `torch.sigmoid` rounds a tensor's last elements in another way than the others, so
that a row's result would depend on its place. That of `torch.tanh` does not, but on an x86 CPU it
is MKL's, which takes three times as long as the exponential function on an AMD EPYC.
"""

import torch
from torch import Tensor


def sigmoid_of_negative_(x: Tensor) -> Tensor:
    """1 / (1 + exp(x)) = sigmoid(-x), in place: layers negate the weights of their gates."""
    if x.device.type != "cpu":
        return x.neg_().sigmoid_()
    return x.exp_().add_(1.0).reciprocal_()


def tanh(x: Tensor) -> Tensor:
    """By 2 sigmoid(2 x) - 1 on a CPU, to an absolute error of 2^-22."""
    if x.device.type != "cpu":
        return torch.tanh(x)
    return sigmoid_of_negative_(x * -2.0).mul_(2.0).sub_(1.0)
