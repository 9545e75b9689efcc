"""Makes the training pairs of `data.synthetic` and `train.distill` with the runs that they name.

Each part is made in `synthetic/NAME.making` of the run and renamed when it is complete. An
interrupted command leaves what is translated, and the next one goes on there. A part is made anew
when a run it names has other weights, or its text or search has changed; a run whose training has
begun keeps its pairs.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s2s.data.preparation.fingerprints import fingerprint
from s2s.data.preparation.share import share_made
from s2s.data.sources.chunks import file_fingerprint
from s2s.data.sources.contents import Hashes
from s2s.data.sources.file_names import described, files_of
from s2s.data.sources.made_pairs import (
    MADE_FILE,
    SOURCE_FILE,
    SYNTHETIC_FOLDER,
    TARGET_FILE,
    MadeReport,
    read_made,
    writing_lines,
)
from s2s.data.sources.open import open_split
from s2s.errors import DataError, Interrupted, UsageError
from s2s.files import atomic_write, parse_json, remove, rename_folder
from s2s.messages import note
from s2s.pipeline.direction import check_direction
from s2s.pipeline.held_out_lines import HeldOutLines
from s2s.pipeline.listed_outputs import ListedOutput, closest, listed_outputs
from s2s.pipeline.task_checks import check_use
from s2s.pipeline.translation import Files, translate_files
from s2s.recipe.data import corpora_of, has_source_text, image_features_of
from s2s.recipe.section import names_of
from s2s.recipe.synthetic import Distill, Synthetic, check_outputs
from s2s.recipe.training_parts import TrainingPart, training_parts
from s2s.run.checkpoints import read_which
from s2s.run.finding import find_named_run
from s2s.spaces import is_blank
from s2s.text.lines import read_lines
from s2s.text.tags import tags_of, with_tag
from s2s.text.tokenizer_pair import load_tokenizers

if TYPE_CHECKING:
    from s2s.recipe.recipe import Recipe
    from s2s.recipe.search import Search
    from s2s.run.directory import Run

FORMAT = 1
INPUT_FILE, OUTPUT_FILE, REFERENCE_FILE = "input.txt", "output.jsonl", "reference.txt"
TAGGED_FILE = "tagged.txt"
"""The lines of the input with all their tags, where a teacher does not know some."""
BEGUN_FILE = "begun.json"

LINES_TOGETHER = 2048
"""Lines that are translated together, and so the most that an interrupted command has to repeat."""

FEW_LINES = 2000
"""Lines below which one process translates: others would take longer to load the model."""


def make_synthetic(run: Run, recipe: Recipe, *, force: bool = False, device: str = "auto") -> None:
    """Make the pairs that are missing or not up to date; the caller holds the lock of the run.

    Raises UsageError for runs that are missing or do not suit, DataError for text that is missing,
    empty, or the test set, Interrupted on Ctrl-C with all that is translated kept.
    """
    parts = [part for part in training_parts(recipe) if part.made is not None]
    makers = [_Maker(run, recipe, part, device) for part in parts]
    for maker in makers:  # faults of all, before the first is made
        maker.check()
    for maker in makers:
        maker.make(force)


def drop_unused(run: Run, recipe: Recipe) -> None:
    """Remove pairs that the recipe no longer names; the caller holds the lock of the run."""
    named = {part.made for part in training_parts(recipe) if part.made is not None}
    for folder in (run.folder / SYNTHETIC_FOLDER).glob("*"):
        if folder.name.removesuffix(".making") not in named:
            remove(folder)


class _Maker:
    """Makes one part."""

    def __init__(self, run: Run, recipe: Recipe, part: TrainingPart, device: str) -> None:
        section = part.section
        assert part.made is not None and section is not None, "the part is made"
        self.recipe, self.part, self.section, self.device = recipe, part, section, device
        self.run = run
        self.folder = run.folder / SYNTHETIC_FOLDER / part.made
        self.work = self.folder.with_name(f"{part.made}.making")
        if isinstance(section, Distill):
            self.field, names = "teacher", names_of(section.teacher)
        else:
            self.field, names = "run", names_of(section.run)
        place = f"{part.place}.{self.field}"
        self.runs = [_find(place, name, run) for name in names]
        self.which = read_which(section.checkpoint, f"{part.place}.checkpoint")
        self.search: Search = section.search or self.runs[0].recipe.search

    # --------------------------------------------------------------------------------- checks

    def check(self) -> None:
        """Raise UsageError or DataError for what cannot be made."""
        part, section = self.part, self.section
        check_use(self.runs, "translate", f"{part.place}.{self.field}")
        _check_outputs(self.search, section.outputs, part.place)
        is_text = has_source_text(self.recipe.data) and not image_features_of(self.recipe.data)
        if isinstance(section, Synthetic) and not is_text:
            raise UsageError(f"{part.place}: expected data of text alone, and sources have images")
        for one in self.runs:
            if is_text == bool(image_features_of(one.recipe.data)):
                raise UsageError(
                    f"{part.place}.{self.field}: {one.place} reads "
                    f"{'images' if is_text else 'text'}, and these data do not have them"
                )
        for file in self._files():
            file_fingerprint(file)

    def _files(self) -> list[Path]:
        if isinstance(self.section, Distill):
            return []
        text = self.section.target or self.section.source
        assert text is not None, "the section has checked"
        found = files_of(text)
        if not found:
            raise DataError(f"{self.part.place}: {described(text)}: no such file")
        return found

    def _check_direction(self) -> None:
        is_reverse = isinstance(self.section, Synthetic) and self.section.is_back_translation
        check_direction(
            self.runs,
            self.recipe,
            is_reverse=is_reverse,
            place=f"{self.part.place}.{self.field}",
            device=self.device,
            checkpoint=self.which,
        )

    # ----------------------------------------------------------------------------------- work

    def make(self, force: bool) -> None:
        """Make the pairs, unless they are up to date."""
        digest = self._digest()
        if not force and _made_digest(self.folder) == digest:
            return
        if not force and self._share(digest):
            return
        is_begun = _read_begun(self.work) == digest
        if force or not is_begun:
            remove(self.work)
            self._check_direction()
            self.work.mkdir(parents=True)
            counts = self._write_input()
            begun = {"digest": digest, **counts}
            atomic_write(self.work / BEGUN_FILE, json.dumps(begun, indent=1) + "\n")
        counts = parse_json((self.work / BEGUN_FILE).read_text(encoding="utf-8"))
        seconds = self._translate(int(counts["lines"]))
        report = self._write_pairs(counts, seconds)
        made = {"format": FORMAT, "digest": digest, "report": asdict(report)}
        atomic_write(self.work / MADE_FILE, json.dumps(made, indent=1, ensure_ascii=False) + "\n")
        for name in (INPUT_FILE, TAGGED_FILE, OUTPUT_FILE, REFERENCE_FILE, BEGUN_FILE):
            remove(self.work / name)
        # What was encoded from the former pairs is out of date, whatever happens from here on.
        remove(self.folder)
        rename_folder(self.work, self.folder)

    def _share(self, digest: str) -> bool:
        """Link the pairs of another run, such as another setting of a sweep, that has the same."""
        pattern = f"{SYNTHETIC_FOLDER}/*"
        return share_made(self.run.folder, pattern, self.folder, _made_digest, digest)

    def _digest(self) -> str:
        """A hash of all that the pairs depend on."""
        from s2s.inference.translator_factory import TranslatorFactory, kernel_speeds

        section = self.section
        factory = TranslatorFactory(
            runs=tuple(self.runs),
            search=self.search,
            speeds=kernel_speeds(self.search, self.device),
            device=self.device,
            checkpoint=self.which,
            tag=None,
            unknown=None,
            features=None,
        )
        content: dict[str, Any] = {
            "format": FORMAT,
            "translation": factory.fingerprint(),
            "outputs": section.outputs,
        }
        if isinstance(section, Distill):
            split = open_split(self.recipe.data, "train")
            assert split is not None, "every recipe names training pairs"
            content |= {"train": split.fingerprint(), "choose": section.choose}
            if tags := self._unknown_tags():
                content["without"] = tags
        else:
            side = "target" if section.is_back_translation else "source"
            content |= {side: [file_fingerprint(path) for path in self._files()]}
        return fingerprint(content, Hashes(self.run.folder)).now

    def _write_input(self) -> dict[str, int]:
        """Write the lines to translate, and of training pairs the true targets; returns counts."""
        section = self.section
        if isinstance(section, Distill):
            return {"lines": self._write_training_sources(section), "in_held_out": 0}
        held_out = HeldOutLines(self.recipe, is_target=section.is_back_translation)
        lines = num_text = 0
        with writing_lines(self.work / INPUT_FILE) as write:
            for path in self._files():
                for line in read_lines(path):
                    write(line)
                    lines += 1
                    if not is_blank(line):
                        num_text += 1
                        held_out.see(line)
        if not num_text:
            text = section.target or section.source
            raise DataError(
                f"{self.part.place}: {described(text or '')}: expected a line of text in each "
                "line, found none"
            )
        held_out.check(self.part.place)
        return {"lines": lines, "in_held_out": held_out.num_found}

    def _write_training_sources(self, section: Distill) -> int:
        lines = 0
        with ExitStack() as stack:
            write = stack.enter_context(writing_lines(self.work / INPUT_FILE))
            keep = tagged = None
            if section.choose == "closest":
                keep = stack.enter_context(writing_lines(self.work / REFERENCE_FILE))
            if unknown := self._unknown_tags():
                tagged = stack.enter_context(writing_lines(self.work / TAGGED_FILE))
            for corpus in corpora_of(self.recipe.data):
                split = open_split(corpus, "train")
                assert split is not None, "every recipe names training pairs"
                for chunk in split.chunks():
                    sources = with_tag(chunk.source, corpus.tag) if corpus.tag else chunk.source
                    read = chunk.source if corpus.tag in unknown else sources
                    for line, source, target in zip(read, sources, chunk.target, strict=True):
                        write(line)
                        lines += 1
                        if tagged is not None:
                            tagged(source)
                        if keep is not None:
                            keep(target)
        return lines

    def _unknown_tags(self) -> list[str]:
        """The tags of training sources that the runs do not know, who would read them as text."""
        tags = self.part.tags_within
        known = tags_of(load_tokenizers(self.runs[0].tokenizer_folder).source) if tags else ()
        return [tag for tag in tags if tag not in known]

    def _translate(self, lines: int) -> float:
        """Translate the input, from where an earlier command was; returns the seconds."""
        from s2s.inference.nbest import NbestOptions
        from s2s.nn.device import choose_device
        from s2s.nn.threads import requested_threads, usable_cores

        section, place = self.section, self.part.place
        names = " and ".join(one.place for one in self.runs)
        note(f"{self.run.folder}: {place}: {names} translates {lines:,} lines; Ctrl-C keeps them")
        target = self.work / OUTPUT_FILE
        workers = min(requested_threads() or usable_cores(), lines // FEW_LINES + 1)
        began = time.perf_counter()
        try:
            translate_files(
                self.runs,
                Files(
                    source=self.work / INPUT_FILE,
                    target=target,
                    resume=target.exists(),
                    is_own=True,
                ),
                search=self.search,
                batch_size=LINES_TOGETHER,
                device=self.device,
                checkpoint=self.which,
                listing=NbestOptions(section.outputs, "jsonl"),
                workers=workers if choose_device(self.device).type == "cpu" else 1,
            )
        except Interrupted as error:
            raise Interrupted(
                f"{place}: interrupted; the same command goes on there", error.exit_status - 128
            ) from None
        return time.perf_counter() - began

    def _write_pairs(self, counts: dict[str, Any], seconds: float) -> MadeReport:
        """Write sources and targets, and count them."""
        section = self.section
        is_reverse = isinstance(section, Synthetic) and section.is_back_translation
        read = pairs = blank = repeated = cut = 0
        with (
            writing_lines(self.work / SOURCE_FILE) as write_source,
            writing_lines(self.work / TARGET_FILE) as write_target,
        ):
            for line, outputs in self._translated():
                read += 1
                found = [one.text for one in outputs if not is_blank(one.text)]
                blank += len(outputs) - len(found)
                whole = [one.text for one in outputs if one.text in found and not one.is_cut]
                cut += len(found) - len(whole)
                texts = list(dict.fromkeys(whole))
                repeated += len(whole) - len(texts)
                pairs += len(texts)
                for text in texts:
                    source, target = (text, line) if is_reverse else (line, text)
                    write_source(source)
                    write_target(target)
        if not pairs:
            raise DataError(
                f"{self.part.place}: none of {read:,} lines has an output that ends by itself; is "
                f"{self.runs[0].place} trained well enough?"
            )
        return MadeReport(
            place=self.part.place,
            runs=tuple(f"{one.place} at {one.resolve_checkpoint(self.which)}" for one in self.runs),
            search=_in_words(self.search),
            read=read,
            pairs=pairs,
            blank=blank,
            cut=cut,
            repeated=repeated,
            in_held_out=int(counts["in_held_out"]),
            seconds=round(seconds, 1),
        )

    def _translated(self) -> Iterator[tuple[str, list[ListedOutput]]]:
        """Every line of the input, with all its tags, and its outputs."""
        tagged = self.work / TAGGED_FILE
        inputs = read_lines(tagged if tagged.exists() else self.work / INPUT_FILE)
        listed = listed_outputs(self.work / OUTPUT_FILE)
        is_closest = isinstance(self.section, Distill) and self.section.choose == "closest"
        references = read_lines(self.work / REFERENCE_FILE) if is_closest else None
        for line in inputs:
            outputs = next(listed)[: self.section.outputs]
            yield line, outputs if references is None else closest(outputs, next(references))


def _find(place: str, name: str, own: Run) -> Run:
    found = find_named_run(place, name, own.folder.parent)
    if found.folder.resolve() == own.folder.resolve():
        raise UsageError(
            f"{place}: {name} is this run itself; give it another name (--set name=NEW)"
        )
    return found


def _check_outputs(search: Search, outputs: int, place: str) -> None:
    """Raise UsageError for more outputs than the search of a run finds."""
    try:
        check_outputs(search, outputs)
    except ValueError as error:
        raise UsageError(f"{place}.{error}") from None


def _made_digest(folder: Path) -> str | None:
    """What the pairs of a folder were made from; None if they are not complete."""
    found = read_made(folder).get("digest")
    is_complete = (folder / SOURCE_FILE).is_file() and (folder / TARGET_FILE).is_file()
    return found if is_complete and isinstance(found, str) else None


def _read_begun(work: Path) -> str | None:
    """What the translation in a folder was begun with; None if nothing was."""
    try:
        return str(parse_json((work / BEGUN_FILE).read_text(encoding="utf-8"))["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _in_words(search: Search) -> str:
    """`beam 5`, `sample, temperature 0.8`."""
    kind: str = search.kind
    if kind == "beam":
        return f"beam {getattr(search, 'width', '')}"
    if kind == "sample":
        return f"sample, temperature {getattr(search, 'temperature', 1):g}"
    return kind
