"""`s2s doctor`: checks what s2s guarantees on this machine."""

import platform
from typing import TYPE_CHECKING, Annotated

import typer

from .options.common import Device, examples, say

if TYPE_CHECKING:
    import torch

    from s2s.bench.doctor import Finding

EPILOG = examples("s2s doctor", "ONEDNN_MAX_CPU_ISA=AVX2 s2s doctor", "s2s doctor --device cuda")


def doctor(
    device: Device = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Threads of PyTorch; by default 1.")
    ] = None,
) -> None:
    """Check this machine: outputs must not depend on the batch.

    Random models translate random sentences together, in another order and alone; tokens and scores
    must be equal bit for bit, in every precision. Speeds of matrix products and the choices of
    precision auto are printed too. Takes less than half a minute; the exit status is 1 if a check
    fails.
    """
    import torch

    from s2s.bench.doctor import check_contract, choices
    from s2s.errors import S2sError
    from s2s.nn.device import choose_device
    from s2s.pipeline.progress import progress

    chosen = choose_device(device)
    torch.set_num_threads(threads or 1)
    _print_machine(chosen)
    auto = choices(chosen)
    typer.echo(f"auto        {auto.training} in training, {auto.search} in search")
    typer.echo("")
    typer.echo(f"{'precision':<12}{'products':<16}output independent of the batch")
    broken = []
    with progress() as callback:
        for finding in check_contract(chosen, callback):
            typer.echo(_row(finding))
            broken += [f"{finding.precision} {one}" for one in finding.broken]
    if broken:
        raise S2sError(
            f"on this machine outputs depend on the batch ({'; '.join(broken)}): use a precision "
            "that has yes above, and please report what this command prints"
        )


def _print_machine(device: "torch.device") -> None:
    """Print machine and versions, for bug reports."""
    import torch

    import s2s
    from s2s.bench.doctor import limits
    from s2s.bench.machine import describe_machine

    found = describe_machine(device)
    name = found.gpu or found.processor
    say(f"machine     {name}, {found.cores} cores, {found.system}")
    versions = f"s2s {s2s.__version__}, torch {torch.__version__}"
    typer.echo(f"versions    {versions}, Python {platform.python_version()}")
    typer.echo(f"device      {device}, {found.threads} threads")
    said = " ".join(f"{name}={value}" for name, value in limits().items())
    say(f"environment {said or 'no limits of kernels'}")


def _row(finding: "Finding") -> str:
    speed = finding.operations_per_second
    products = "" if speed is None else f"{speed / 1e9:,.0f} GFLOP/s"
    if finding.refusal is not None:
        said = f"not used: {finding.refusal}"
    elif finding.broken:
        said = f"no: {'; '.join(finding.broken)}"
    else:
        said = "yes"
    return f"{finding.precision:<12}{products:<16}{said}"
