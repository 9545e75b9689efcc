"""`s2s features`: computes image features with a pretrained network."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from .options.common import Device, examples, note

EPILOG = examples(
    "s2s features images/ --backbone resnet50 --output features.npy",
    "s2s features images/ --backbone resnet50 --grid --output grids.npy",
    "s2s features images/ --backbone timm/convnext_tiny --weights my.safetensors -o f.safetensors",
    "find images -name '*.jpg' | s2s features - --backbone vgg19 --grid -o grids.npy",
)


def features(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGES...", help="Files, folders, or - to read their names from stdin."
        ),
    ],
    *,
    backbone: Annotated[
        str,
        typer.Option(metavar="NAME", help="Network: a name of torchvision, or timm/NAME."),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="Output file, .npy or .safetensors."),
    ],
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="State dict, .safetensors or .pth; by default the library's weights.",
        ),
    ] = None,
    grid: Annotated[
        bool,
        typer.Option(
            "--grid", help="Write all regions of the last feature map instead of their mean."
        ),
    ] = False,
    ids: Annotated[
        Literal["name", "stem", "path"],
        typer.Option(help="Ids of images: file name, file name without suffix, or path."),
    ] = "name",
    precision: Annotated[
        Literal["float16", "float32"], typer.Option(help="Precision of the output.")
    ] = "float16",
    readers: Annotated[
        int, typer.Option(min=1, metavar="N", help="Threads that read and scale images.")
    ] = 2,
    device: Device = "auto",
) -> None:
    """Compute image features with a pretrained network.

    Needs pip install pillow timm torchvision.
    A .npy file is one array, with the ids of its rows in an .ids file beside it; a .safetensors
    file has a tensor for every id. Weights come from --weights or from the library's cache; nothing
    is downloaded.
    """
    from s2s.data.features.images import find_images
    from s2s.pipeline.image_features import Extraction, extract_features
    from s2s.pipeline.progress import progress

    listed = [name for given in images for name in (_stdin() if given == "-" else [given])]
    found = find_images(listed, ids)
    num_skipped = 0

    def skipped(line: str) -> None:
        nonlocal num_skipped
        num_skipped += 1
        note(line)

    with progress() as show:
        made = extract_features(
            found,
            (backbone, weights),
            output,
            Extraction(is_grid=grid, precision=precision, readers=readers),
            device=device,
            skipped=skipped,
            progress=show,
        )
    left_out = f"; {num_skipped:,} could not be read" if num_skipped else ""
    note(
        f"{output}: {made.rows:,} of {len(found):,} images, {precision} {list(made.shape)} each, "
        f"{made.backbone.name} with {made.backbone.origin}{left_out}"
    )


def _stdin() -> list[str]:
    """File names, a line each, as their bytes are; line ends are those of any system."""
    from s2s.text.lines import one_line

    lines = sys.stdin.buffer.read().decode(sys.getfilesystemencoding(), "surrogateescape")
    return [name for line in lines.split("\n") if (name := one_line(line))]
