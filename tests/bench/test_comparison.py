"""`s2s bench --compare`: recipes as other toolkits' options, refusals, equal work, turns."""

import ast
import dataclasses
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from s2s.bench import toolkit_process
from s2s.bench.comparison import Comparison, Peer, equal_batches, equal_sources
from s2s.bench.measure import Amounts, Plan, measure
from s2s.bench.report import Report, read_report
from s2s.bench.startup import Program
from s2s.bench.tables import markdown
from s2s.bench.toolkit_script import NEVER, marian_version, read_marian_log, silence_end
from s2s.bench.toolkits import OPENNMT, options_of
from s2s.bench.workload import random_workload
from s2s.errors import S2sError, UsageError
from s2s_cli.main import run as command_line
from tests.bench.compared_recipes import recipe_of

CPU = torch.device("cpu")
PROGRAM = Program(start=(sys.executable, "-S", "-c", "pass"), commands=())


def test_batches_have_equally_many_pairs_of_similar_length(tmp_path: Path) -> None:
    workload = random_workload(recipe_of("opennmt", tmp_path, "train.batch_tokens=1500"), CPU)
    corpus = workload.corpus
    batches = equal_batches(workload, 9)
    assert len(batches) == 9
    (rows,) = {len(pairs) for pairs in batches}
    assert rows % 16 == 0 and 48 <= rows < 1500 / 15
    assert len({*np.concatenate(batches).tolist()}) == 9 * rows
    targets = [corpus.target_lengths[pairs] + 1 for pairs in batches]
    for lengths in targets:
        assert lengths.sum() > 0.6 * rows * lengths.max()  # a random batch has 0.4
    mean = np.concatenate(targets).mean()
    assert mean == pytest.approx(corpus.target_lengths.mean() + 1, rel=0.1)


def test_a_small_corpus_has_fewer_batches(tmp_path: Path) -> None:
    workload = random_workload(recipe_of("opennmt", tmp_path, "train.batch_tokens=100000"), CPU)
    batches = equal_batches(workload, 10_000)
    assert len(np.concatenate(batches)) <= len(workload.corpus)
    assert len({len(pairs) for pairs in batches}) == 1


def test_sources_have_one_length(tmp_path: Path) -> None:
    workload = random_workload(recipe_of("opennmt", tmp_path), CPU)
    found = equal_sources(workload, 30)
    assert len(found) == 30
    assert {len(source) for source in found} == {
        round(float(workload.corpus.source_lengths.mean()))
    }
    assert min(map(min, found)) >= 4
    assert len({tuple(source) for source in found}) == 30


def fake(
    monkeypatch: pytest.MonkeyPatch, folder: Path, **behaviour: object
) -> tuple[Peer, Callable[[str], str]]:
    """A peer without work in `folder`, and a function that reads its files."""
    script = folder / "fake_toolkit.py"
    shutil.copy(Path(__file__).with_name("fake_toolkit.py"), script)
    (folder / "behaviour.json").write_text(json.dumps(behaviour))
    monkeypatch.setattr(toolkit_process, "SCRIPT", script)
    peer = Peer(name="opennmt", python=sys.executable)
    return peer, lambda name: (folder / name).read_text()


def plan(peer: Peer, **changes: Any) -> Plan:
    settings = {"only": (), "repeats": 3, "device": "cpu", "threads": 1, "compare": peer, **changes}
    return Plan(amounts=Amounts(compared=(2, 6)), program=PROGRAM, **settings)


def silent(stage: str, done: int, total: int | None) -> None:
    """No progress."""


@pytest.fixture
def report(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Report, Callable[[str], str]]:
    peer, read = fake(monkeypatch, tmp_path)
    return measure(recipe_of("opennmt", tmp_path), plan(peer), silent), read


def test_both_take_turns_and_their_ratio_is_reported(
    report: tuple[Report, Callable[[str], str]],
) -> None:
    found, read = report
    assert read("requests.txt").split() == ["training", "greedy", "beam"] * 4
    compared = found.comparison
    assert found.is_complete and compared is not None
    assert (compared.parameters, compared.versions) == (4321, {"Fake": "7.1"})
    assert [one.name for one in compared.speeds] == ["training", "greedy", "beam 5"]
    units = (compared.speeds[0].tokens, 6, 6)
    for one, amount, seconds in zip(compared.speeds, units, (2.0, 0.5, 4.0), strict=True):
        assert one.own.repeats == one.other.repeats == one.ratio.repeats == 3
        assert one.other.low == one.other.high == pytest.approx(amount / seconds)
        for part in ("median", "low", "high"):
            ratio = getattr(one.own, part) / one.other.median
            assert getattr(one.ratio, part) == pytest.approx(ratio)
    assert (found.training, found.matmul, found.decoding) == (None, [], [])


def test_the_other_toolkit_gets_what_s2s_works_on(
    report: tuple[Report, Callable[[str], str]], tmp_path: Path
) -> None:
    found, read = report
    job, compared = json.loads(read("job.json")), found.comparison
    assert compared is not None
    assert (job["toolkit"], job["threads"], job["seed"]) == ("opennmt", 1, 3)
    assert job["vocabularies"] == [50, 90] and not job["shared"]
    assert job["options"] == compared.options == options_of(OPENNMT, recipe_of("opennmt", tmp_path))
    pairs = [pair for batch in job["batches"] for pair in batch]
    assert len(job["batches"]) == compared.updates == 2
    assert sum(len(target) + 1 for _, target in pairs) == compared.speeds[0].tokens
    assert all(4 <= word < 50 for source, _ in pairs for word in source)
    assert all(4 <= word < 90 for _, target in pairs for word in target)
    assert job["longest"] == 1 + max(len(side) for pair in pairs for side in pair)
    assert len(job["sources"]) == compared.sentences == 6
    assert {len(source) + 1 for source in job["sources"]} == {job["length"]}
    assert compared.speeds[1].tokens == compared.speeds[2].tokens == 6 * job["length"]


def test_json_and_markdown_have_the_comparison(
    report: tuple[Report, Callable[[str], str]], tmp_path: Path
) -> None:
    found, _ = report
    path = tmp_path / "bench.json"
    path.write_text(found.to_json())
    assert read_report(path) == found
    compared = found.comparison
    assert compared is not None
    text, ratio = markdown(found), compared.speeds[0].ratio
    assert "**Comparison with OpenNMT-py, fp32, in turns:" in text
    assert f"| {ratio.median:.2f} ({ratio.low:.2f}–{ratio.high:.2f}) |" in text
    assert f"| parameters | {found.sizes.parameters:,} | 4,321 |" in text
    assert "Fake 7.1" in text


@pytest.mark.parametrize(
    ("behaviour", "complaint"),
    [
        (
            {"first": {"missing": "onmt"}},
            r"--compare opennmt: .* has no module 'onmt'; install OpenNMT-py in an environment of "
            r"its own, 'python3 -m venv opennmt && opennmt/bin/pip install OpenNMT-py==3\.5\.1'",
        ),
        ({"first": {"error": "KeyError: 'x'"}}, r"--compare opennmt: .*: KeyError: 'x'; its last"),
        ({"crash": "greedy"}, "it has ended; its last words: out of paper"),
        (
            {"tokens": {"beam": 1}},
            r"--compare opennmt: beam: expected \d+ tokens, found 1 by OpenNMT-py",
        ),
    ],
)
def test_failures_of_the_other_toolkit_are_one_line(
    behaviour: dict[str, object],
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    peer, _ = fake(monkeypatch, tmp_path, **behaviour)
    with pytest.raises(S2sError, match=complaint) as caught:
        measure(recipe_of("opennmt", tmp_path), plan(peer), silent)
    assert "\n" not in str(caught.value)


def test_the_other_process_ends_with_the_comparison(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    peer, _ = fake(monkeypatch, tmp_path)
    workload = random_workload(recipe_of("opennmt", tmp_path), CPU)
    comparison = Comparison(workload, peer, (1, 1), tmp_path)
    assert comparison.process.process.poll() is None
    comparison.close()
    assert comparison.process.process.poll() is not None


def test_marian_trains_with_one_thread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake(monkeypatch, tmp_path)
    peer = Peer(name="marian", python=sys.executable)
    before = torch.get_num_threads()
    with pytest.raises(UsageError, match="--compare marian: expected --threads 1, found 2"):
        measure(recipe_of("marian", tmp_path), plan(peer, threads=2), silent)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("arguments", "complaints"),
    [
        (["--compare", "fairseq"], ["--compare: expected one of opennmt, marian, found 'fairseq'"]),
        (
            ["--compare", "opennmt=nowhere/python"],
            ["--compare opennmt: expected a Python, found nowhere/python (No such file or"],
        ),
        (
            ["--compare", "marian"],
            [
                "--compare marian: model.encoder.layers: expected 1,",
                "--compare marian: model.decoder.kind: expected conditional,",
            ],
        ),
    ],
)
def test_mistakes_on_the_command_line(
    arguments: list[str],
    complaints: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe_of("opennmt", tmp_path)
    assert command_line(["bench", "--threads", "1", "--device", "cpu", *arguments]) == 2
    output, errors = capsys.readouterr()
    assert not output
    for complaint in complaints:
        assert complaint in errors


SCRIPT = Path(toolkit_process.__file__).with_name("toolkit_script.py")


@pytest.mark.parametrize(("toolkit", "module"), [("opennmt", "onmt"), ("marian", "_pymarian")])
def test_the_script_says_what_is_missing(toolkit: str, module: str, tmp_path: Path) -> None:
    """In a Python without any package."""
    path = tmp_path / "job.json"
    path.write_text(json.dumps({"toolkit": toolkit}))
    done = subprocess.run(
        [sys.executable, "-S", str(SCRIPT), str(path)], capture_output=True, check=True
    )
    assert json.loads(done.stdout) == {"missing": module}


def test_the_script_needs_neither_s2s_nor_its_python() -> None:
    """OpenNMT-py 3.5.1 runs in Python 3.9."""
    tree = ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 9))
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module]
        )
    }
    packages = {str(name).partition(".")[0] for name in imported}
    assert packages - sys.stdlib_module_names == {"onmt", "torch", "pyonmttok", "_pymarian"}


MARIAN_LOG = """\
[2026-11-29 14:13:42] Model is being created with Marian v1.12.42 b7be0e964 2025-05-24 22:34:42
[2026-11-29 14:13:42] Ep. 1 : Up. 4 : Sen. 64 : Cost 4.61703539 * 800 @ 224 after 800 : Time 0.22s \
: 3589.26 words/s : gNorm 0.2315
[2026-11-29 14:13:42] Starting data epoch 2 in logical epoch 2
[2026-11-29 14:13:42] Ep. 2 : Up. 8 : Sen. 64 : Cost 4.61528540 * 800 @ 224 after 1,600 : Time \
0.12s : 6476.23 words/s : gNorm 0.2336
"""
"""Of a training of four batches, twice, by Marian 1.12.42."""


def test_marians_log_is_read() -> None:
    assert read_marian_log(MARIAN_LOG, 4) == (0.12, 800)
    assert marian_version(MARIAN_LOG) == "v1.12.42 b7be0e964"
    assert marian_version("") == "unknown"
    with pytest.raises(RuntimeError, match="expected updates 3 and 6 in the log"):
        read_marian_log(MARIAN_LOG, 3)


def test_marians_end_of_sentence_is_silenced(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    arrays = {
        "decoder_ff_logit_l2_b": np.arange(5, dtype=np.float32)[None],
        "encoder_bi_U": np.ones((3, 7), dtype=np.float32),
        "special:model.yml": np.frombuffer(b"dim-emb: 12\0", dtype=np.int8),
    }
    np.savez(path, **arrays)
    assert silence_end(path) == 5 + 21
    found = np.load(path)
    assert {*found} == {*arrays}
    changed = arrays["decoder_ff_logit_l2_b"].copy()
    changed[0, 0] = NEVER
    for name, values in {**arrays, "decoder_ff_logit_l2_b": changed}.items():
        assert (found[name] == values).all()
    with zipfile.ZipFile(path) as archive:
        kinds = {member.compress_type for member in archive.infolist()}
    assert kinds == {zipfile.ZIP_STORED}  # Marian reads no other


def test_runs_are_compared_by_their_sizes_and_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from s2s import pipeline
    from s2s.run.directory import Run

    recipe = recipe_of("opennmt", tmp_path, "train.epochs=1", "train.precision=fp32")
    pipeline.train(dataclasses.replace(recipe, name="tiny"), runs=tmp_path, device="cpu")
    peer, read = fake(monkeypatch, tmp_path)
    found = measure(Run(tmp_path / "tiny"), plan(peer, repeats=1), silent)
    assert found.comparison is not None and found.is_complete
    assert len(found.comparison.speeds) == 3
    job = json.loads(read("job.json"))
    vocabularies = [found.sizes.source_vocabulary, found.sizes.target_vocabulary]
    assert job["vocabularies"] == vocabularies
