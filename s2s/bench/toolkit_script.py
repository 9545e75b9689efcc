"""Runs another toolkit in its own Python, at the request of `s2s bench --compare`.

    PYTHON toolkit_script.py JOB.json

This file is a program: the Python that runs it has the toolkit and need not have s2s, of which it
imports nothing. The job is the JSON of `s2s.bench.toolkit_process.Job`. Each request is a line on
stdin: `training`, `greedy` or `beam`. Each answer is a line of JSON on stdout, the first one as
soon as the models are built: `versions` and `parameters`; after that `seconds` and `tokens`, the
target tokens trained on or the predictions of all outputs. A toolkit that cannot be used answers
`missing` or `error`. Whatever the toolkit itself prints goes to stderr.
"""

from __future__ import annotations

import json
import os
import platform
import re
import struct
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    del sys.path[0]  # the folder of this file, whose modules could hide those of the toolkit

NEVER = -100.0
"""Bias of the end of sentence in search: outputs end at the longest length."""

WARMUP_OPENNMT = 2
"""Batches that OpenNMT-py trains on before it says that it is ready."""


class OpenNMT:
    """OpenNMT-py: its model, trainer and translator, fed with token ids.

    Its trainer reads batches that are built from token ids by its own `tensorify`, within the
    measured time; reading and splitting text is not.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        import onmt
        import torch
        from onmt import model_builder, opts, trainer
        from onmt.constants import DefaultTokens, ModelTask
        from onmt.utils.optimizers import Optimizer
        from onmt.utils.parse import ArgumentParser

        torch.set_num_threads(job["threads"])
        torch.manual_seed(job["seed"])
        self.job = job
        self.versions = {"OpenNMT-py": onmt.__version__, "torch": torch.__version__}
        parser = ArgumentParser()
        opts.train_opts(parser)
        files = ["-config", str(_write_opennmt_config(job))]
        opt, _ = parser.parse_known_args([*files, *job["options"]])
        ArgumentParser.validate_prepare_opts(opt)
        ArgumentParser.validate_train_opts(opt)
        ArgumentParser.update_model_opts(opt)
        ArgumentParser.validate_model_opts(opt)
        specials = [getattr(DefaultTokens, name) for name in ("UNK", "PAD", "BOS", "EOS")]
        self.vocabs = _opennmt_vocabularies(job, specials)
        self.vocabs["data_task"] = ModelTask.SEQ2SEQ
        self.vocabs["decoder_start_token"] = DefaultTokens.BOS
        self.model = model_builder.build_model(opt, opt, self.vocabs, None, -1)
        self.parameters = sum(p.numel() for p in self.model.parameters())
        self.optimizer = Optimizer.from_opt(self.model, opt)
        self.trainer = trainer.build_trainer(opt, -1, self.model, self.vocabs, self.optimizer)
        self.opt = opt
        self.end = self.vocabs["tgt"][DefaultTokens.EOS]
        self.pairs = [[self._example(*pair) for pair in batch] for batch in job["batches"]]
        self.sources = [self._example(source, None) for source in job["sources"]]
        self.translators = {
            "greedy": self._translator(1),
            "beam": self._translator(job["beam"]),
        }
        self._train(self.pairs[:WARMUP_OPENNMT])

    def _example(self, source: list[int], target: list[int] | None) -> dict[str, Any]:
        """A numbered example as OpenNMT-py's `numericalize` returns it."""
        from onmt.inputters.text_utils import numericalize

        example = {
            "src": {"src": _words(source)},
            "tgt": None if target is None else {"tgt": _words(target)},
            "src_original": None,
            "tgt_original": None,
            "cid": "job",
            "cid_line_number": 0,
        }
        found: dict[str, Any] = numericalize(self.vocabs, example)
        return found

    def _tensors(self, examples: list[dict[str, Any]]) -> Any:
        import torch
        from onmt.inputters.text_utils import tensorify

        numbered = [(example, index) for index, example in enumerate(examples)]
        return tensorify(self.vocabs, numbered, torch.device("cpu"))

    def _translator(self, beam: int) -> Any:
        from onmt import opts
        from onmt.translate import GNMTGlobalScorer, Translator
        from onmt.utils.parse import ArgumentParser

        parser = ArgumentParser()
        opts.translate_opts(parser)
        length = str(self.job["length"])
        options = ["-model", "-", "-src", "-", "-beam_size", str(beam), "-max_length", length]
        opt, _ = parser.parse_known_args([*options, "-max_length_ratio", "0"])
        scorer = GNMTGlobalScorer.from_opt(opt)
        return Translator.from_opt(
            self.model, self.vocabs, opt, self.opt, global_scorer=scorer, report_score=False
        )

    def _train(self, batches: list[list[dict[str, Any]]]) -> int:
        """An update on each batch; returns the target tokens that the trainer counted."""
        stream = ((self._tensors(examples), 0) for examples in batches)
        steps = self.optimizer.training_step - 1 + len(batches)
        stats = self.trainer.train(stream, steps, save_checkpoint_steps=0)
        return int(stats.n_words)

    def training(self) -> tuple[float, int]:
        """Seconds and target tokens of an update on each batch."""
        self.model.train()
        began = time.perf_counter()
        tokens = self._train(self.pairs)
        return time.perf_counter() - began, tokens

    def search(self, name: str) -> tuple[float, int]:
        """Seconds and predictions of the best output of every source."""
        import torch

        rows = self.job["rows"]
        bias, translator = self.model.generator.bias, self.translators[name]
        self.model.eval()
        with torch.no_grad():
            before = float(bias[self.end])
            bias[self.end] = NEVER
        outputs = []
        began = time.perf_counter()
        for first in range(0, len(self.sources), rows):
            batch = self._tensors(self.sources[first : first + rows])
            outputs += translator.translate_batch(batch, attn_debug=False)["predictions"]
        seconds = time.perf_counter() - began
        with torch.no_grad():
            bias[self.end] = before
        return seconds, sum(len(best[0]) for best in outputs)


def _write_opennmt_config(job: dict[str, Any]) -> Path:
    """A configuration with the entries that options cannot give; its files stay empty."""
    folder = Path(job["folder"])
    paths = {name: folder / f"opennmt.{name}" for name in ("src", "tgt")}
    for path in paths.values():
        path.write_text("", encoding="utf-8")
    content = {
        "data": {"job": {f"path_{name}": str(path) for name, path in paths.items()}},
        "src_vocab": str(paths["src"]),
        "tgt_vocab": str(paths["tgt"]),
        "save_model": str(folder / "opennmt"),
    }
    path = folder / "opennmt.yaml"
    path.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    return path


def _opennmt_vocabularies(job: dict[str, Any], specials: list[str]) -> dict[str, Any]:
    import pyonmttok

    found = {}
    for side, name in enumerate(("src", "tgt")):
        tokens = [str(number) for number in range(len(specials), job["vocabularies"][side])]
        found[name] = pyonmttok.build_vocab_from_tokens(tokens, special_tokens=specials)
        found[name].default_id = found[name][specials[0]]
    if job["shared"]:
        found["tgt"] = found["src"]
    return found


class Marian:
    """Marian, the library in the package pymarian: its training in a process of its own each time,
    its translator in this one.

    A training makes every update twice; those of the first pass over the batches, which also
    allocates memory, do not count. Seconds and target tokens are those of Marian's own log.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        import _pymarian

        self.job = job
        self.folder = Path(job["folder"])
        vocabularies = [self._write_vocabulary(side) for side in (0, 1)]
        if job["shared"]:
            vocabularies[1] = vocabularies[0]
        self.vocabularies = [str(path) for path in vocabularies]
        self.texts = [str(self._write_text(side)) for side in (0, 1)]
        self.lines = [_words(source) for source in job["sources"]]
        model = self.folder / "marian.npz"
        log = self._train(["--after", "1u", "--model", str(model)])
        self.versions = {"Marian": marian_version(log)}
        self.parameters = silence_end(model)
        self.translators = {
            name: _pymarian.Translator(" ".join(self._search_options(model, width)))
            for name, width in (("greedy", 1), ("beam", job["beam"]))
        }

    def _write_vocabulary(self, side: int) -> Path:
        path = self.folder / f"marian.{side}.yml"
        tokens = ["</s>", "<unk>", *map(str, range(2, self.job["vocabularies"][side]))]
        lines = [f"{json.dumps(token)}: {number}\n" for number, token in enumerate(tokens)]
        path.write_text("".join(lines), encoding="utf-8")
        return path

    def _write_text(self, side: int) -> Path:
        path = self.folder / f"marian.{side}.txt"
        lines = [_words(pair[side]) + "\n" for batch in self.job["batches"] for pair in batch]
        path.write_text("".join(lines), encoding="utf-8")
        return path

    def _train(self, more: list[str]) -> str:
        """The log of a training. Batches are adjacent lines, in the order of the file."""
        code = "import sys, _pymarian; sys.exit(_pymarian.main(sys.argv[1:]))"
        rows = str(len(self.job["batches"][0]))
        options = ["--train-sets", *self.texts, "--vocabs", *self.vocabularies]
        options += ["--mini-batch", rows, "--maxi-batch", "1", "--maxi-batch-sort", "none"]
        options += ["--shuffle", "none", "--max-length", str(self.job["longest"])]
        options += ["--save-freq", "0", "--overwrite", "--no-reload", *self._common()]
        command = [sys.executable, "-c", code, "train", *self.job["options"], *options, *more]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
        log = done.stdout.decode(errors="replace")
        sys.stderr.write(log)
        if done.returncode:
            raise RuntimeError(f"training ended with status {done.returncode}")
        return log

    def _common(self) -> list[str]:
        threads, seed = str(self.job["threads"]), str(self.job["seed"] or 1)  # 0 is no seed
        return ["--cpu-threads", threads, "--seed", seed]

    def _search_options(self, model: Path, width: int) -> list[str]:
        options = ["--models", str(model), "--vocabs", *self.vocabularies, "--quiet"]
        options += ["--beam-size", str(width), "--max-length-factor", "1", "--allow-unk"]
        options += ["--mini-batch", str(self.job["rows"]), "--maxi-batch", "100"]
        return [*options, "--maxi-batch-sort", "src", *self._common()]

    def training(self) -> tuple[float, int]:
        """Seconds and target tokens of an update on each batch."""
        updates = len(self.job["batches"])
        model = str(self.folder / "marian-trained.npz")
        more = ["--after", f"{2 * updates}u", "--disp-freq", f"{updates}u", "--model", model]
        return read_marian_log(self._train(more), updates)

    def search(self, name: str) -> tuple[float, int]:
        """Seconds and predictions of the best output of every source."""
        began = time.perf_counter()
        outputs = self.translators[name].translate(self.lines)
        seconds = time.perf_counter() - began
        return seconds, sum(len(line.split()) for line in outputs)


MARIAN_UPDATE = re.compile(r"Up\. (\d+) : .* after ([\d,]+) : Time ([\d.]+)s")
"""Marian's line about its latest updates: updates and target tokens since the beginning, seconds
since the last such line."""

MARIAN_BIAS = "decoder_ff_logit_l2_b.npy"
"""The bias of the output layer in a model's file; its first entry is the end of sentence's."""


def marian_version(log: str) -> str:
    """The version that a log names."""
    found = re.search(r"Marian (v\S+ \S+)", log)
    return found[1] if found else "unknown"


def read_marian_log(log: str, updates: int) -> tuple[float, int]:
    """Seconds and target tokens of the second half of `2 * updates` updates."""
    found = [
        (int(update), int(tokens.replace(",", "")), float(seconds))
        for update, tokens, seconds in MARIAN_UPDATE.findall(log)
    ]
    if [update for update, _, _ in found] != [updates, 2 * updates]:
        raise RuntimeError(
            f"expected updates {updates} and {2 * updates} in the log, found {found}"
        )
    return found[1][2], found[1][1] - found[0][1]


def silence_end(model: Path) -> int:
    """Set the bias of the end of sentence in the file of Marian's model; returns its parameters."""
    with zipfile.ZipFile(model) as archive:
        members = [(member.filename, archive.read(member)) for member in archive.infolist()]
    parameters = 0
    with zipfile.ZipFile(model, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members:
            (header,) = struct.unpack("<H", content[8:10])  # of NumPy's format, version 1
            values = 10 + header
            if b"'<f4'" in content[:values]:
                parameters += (len(content) - values) // 4
            changed = content
            if name == MARIAN_BIAS:
                changed = content[:values] + struct.pack("<f", NEVER) + content[values + 4 :]
            archive.writestr(name, changed)
    return parameters


def _words(ids: list[int]) -> str:
    return " ".join(map(str, ids))


def main() -> None:
    """Answer requests until stdin ends."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)

        def answer(**content: object) -> None:
            print(json.dumps(content), file=answers, flush=True)

        try:
            toolkit = OpenNMT(job) if job["toolkit"] == "opennmt" else Marian(job)
            versions = {**toolkit.versions, "python": platform.python_version()}
            answer(versions=versions, parameters=toolkit.parameters)
            for line in sys.stdin:
                request = line.strip()
                found = toolkit.training() if request == "training" else toolkit.search(request)
                answer(seconds=found[0], tokens=found[1])
        except ModuleNotFoundError as error:
            answer(missing=error.name)
        except Exception as error:
            sys.stderr.flush()
            answer(error=f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
