"""The stages of `tests/gpu_check.py` that time: the machine, training, layers, search, a recipe."""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, nullcontext
from typing import TYPE_CHECKING, Any

import torch

from tests.gpu_check import ROOT, Check

if TYPE_CHECKING:
    from torch import Tensor

    from s2s.nn.model import Seq2Seq


def seconds_of(run: Callable[[], object], device: torch.device, times: int = 5) -> float:
    """Of one of several runs in a row, after one that is not counted."""
    run()
    _wait(device)
    began = time.perf_counter()
    for _ in range(times):
        run()
    _wait(device)
    return (time.perf_counter() - began) / times


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def machine(check: Check) -> None:
    """Versions, the card, copies and a large product; without s2s."""
    device = torch.device(check.device)
    check.record("Python", platform.python_version())
    check.record("PyTorch", torch.__version__)
    size = 8192 if check.is_gpu else 512
    if check.is_gpu:
        card = torch.cuda.get_device_properties(device)
        check.record("card", card.name, memory=card.total_memory)
        check.record("compute capability", f"{card.major}.{card.minor}")
        check.record("cuDNN", torch.backends.cudnn.version())
        _copies(check, device)
        check.expect("expandable segments can be set", _expands())
    else:
        check.skip("card, copies", "no GPU")
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    seconds = seconds_of(lambda: a @ a, device, 20)
    check.record(f"product of {size} cubed, bf16", 2 * size**3 / seconds / 1e12, "T operations/s")


def _copies(check: Check, device: torch.device) -> None:
    host = torch.empty(1 << 28, dtype=torch.uint8).pin_memory()
    there = host.to(device)
    for what, run in (
        ("to the card", lambda: there.copy_(host, non_blocking=True)),
        ("to the host", lambda: host.copy_(there, non_blocking=True)),
    ):
        check.record(f"copies {what}", host.numel() / seconds_of(run, device) / 1e9, "GB/s")


def _expands() -> bool:
    """In a process that has not used the card: by the code of s2s, if it can be imported."""
    import subprocess

    code = (
        "import torch; from s2s.nn.cuda import expand_segments as e; e(); "
        "torch.zeros(1, device='cuda'); "
        "s = torch.cuda.memory._snapshot()['allocator_settings']['expandable_segments']; "
        "raise SystemExit(not s)"
    )
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def training(check: Check) -> None:
    """Target tokens a second of every wiring, and what takes the time of large batches: with s2s's
    own kernels, then without."""
    from s2s.nn.fused.choice import plain
    from tests.gpu_models import LARGE, WIRINGS, Sizes, batches_of, corpus_of, device_of, network

    device = device_of(check)
    sizes, amounts = (LARGE, (32_768, 4_096, 1_500)) if check.is_gpu else (Sizes(), (300,))
    before, counted = (5, 20) if check.is_gpu else (1, 2)
    corpus = corpus_of(sizes, 60_000 if check.is_gpu else 400)
    for tokens in amounts:
        batches = batches_of(corpus, tokens, before + counted)
        for name in WIRINGS:
            model = network(name, sizes)
            for how, context in (("kernels", nullcontext), ("plain", plain)):
                with context():
                    rate, peak = _rate(model, device, batches, before)
                    what = f"{name}, batches of {tokens} tokens, bf16, {how}"
                    check.record(what, rate, "target tokens/s", peak=peak)
                    if tokens == max(amounts):
                        _profile(check, model, device, batches[:3], f"{name}-{how}")


def _rate(
    model: Seq2Seq, device: torch.device, batches: list[Any], before: int
) -> tuple[float, int]:
    """Target tokens a second but for the first batches, and the peak of memory on a GPU."""
    from s2s.training.memory_usage import PeakMemory
    from tests.gpu_models import trainer

    update, peak = trainer(model, device, "bf16"), PeakMemory(device)
    for batch in batches[:before]:
        update([batch])
    _wait(device)
    began = time.perf_counter()
    tokens = sum(update([batch]).tokens for batch in batches[before:])
    _wait(device)
    return tokens / (time.perf_counter() - began), peak.read()


def _profile(
    check: Check, model: Seq2Seq, device: torch.device, batches: list[Any], name: str
) -> None:
    """The operators that take most of an update, in a file of their own."""
    from torch.profiler import ProfilerActivity, profile

    from tests.gpu_models import trainer

    update = trainer(model, device, "bf16")
    update([batches[0]])
    gpu = [ProfilerActivity.CUDA] if check.is_gpu else []
    with profile(activities=[ProfilerActivity.CPU, *gpu]) as found:
        for batch in batches:
            update([batch])
        _wait(device)
    order = "self_cuda_time_total" if check.is_gpu else "self_cpu_time_total"
    table = found.key_averages().table(sort_by=order, row_limit=40)
    (check.out / f"profile-{name}.txt").write_text(table, encoding="utf-8")


def layers(check: Check) -> None:
    """An LSTM layer forward and backward by cuDNN in every type, and step by step."""
    from s2s.nn.cells.lstm import LSTMLayer
    from tests.gpu_models import device_of

    device = device_of(check)
    width, rows, steps = (1024, (64, 256, 1024), 32) if check.is_gpu else (32, (8,), 4)
    layer = LSTMLayer(width, width).to(device)
    for count in rows:
        x = torch.randn(steps, count, width, device=device)
        for name, run in _ways(check, layer, x):
            spent = seconds_of(lambda run=run: _back(run(), layer), device, 5) / steps
            check.record(f"LSTM of {width}, {count} rows, {name}: a step", spent * 1e6, "us")


def _back(y: Tensor, layer: Any) -> None:
    torch.autograd.grad(y.float().sum(), list(layer.parameters()))


def _ways(check: Check, layer: Any, x: Tensor) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    from s2s.nn.cells.lstm import LoopLSTM
    from s2s.nn.cuda import tf32
    from s2s.nn.fused.choice import plain

    kind = x.device.type

    def of(how: torch.dtype) -> Tensor:
        with torch.autocast(kind, how):
            return layer(x)[0]

    def in_fp16() -> Tensor:
        with torch.autocast(kind, torch.float16):
            return layer.lstm(x)[0]

    def in_tf32() -> Tensor:
        with tf32():
            return layer(x)[0]

    def by_plain_steps() -> Tensor:
        with plain():
            return by_steps()

    def by_steps() -> Tensor:
        with torch.autocast(kind, torch.bfloat16):
            step, outputs = LoopLSTM(layer), []
            state = 2 * (torch.zeros(x.shape[1], x.shape[2], device=x.device),)
            for one in x:
                state = step(one, state)
                outputs.append(state[0])
            return torch.stack(outputs)

    yield "fp32", lambda: layer(x)[0]
    yield "bf16", lambda: of(torch.bfloat16)
    yield "bf16, step by step", by_steps
    yield "bf16, step by step, plain", by_plain_steps
    if check.is_gpu:
        yield "fp16", in_fp16
        yield "TF32, forward", in_tf32


def decoding(check: Check) -> None:
    """Output tokens a second of greedy and beam search, and how far precisions agree."""
    from s2s.nn.inference_model import inference_model
    from s2s.search.loop import search
    from s2s.special import EOS
    from tests.gpu_correct import SEARCHES
    from tests.gpu_models import LARGE, Sizes, device_of, network, sources_of

    device = device_of(check)
    sizes, count = (LARGE, 1_536) if check.is_gpu else (Sizes(), 24)
    model = network("stacked", sizes).to(device).eval()
    with torch.no_grad():
        model.output.bias[EOS] = -1e4  # or random weights end at once
    sources = sources_of(sizes, count)
    for name, settings in SEARCHES.items():
        outputs: dict[str, list[tuple[int, ...]]] = {}
        for precision in ("fp32", "bf16"):
            scorer = inference_model(model, precision)
            search(scorer, sources[: count // 8], settings, str(device))
            began = time.perf_counter()
            found = search(scorer, sources, settings, str(device))
            spent = time.perf_counter() - began
            outputs[precision] = [best[0].tokens for best in found]
            tokens = sum(map(len, outputs[precision]))
            check.record(f"{name}, {precision}", tokens / spent, "tokens/s")
        pairs = list(zip(*outputs.values(), strict=True))
        same = sum(one == other for one, other in pairs) / len(pairs)
        check.record(f"{name}: outputs that fp32 and bf16 have in common", same)


def quickstart(check: Check) -> None:
    """The recipe of the first five minutes: an epoch, saved and gone on with, scored."""
    from s2s import pipeline
    from s2s.recipe.load import load_recipe
    from s2s.run.directory import Run

    small = () if check.is_gpu else ("data.pairs=400", "data.held_out=20", "model.embeddings=16")
    recipe = load_recipe(ROOT / "recipes" / "quickstart.yaml", ["train.epochs=1", *small])
    with chdir(check.out):
        began = time.perf_counter()
        pipeline.prepare(recipe)
        check.record("prepared", time.perf_counter() - began, "s")
        began = time.perf_counter()
        position = pipeline.train(recipe, device=check.device, restart=True)
        check.record("an epoch", time.perf_counter() - began, "s", updates=position.update)
        again = pipeline.train(recipe, device=check.device)
        check.expect("a training that is over stays so", again.update == position.update)
        assert recipe.name is not None
        found = pipeline.evaluate(run=Run.open(pipeline.RUNS / recipe.name), device=check.device)
    bleu = next(one.value for one in found.scores.values if one.name == "bleu")
    check.record("BLEU after an epoch (19.24 on a CPU)", bleu)
    if check.is_gpu:
        check.expect("as on a CPU, to what rounding makes of it", bleu > 15.0)
