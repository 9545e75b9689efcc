"""The colours of weights, in the terminal and in PNG files."""

import numpy as np

RAMP = (
    (0.0, (68, 1, 84)),
    (0.25, (59, 82, 139)),
    (0.5, (33, 145, 140)),
    (0.75, (94, 201, 98)),
    (1.0, (253, 231, 37)),
)
"""Five points of viridis (van der Walt and Smith 2015), which is perceptually uniform, also for
readers without colour vision and in print."""

Colour = tuple[int, int, int]


def colour(weight: float) -> Colour:
    """The colour of a weight between 0 and 1."""
    places = [place for place, _ in RAMP]
    red, green, blue = (
        round(float(np.interp(weight, places, [point[channel] for _, point in RAMP])))
        for channel in range(3)
    )
    return red, green, blue


def ink(background: Colour) -> Colour:
    """Black or white, the one with more contrast to a background (luma of ITU-R BT.601)."""
    red, green, blue = background
    is_light = 0.299 * red + 0.587 * green + 0.114 * blue > 128
    return (0, 0, 0) if is_light else (255, 255, 255)
