"""The stages of `tests/gpu_check.py` that compare: with a CPU, with float64, with itself."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from s2s.data.store import Corpus
from s2s.nn.cells.cudnn_lstm import KERNELS, is_accurate
from s2s.nn.cells.lstm import LSTMLayer
from s2s.nn.device import Precision, autocast, fp32_of
from s2s.nn.fused.choice import plain
from s2s.nn.inference_model import inference_model
from s2s.nn.model import Seq2Seq
from s2s.recipe.load import load_recipe
from s2s.recipe.model import Dropout
from s2s.recipe.search import BeamSearch, GreedySearch, Search
from s2s.recipe.train import Train
from s2s.search.decoding_batch import DecodingBatch
from s2s.search.loop import search
from s2s.tasks.seq2seq.loss import batch_loss
from s2s.tasks.seq2seq.objective import Seq2SeqObjective
from s2s.training.batch_size_finder import find_batch_size
from s2s.training.state import TrainingState
from s2s.training.trainer import TIME_MULTIPLE
from s2s.training.update import Updater
from tests.gpu_check import ROOT, Check
from tests.gpu_models import (
    LARGE,
    WIRINGS,
    Sizes,
    batches_of,
    corpus_of,
    device_of,
    network,
    sources_of,
    trainer,
)

SEARCHES: dict[str, Search] = {
    "greedy": GreedySearch(kind="greedy", max_ratio=1.2, max_offset=5),
    "beam 5": BeamSearch(kind="beam", width=5, max_ratio=1.2, max_offset=5),
}


@contextmanager
def strict() -> Iterator[None]:
    """A warning is an error, for the time of the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def share(found: Tensor, expected: Tensor) -> float:
    """Norm of the difference, as a share of the expected one's."""
    expected = expected.detach().double().cpu()
    return float((found.detach().double().cpu() - expected).norm() / expected.norm())


def lstm(check: Check) -> None:
    """The type a layer has under autocast; its rounding in every precision, beside float64."""
    device = device_of(check)
    widths = (64, 128, 192, 256, 512, 1024) if check.is_gpu else (32,)
    plain, x = nn.LSTM(64, 64).to(device), torch.randn(7, 4, 64, device=device)
    with torch.autocast(device.type, torch.bfloat16):
        check.record("type of torch.lstm under autocast to bf16", str(plain(x)[0].dtype))
        ours, _ = LSTMLayer(64, 64).to(device)(x)
    check.expect("LSTMLayer under autocast is bf16", ours.dtype == torch.bfloat16)
    kernels = KERNELS.get(device.type)
    for width in widths:
        if kernels is not None:
            for inputs in (width // 2, width):
                good = is_accurate(kernels, device, inputs, width)
                check.expect(f"cuDNN in bf16, {inputs} inputs, {width} units", good)
        _roundings(check, device, width)


def _roundings(check: Check, device: torch.device, width: int) -> None:
    torch.manual_seed(1)
    layer = LSTMLayer(width // 2, width)
    x, seen = torch.randn(24, 64, width // 2), torch.randn(24, 64, width) * 1e-6
    expected = _outputs(copy.deepcopy(layer).double(), x.double(), seen.double())
    layer, x, seen = layer.to(device), x.to(device), seen.to(device)
    most = {"fp32": 1e-5, "tf32": 3e-3, "bf16": 3e-2}
    for precision in ("fp32", "tf32", "bf16") if check.is_gpu else ("fp32", "bf16"):
        with fp32_of(precision, device):
            _outputs(layer, x, seen, precision)  # the first call may tell of the libraries
            with strict():
                found = _outputs(layer, x, seen, precision)
        worst = max(share(*pair) for pair in zip(found, expected, strict=True))
        what = f"LSTM of {width}, outputs and gradients, {precision}"
        check.record(what, worst, most=most[precision])
    if not check.is_gpu:
        check.skip("LSTM in TF32", "a CPU has none")


def _outputs(
    layer: LSTMLayer, x: Tensor, seen: Tensor, precision: Precision = "fp32"
) -> list[Tensor]:
    """Outputs, and gradients so small that fp16 would lose them."""
    with autocast(precision, x.device):
        y, _ = layer(x)
    return [y, *torch.autograd.grad((y.to(seen.dtype) * seen).sum(), list(layer.parameters()))]


def wirings(check: Check) -> None:
    """Loss and gradients of every wiring beside the CPU's in fp32, with s2s's own kernels and
    without."""
    device = device_of(check)
    sizes = Sizes(embeddings=256, encoder=256, decoder=512, vocabulary=2_000, layers=2)
    sizes = sizes if check.is_gpu else Sizes()
    (batch,) = batches_of(corpus_of(sizes, 400), 1_000 if check.is_gpu else 300, 1)
    precisions: tuple[Precision, ...] = ("fp32", "tf32", "bf16") if check.is_gpu else ("bf16",)
    most = {"fp32": 1e-4, "tf32": 5e-3, "bf16": 2e-2}
    for name in WIRINGS:
        model = network(name, sizes)
        expected = _gradients(model, batch, "fp32")
        there = copy.deepcopy(model).to(device)
        for precision in precisions:
            for how, context in (("kernels", nullcontext), ("plain", plain)):
                with context():
                    _gradients(there, batch, precision)
                    with strict():
                        found = _gradients(there, batch, precision)
                for what, one, other in zip(("loss", "gradients"), found, expected, strict=True):
                    told = f"{name}, {what}, {precision}, {how}"
                    check.record(told, share(one, other), most=most[precision])
    if not check.is_gpu:
        check.skip("wirings in fp32 and TF32 beside the CPU's", "it is the CPU")


def _gradients(model: Seq2Seq, batch: Any, precision: Precision) -> tuple[Tensor, Tensor]:
    """Loss, and all gradients in a row."""
    device = model.output.bias.device
    with fp32_of(precision, device):
        with autocast(precision, device):
            loss, _ = batch_loss(model, batch)
        found = torch.autograd.grad(loss.smoothed, list(model.parameters()))
    return loss.smoothed.detach(), torch.cat([gradient.flatten() for gradient in found])


def waits(check: Check) -> None:
    """Updates that wait for nothing; steps of search that wait once."""
    device = device_of(check)
    if not check.is_gpu:
        check.skip("waits", "a CPU computes at once; tests/test_pretend_gpu.py counts them")
        return
    sizes = Sizes()
    batches = batches_of(corpus_of(sizes, 400), 1_000, 3)
    for name in WIRINGS:
        for precision in ("fp32", "bf16"):
            update = trainer(network(name, sizes), device, precision)
            update([batches[0]])
            torch.cuda.set_sync_debug_mode("error")
            try:
                update(batches, watch=True)
                what = ""
            except RuntimeError as error:
                what = f": {str(error).splitlines()[0]}"
            finally:
                torch.cuda.set_sync_debug_mode("default")
            check.expect(f"an update waits for nothing, {name}, {precision}{what}", not what)
    scorer = inference_model(network("luong", sizes).to(device).eval(), "bf16")
    for name, settings in SEARCHES.items():
        found = _waits_of(lambda how=settings: search(scorer, sources_of(sizes, 300), how, "cuda"))
        check.record(f"waits a step of search, {name}", found, most=1.0)


def _waits_of(run: Callable[[], object]) -> float:
    """Waits of a search for each of its steps, whole block or not."""
    steps = 0
    plain = DecodingBatch.step

    def step(block: Any, want_attention: bool) -> Any:
        nonlocal steps
        steps += 1
        return plain(block, want_attention)

    run()
    DecodingBatch.step = step  # type: ignore[method-assign]
    torch.cuda.set_sync_debug_mode("warn")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        run()
    torch.cuda.set_sync_debug_mode("default")
    DecodingBatch.step = plain  # type: ignore[method-assign]
    return sum("synchronizing" in str(one.message) for one in seen) / steps


def repeats(check: Check) -> None:
    """Two equal trainings, one of them resumed, and a gradient that is not finite."""
    device, sizes = device_of(check), Sizes()
    corpus = corpus_of(sizes, 400)
    for precision, wiring in (("fp32", "stacked"), ("bf16", "stacked"), ("bf16", "bahdanau")):
        first, again = (_trained(corpus, device, precision, at, wiring) for at in (None, None))
        resumed = _trained(corpus, device, precision, 2, wiring)
        for what, other in (("again", again), ("resumed", resumed)):
            worst = max(share(other[name], first[name]) for name in first)
            told = f"a training {what}, {wiring}, {precision}"
            due = f"{told}: the same to the last bit"
            check.expect(due, worst == 0.0, is_due=not check.is_gpu)
            check.record(f"{told}: largest share", worst, most=1e-3)
        update = trainer(network("luong", sizes), device, precision)
        update(batches_of(corpus, 500, 1))
        before = {**update.state.weights(), **update.state.training_tensors()}
        hook = update.state.model.output.bias.register_hook(lambda gradient: gradient * torch.nan)
        update(batches_of(corpus, 500, 1))
        hook.remove()
        after = {**update.state.weights(), **update.state.training_tensors()}
        is_same = all(torch.equal(before[name], after[name]) for name in before)
        check.expect(f"a gradient of NaN changes nothing, {precision}", is_same)


def _trained(
    corpus: Corpus,
    device: torch.device,
    precision: Precision,
    at: int | None,
    wiring: str,
) -> dict[str, Tensor]:
    """Weights after four updates with dropout, saved and read again after `at` of them."""
    model = network(wiring, Sizes(), Dropout())
    update = trainer(model, device, precision)
    for place, batch in enumerate(batches_of(corpus, 500, 4)):
        if place == at:
            state = update.state
            saved = (state.weights(), state.training_tensors(), state.training_meta())
            fresh = TrainingState(copy.deepcopy(model).to(device), state.recipe)
            fresh.restore(*saved)
            update = Updater(fresh, Seq2SeqObjective(fresh.recipe), 1, precision, 10_000)
        update([batch])
    return update.state.weights()


def rows(check: Check) -> None:
    """Whether a row's result depends on its place, and search's on a sentence's company."""
    device = device_of(check)
    sizes = LARGE if check.is_gpu else Sizes()
    count, time = (512, 32) if check.is_gpu else (128, 16)
    torch.manual_seed(1)
    order = torch.randperm(count).to(device)
    for kind in (torch.float32, torch.bfloat16):
        for name, differs in _placed(sizes, count, time, order, kind):
            check.record(f"{name}, {str(kind)[6:]}: largest change with a row's place", differs)
    small = Sizes()
    model = network("stacked", small).to(device).eval()
    sources = sources_of(small, 600 if check.is_gpu else 60)
    for precision in ("fp32", "bf16"):
        scorer = inference_model(model, precision)
        for name, settings in SEARCHES.items():
            share_same = _in_company(scorer, sources, settings, str(device))
            what = f"{name}, {precision}: sentences whose output depends on company"
            check.record(what, share_same, most=1e-5 if precision == "fp32" else 1.0)


def _placed(
    sizes: Sizes, count: int, time: int, order: Tensor, kind: torch.dtype
) -> Iterator[tuple[str, float]]:
    """Kernels at search's shapes: how much rows change that are computed in another order."""
    made: dict[str, Any] = {"device": order.device, "dtype": kind}
    x = torch.randn(count, sizes.decoder, **made)
    weight = torch.randn(sizes.vocabulary, sizes.decoder, **made)
    layer = LSTMLayer(sizes.decoder, sizes.decoder).to(order.device)
    memory = torch.randn(count, time, sizes.decoder, **made)

    def recurrence(rows: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast(order.device.type, kind, kind != torch.float32):
            whole, _ = layer(rows.expand(4, *rows.shape))
        return whole[-1]

    kernels: dict[str, Callable[[Tensor], Tensor]] = {
        "linear": lambda rows: F.linear(rows, weight),
        "logsumexp": lambda rows: F.linear(rows, weight).float().logsumexp(-1),
        "LSTM": recurrence,
    }
    for name, kernel in kernels.items():
        yield name, float((kernel(x[order]) - kernel(x)[order]).abs().max())
    plain = torch.bmm(memory, x.unsqueeze(-1))
    moved = torch.bmm(memory[order], x[order].unsqueeze(-1))
    yield "bmm", float((moved - plain[order]).abs().max())


def _in_company(
    scorer: Any, sources: Sequence[Sequence[int]], settings: Search, device: str
) -> float:
    """The share of sentences whose outputs differ, shuffled or with fewer others."""
    together = [best[0] for best in search(scorer, sources, settings, device)]
    backwards = [best[0] for best in search(scorer, sources[::-1], settings, device)][::-1]
    some = [best[0] for best in search(scorer, sources[:20], settings, device)]
    pairs = [*zip(together, backwards, strict=True), *zip(together, some, strict=False)]
    return sum(one.tokens != other.tokens for one, other in pairs) / len(pairs)


def memory(check: Check) -> None:
    """What `batch_tokens: auto` finds, and an update that memory does not suffice for."""
    device = device_of(check)
    recipe = load_recipe(ROOT / "recipes" / "quickstart.yaml", ["train.batch_tokens=auto"])
    sizes = LARGE if check.is_gpu else Sizes()
    corpus = corpus_of(sizes, 40_000 if check.is_gpu else 300)
    update = trainer(network("luong", sizes), device, "bf16", Train(batch_tokens="auto"))
    found = find_batch_size(
        update.state, update.objective, recipe, corpus, "bf16", multiple=TIME_MULTIPLE
    )
    check.record("batch_tokens: auto", found.batch_tokens, "tokens", peak=found.peak)
    if not check.is_gpu:
        check.skip("an update without the memory for it", "a CPU's process would be ended")
        return
    if found.limit is not None:
        check.record("its peak, as a share of the limit", found.peak / found.limit, most=1.0)
    batches = batches_of(corpus, 16_000, 2)
    whole = update(batches[:1])
    most = torch.cuda.max_memory_allocated(device)
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(device).total_memory
    # Twice the tokens that fitted, in little more than their memory.
    torch.cuda.set_per_process_memory_fraction(1.3 * most / total, device)
    (batch,) = batches_of(corpus, 64_000, 1)
    parts = update([batch])
    torch.cuda.set_per_process_memory_fraction(1.0, device)
    check.record("parts of an update that was too large", parts.parts, before=whole.parts)
    check.expect("it was made in parts, and its loss is finite", _is_split(parts))


def _is_split(update: Any) -> bool:
    return update.parts > 1 and bool(torch.isfinite(update.nll))
