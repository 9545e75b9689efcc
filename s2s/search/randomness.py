"""Counter-based random numbers: functions of their use, not of numbers drawn before.

With a stateful generator a sentence's numbers would depend on the other sentences. Here a number is
a hash of its coordinates (seed, sentence, sample, step), so it is the same in every batch and
order, and computing many costs a few passes over small tensors (after Salmon et al. 2011, "Parallel
random numbers: as easy as 1, 2, 3").
"""

from torch import Tensor


def _signed(value: int) -> int:
    """The int64 of the same 64 bits."""
    return value - (1 << 64) if value >= 1 << 63 else value


# SplitMix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators", fig. 17):
# the golden ratio as an increment, then Stafford's mix 13.
_GOLDEN = _signed(0x9E3779B97F4A7C15)
_FIRST = _signed(0xBF58476D1CE4E5B9)
_SECOND = _signed(0x94D049BB133111EB)
_BITS = (1 << 64) - 1


def uniforms(seed: int, *coordinates: Tensor) -> Tensor:
    """float64 in [0, 1), one for each tuple of coordinates (int64, broadcast together)."""
    # The seed's part is computed on the host, as an argument of the kernels.
    first, *others = coordinates
    hashed = _mixed((first ^ _mixed_number(seed + _GOLDEN)) + _GOLDEN)
    for coordinate in others:
        hashed = _mixed((hashed ^ coordinate) + _GOLDEN)
    return _shifted(hashed, 11).double() * 2.0**-53


def _mixed(x: Tensor) -> Tensor:
    """Every bit of the result depends on every bit of x; products wrap around."""
    x = (x ^ _shifted(x, 30)) * _FIRST
    x = (x ^ _shifted(x, 27)) * _SECOND
    return x ^ _shifted(x, 31)


def _mixed_number(value: int) -> int:
    """`_mixed` of the last 64 bits of a number."""
    x = value & _BITS
    x = (x ^ x >> 30) * _FIRST & _BITS
    x = (x ^ x >> 27) * _SECOND & _BITS
    return _signed(x ^ x >> 31)


def _shifted(x: Tensor, bits: int) -> Tensor:
    """Logical shift to the right: torch's own copies the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)
