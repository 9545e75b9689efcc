"""The factory by which each process of a command makes its translator."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2s.data.sources.chunks import feature_stamp, file_fingerprint
from s2s.data.sources.contents import Hashes, by_content
from s2s.recipe.data import image_features_of
from s2s.recipe.search import MbrSearch, RerankSearch
from s2s.run.rerank_weights import other_runs, read_rerank_weights
from s2s.run.shortlist import NAME as SHORTLIST
from s2s.run.shortlist import tokenizer_digest
from s2s.text.lines import is_standard

if TYPE_CHECKING:
    from s2s.inference.fusion import Fusion
    from s2s.inference.load import FilesOfFeatures
    from s2s.inference.translator import LineTranslator
    from s2s.nn.kernels import Kernel
    from s2s.recipe.search import Search
    from s2s.run.checkpoints import Which
    from s2s.run.directory import Run


@dataclass(frozen=True, kw_only=True)
class TranslatorFactory:
    """Makes the translator of a command, in its own process or in a worker."""

    runs: tuple[Run, ...]
    search: Search
    device: str
    checkpoint: Which
    tag: str | None
    unknown: Mapping[str, str] | None
    features: FilesOfFeatures | None
    speeds: Mapping[Kernel, float]
    """The speeds by which all processes choose their kernels; none in fp32 or on a GPU."""
    fusion: Fusion | None = None
    """A language model that search adds."""

    def __call__(self) -> LineTranslator:
        """The translator; raises UsageError and RunError as loading does."""
        from s2s.inference.load import load_ensemble
        from s2s.inference.replace_unknown import UnknownReplacer
        from s2s.text.tags import check_tag

        if self.speeds and multiprocessing.parent_process() is not None:
            from s2s.nn.kernels import adopt

            adopt(self.speeds)
        loaded = load_ensemble(
            self.runs,
            search=self.search,
            device=self.device,
            checkpoint=self.checkpoint,
            features=self.features,
            fusion=self.fusion,
        )
        if self.tag is not None:
            check_tag(loaded.source, self.tag, "--tag")
            loaded = replace(loaded, tag=self.tag)
        if self.unknown is not None:
            replacer = UnknownReplacer(loaded.source, loaded.target, self.unknown)
            loaded = replace(loaded, replacer=replacer)
        return loaded

    def fingerprint(self) -> dict[str, Any]:
        """All that a line's translation depends on, for the note beside an unfinished output."""
        unknown = self.unknown
        return {
            "models": [model_fingerprint(run, self.checkpoint) for run in self.runs],
            "tokenizers": [tokenizer_digest(run)[:16] for run in self.runs],
            **self._fusion_note(),
            **self._shortlist_note(),
            **self._placeholders_note(),
            "search": _search_note(self.search),
            **self._ranking_note(),
            "tag": self.tag,
            "dictionary": None if unknown is None else _hash(json.dumps(dict(unknown))),
            **_features_note(self.runs, self.features),
            **self._kernels_note(),
        }

    def _fusion_note(self) -> dict[str, Any]:
        """The language model and its weight."""
        if self.fusion is None:
            return {}
        run = self.fusion.run
        return {
            "lm": [model_fingerprint(run, "best"), tokenizer_digest(run)[:16], self.fusion.weight]
        }

    def _ranking_note(self) -> dict[str, Any]:
        """How utilities read text; the weights and the models of a reranking."""
        run = self.runs[0]
        if isinstance(self.search, MbrSearch):
            return {"scoring": asdict(run.recipe.scoring)}
        if not isinstance(self.search, RerankSearch):
            return {}
        found = read_rerank_weights(run)
        names = [
            None if one is None else model_fingerprint(one, "best")
            for one in other_runs(run, found)
        ]
        return {"rerank": [dict(found.weights), *names]}

    def _shortlist_note(self) -> dict[str, Any]:
        """A hash of the lexicon, which may be learned again."""
        path = self.runs[0].folder / SHORTLIST
        if not self.search.shortlist or not path.is_file():
            return {}
        return {"lexicon": hashlib.sha256(path.read_bytes()).hexdigest()[:16]}

    def _placeholders_note(self) -> dict[str, Any]:
        """The kinds of placeholders, which a recipe may get without another training."""
        kinds = self.runs[0].recipe.data.placeholders
        return {"placeholders": sorted(kinds)} if kinds else {}

    def _kernels_note(self) -> dict[str, Any]:
        """The kernels chosen by their speeds: others would round differently."""
        if not self.speeds:
            return {}
        from s2s.nn.kernels import choices

        return {"kernels": choices()}


def kernel_speeds(search: Search, device: str) -> Mapping[Kernel, float]:
    """The measured speed of each kernel, if the search depends on it."""
    if search.precision == "fp32":
        return {}
    from s2s.nn.device import choose_device
    from s2s.nn.kernels import measured

    return measured() if choose_device(device).type == "cpu" else {}


def _search_note(search: Search) -> dict[str, Any]:
    """The settings; those that outputs begun before do not name are left out by default."""
    noted = asdict(search)
    if not search.suppress_unknown:
        del noted["suppress_unknown"]
    return noted


def _features_note(runs: Sequence[Run], files: FilesOfFeatures | None) -> dict[str, Any]:
    """The features of the lines: files of the runs' recipes, or those that replace them.

    By content; for an exported model, which keeps no hashes of large files, by path, size and time.
    """
    found: list[Any] = []
    for run in runs:
        own = [(one.path, one.ids) for one in image_features_of(run.recipe.data)]
        for path, ids in own if files is None else files:
            stamps = [feature_stamp(Path(path), Path(ids) if ids else None)]
            stamps += [] if is_standard(ids) else [file_fingerprint(Path(str(ids)))]
            found += stamps if run.is_exported else by_content(stamps, Hashes(run.folder))
    return {"features": found} if found else {}


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def model_fingerprint(run: Run, checkpoint: Which) -> str:
    """The run's name, for the reader, and a hash of its weights: a run may be trained further."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(run.read_weights(checkpoint).items()):
        digest.update(f"{name} {list(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return f"{run.name} {digest.hexdigest()[:16]}"
