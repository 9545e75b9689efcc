"""Makes the teachers' distributions over the target tokens of training (`train.distill`).

They are made in `distributions.making` of the run, some thousand pairs at a time. An interrupted
command goes on after the last of them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s2s.data.distributions import (
    DISTRIBUTIONS_FOLDER,
    IDS_FILE,
    MADE_FILE,
    PROBABILITIES_FILE,
    Distributions,
    read_made,
)
from s2s.data.features.lookup import open_features
from s2s.data.preparation.fingerprints import digest as digest_of
from s2s.data.preparation.prepare import open_corpus
from s2s.data.preparation.share import share_made
from s2s.errors import Interrupted, RunError, UsageError
from s2s.files import atomic_write, parse_json, remove, rename_folder, sync_file
from s2s.messages import note
from s2s.pipeline.direction import check_direction
from s2s.pipeline.task_checks import check_use
from s2s.recipe.section import names_of
from s2s.run.checkpoints import read_which
from s2s.run.finding import find_named_run
from s2s.text.tags import tags_of, untagged
from s2s.text.tokenizer_pair import load_tokenizers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from s2s.data.store import Corpus
    from s2s.recipe.recipe import Recipe
    from s2s.recipe.synthetic import Distill
    from s2s.run.directory import Run
    from s2s.search.forced_decoding import Forced
    from s2s.text.tokenizer import Tokenizer
    from s2s.text.tokenizer_pair import TokenizerPair

SHARD = 5000
"""Pairs after which the state is saved."""

BATCH_TOKENS = 1024
"""Tokens of a batch: its logits are [tokens, vocabulary] for each teacher."""

PLACE = "train.distill.teacher"


def teachers_of(recipe: Recipe, run: Run) -> list[Run]:
    """The teachers of a recipe; none if it has none. Raises UsageError for one that is missing."""
    distill = recipe.train.distill
    if distill is None:
        return []
    names = names_of(distill.teacher)
    return [find_named_run(PLACE, name, run.folder.parent) for name in names]


def make_distributions(
    run: Run,
    recipe: Recipe,
    *,
    progress: Callable[[str, int, int | None], None],
    device: str = "auto",
) -> None:
    """Make the distributions of a run whose data are prepared, unless they are up to date; the
    caller holds the lock of the run.

    Raises UsageError for teachers that do not suit, Interrupted on Ctrl-C with the work kept.
    """
    distill, folder = recipe.train.distill, run.folder / DISTRIBUTIONS_FOLDER
    if distill is None or not distill.has_distributions:
        remove(folder)
        return
    teachers = teachers_of(recipe, run)
    check_use(teachers, "translate", PLACE)
    pair = load_tokenizers(run.tokenizer_folder)
    _check_tokenizers(teachers, pair)
    _check_placeholders(teachers, recipe)
    lines = open_features(recipe.data, cache=run.features_folder)
    corpus = open_corpus(run.folder, "train", lines, tokenizers=pair)
    digest = _digest(corpus, teachers, distill)
    tokens = len(corpus.target_values) + len(corpus)
    made_digest = partial(_sound_digest, num_tokens=tokens, vocabulary=pair.target.size)
    if made_digest(folder) == digest:
        return
    if share_made(run.folder, DISTRIBUTIONS_FOLDER, folder, made_digest, digest):
        return
    work = folder.with_name(f"{DISTRIBUTIONS_FOLDER}.making")
    which = read_which(distill.checkpoint, "train.distill.checkpoint")
    check_direction(
        teachers, recipe, is_reverse=False, place=PLACE, device=device, checkpoint=which
    )
    names = " and ".join(one.place for one in teachers)
    note(f"{run.folder}: {PLACE}: {names} predicts every target token; Ctrl-C keeps what is done")
    maker = _Maker(teachers, distill, pair, device)
    try:
        maker.make(corpus, work, digest, progress)
    except KeyboardInterrupt:
        raise Interrupted(f"{PLACE}: interrupted; the same command goes on there", 2) from None
    atomic_write(work / MADE_FILE, json.dumps({"digest": digest}) + "\n")
    remove(work / BEGUN_FILE)
    remove(folder)
    rename_folder(work, folder)


BEGUN_FILE = "begun.json"


def _sound_digest(folder: Path, num_tokens: int, vocabulary: int) -> str | None:
    """What the distributions of a folder were made from; None if they are missing or damaged."""
    found = read_made(folder)
    if found is not None:
        try:
            Distributions.open(folder, num_tokens, vocabulary)
        except RunError:
            return None
    return found


def _digest(corpus: Corpus, teachers: Sequence[Run], distill: Distill) -> str:
    """A hash of all that the distributions depend on, with the pairs by their ids: the same for
    runs that differ in their seeds."""
    from s2s.inference.translator_factory import model_fingerprint

    which = read_which(distill.checkpoint, "train.distill.checkpoint")
    return digest_of(
        {
            "format": 1,
            "data": _content(corpus),
            "teachers": [model_fingerprint(one, which) for one in teachers],
            "top_k": distill.top_k,
            "temperature": distill.temperature,
        }
    )


def _content(corpus: Corpus) -> str:
    """A hash of the ids of all pairs."""
    found = hashlib.sha256()
    arrays = [corpus.source_values, corpus.source_offsets, corpus.target_values]
    arrays += [corpus.target_offsets, *([] if corpus.rows_NF is None else [corpus.rows_NF])]
    for array in arrays:
        found.update(f"{array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()


def _check_tokenizers(teachers: Sequence[Run], pair: TokenizerPair) -> None:
    """Raise UsageError for teachers that read or write other tokens than the model."""
    for one in teachers:
        other = load_tokenizers(one.tokenizer_folder)
        for side in ("target", "source"):
            own, its = getattr(pair, side), getattr(other, side)
            if untagged(own) != untagged(its):
                raise UsageError(
                    f"{PLACE}: {one.place} has another {side} tokenizer, and level 'word' or "
                    "'both' compares its tokens with the model's; 'tokenizer: {kind: from_run, "
                    f"run: {one.place}}}' takes it over, level 'sequence' needs none"
                )
        if one.recipe.model.copy != "none":
            raise UsageError(
                f"{PLACE}: {one.place} copies source tokens (model.copy), which are not in its "
                "vocabulary; level 'sequence' can learn from it"
            )


def _check_placeholders(teachers: Sequence[Run], recipe: Recipe) -> None:
    """Raise UsageError for teachers that were trained with other placeholders."""
    for one in teachers:
        if set(one.recipe.data.placeholders) != set(recipe.data.placeholders):
            raise UsageError(
                f"{PLACE}: {one.place} has other placeholders (data.placeholders), and level "
                "'word' or 'both' compares tokens; level 'sequence' can learn from it"
            )


class _Maker:
    """Computes the distributions of pairs."""

    def __init__(
        self, teachers: Sequence[Run], distill: Distill, pair: TokenizerPair, device: str
    ) -> None:
        from s2s.inference.load import load_ensemble
        from s2s.search.ensemble import forcible

        which = read_which(distill.checkpoint, "train.distill.checkpoint")
        loaded = load_ensemble(teachers, device=device, checkpoint=which, shortlists=False)
        self.model: Forced = forcible(loaded.scorer)
        self.device = loaded.device
        self.distill = distill
        self.vocabulary = pair.target.size
        self.top_k = min(distill.top_k, self.vocabulary)
        self.tags = _Tags(pair.source, loaded.source)

    def make(
        self,
        corpus: Corpus,
        work: Path,
        digest: str,
        progress: Callable[[str, int, int | None], None],
    ) -> None:
        """Write the arrays of a corpus into `work`, from where an earlier command was."""
        total = len(corpus.target_values) + len(corpus)
        done = _begun(work, digest)
        if not done:
            remove(work)
            work.mkdir()
        kind = np.uint16 if self.vocabulary <= 2**16 else np.int32
        mode: Any = "r+" if done else "w+"
        shape = (total, self.top_k)
        open_array = np.lib.format.open_memmap
        ids = open_array(work / IDS_FILE, mode, kind, shape)
        probabilities = open_array(work / PROBABILITIES_FILE, mode, np.float16, shape)
        for first in range(done, len(corpus), SHARD):
            progress("teachers predict", first, len(corpus))
            pairs = np.arange(first, min(first + SHARD, len(corpus)))
            self._shard(corpus, pairs, ids, probabilities)
            for array in (ids, probabilities):
                array.flush()
            begun = {"digest": digest, "pairs": int(pairs[-1]) + 1}
            atomic_write(work / BEGUN_FILE, json.dumps(begun) + "\n")
        progress("teachers predict", len(corpus), len(corpus))
        del ids, probabilities
        for name in (IDS_FILE, PROBABILITIES_FILE):
            sync_file(work / name)

    def _shard(
        self,
        corpus: Corpus,
        pairs: NDArray[np.int64],
        ids: NDArray[Any],
        probabilities: NDArray[Any],
    ) -> None:
        import torch

        from s2s.data.batches import batch_plan, collate

        lengths = corpus.memory_lengths[pairs], corpus.target_lengths[pairs]
        with torch.inference_mode():
            for place in batch_plan(lengths, BATCH_TOKENS, seed=0, epoch=0):
                rows = pairs[place]
                batch = collate(corpus, rows)
                source, source_lengths = self.tags(batch.source, batch.source_lengths)
                batch = replace(batch, source=source, source_lengths=source_lengths).to(self.device)
                more = (batch.features,) if batch.features else ()
                logits_BTV = self.model(
                    batch.source, batch.source_lengths, batch.target_input, *more
                ).float()
                found = torch.log_softmax(logits_BTV, -1) / self.distill.temperature
                top = found.topk(self.top_k, dim=-1)
                inside_BT = (
                    np.arange(top.indices.shape[1]) < batch.target_lengths.cpu().numpy()[:, None]
                )
                starts = corpus.target_offsets[rows] + rows
                sizes = corpus.target_lengths[rows] + 1
                places = np.concatenate(
                    [np.arange(s, s + n) for s, n in zip(starts, sizes, strict=True)]
                )
                ids[places] = top.indices.cpu().numpy()[inside_BT]
                probabilities[places] = top.values.softmax(-1).cpu().numpy()[inside_BT]


class _Tags:
    """Removes tags that the teachers do not know from the beginning of sources."""

    def __init__(self, own: Tokenizer, other: Tokenizer) -> None:
        ours, theirs = tags_of(own), tags_of(other)
        first = untagged(own).size
        self.new_ids = {
            first + place: (first + theirs.index(tag) if tag in theirs else None)
            for place, tag in enumerate(ours)
        }

    def __call__(self, source: Any, lengths: Any) -> tuple[Any, Any]:
        """Sources [B, S] and their lengths [B] with the teachers' ids of tags."""
        if not any(new != old for old, new in self.new_ids.items()):
            return source, lengths
        from s2s.data.batches import collate_sources

        rows = [
            [self.new_ids.get(int(token), int(token)) for token in row[: int(length) - 1]]
            for row, length in zip(source, lengths, strict=True)
        ]
        return collate_sources([[one for one in row if one is not None] for row in rows])


def _begun(work: Path, digest: str) -> int:
    """The pairs that an earlier command has done of the same; 0 if there are none."""
    try:
        content = parse_json((work / BEGUN_FILE).read_text(encoding="utf-8"))
        return int(content["pairs"]) if content["digest"] == digest else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0
