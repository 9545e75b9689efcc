"""Fine-tuning: a model of all captions but those of sport goes on with those of sport.

    python benchmarks/fine_tuning.py CORPUS [--folder fine-tuning]

CORPUS is Multi30k, a folder or a name as `datasets` reads it, with columns `de` and `en`. Captions
are divided by words of the English side. Three models are trained on one thread, each scored on the
test captions of sport: sport alone, the others alone, and the others and then sport.
"""

import argparse
import os
import re

os.environ["OMP_NUM_THREADS"] = "1"

from pathlib import Path

import datasets

from s2s import pipeline
from s2s.recipe.load import load_draft
from s2s.run.directory import Run

SPORT = re.compile(
    r"\b(ball|soccer|football|baseball|basketball|volleyball|tennis|hockey|golf|rugby|game|players?"
    r"|team|match|rac(e|es|ing|ers?)|athletes?|sports?|uniforms?|jerseys?|skat(er|ers|ing|eboard"
    r"|eboarder|eboarding|eboards)|ski(s|er|ers|ing)?|snowboard(er|ers|ing)?|surf(s|er|ers|ing|board)?"
    r"|swim(s|mer|mers|ming)?|jump(s|ing)?|climb(s|ing|er|ers)?|bik(e|es|er|ers|ing)"
    r"|bicycl(e|es|ist|ists)|cyclists?|wrestl(e|ers|ing)|gymnast(s|ics)?|karate|boxers?|boxing"
    r"|runners?|kick(s|ing)?)\b",
    re.IGNORECASE,
)

MODEL = """\
tokenizer: {kind: unigram, vocabulary: 5000}
model:
  embeddings: 128
  tied: output
  encoder: {layers: 1, width: 128}
  attention: {kind: general}
  decoder: {kind: stacked, layers: 2, width: 256}
  dropout: {embedding: 0.2, encoder: 0.2, decoder: 0.2, readout: 0.2}
"""

RECIPE = """\
task: translation
name: {name}
seed: 1
data:
  kind: files
  train: {{source: {topic}.train.de, target: {topic}.train.en}}
  validation: {{source: {checked}.validation.de, target: {checked}.validation.en}}
  test: {{source: sport.test.de, target: sport.test.en}}
{model}train:
  {start}
  epochs: {epochs}
  optimizer: {{kind: adam, learning_rate: {rate}}}
  schedule: {{kind: cosine, warmup: {warmup}}}
  batch_tokens: 1000
  label_smoothing: 0.1
  average: 0.998
  patience: null
search: {{kind: beam, width: 5}}
metrics: [bleu, chrf]
"""

GENERAL = {"topic": "other", "checked": "other", "epochs": 10, "rate": "1e-3", "warmup": 100}
SCRATCH = {"topic": "sport", "checked": "sport", "epochs": 20, "rate": "1e-3", "warmup": 100}
TUNED = {"topic": "sport", "checked": "sport", "epochs": 6, "rate": "5e-4", "warmup": 20}

TRAININGS = {
    "general": {**GENERAL, "model": MODEL, "start": "init_from: null"},
    "scratch": {**SCRATCH, "model": MODEL, "start": "init_from: null"},
    "tuned": {**TUNED, "model": "", "start": "init_from: {run: general}"},
}


def divide(corpus: str, folder: Path) -> None:
    """Write the captions of each topic, split and language into `folder`."""
    for split, rows in datasets.load_dataset(corpus).items():
        topics: dict[str, list[tuple[str, str]]] = {"sport": [], "other": []}
        for row in rows:
            topic = "sport" if SPORT.search(row["en"]) else "other"
            topics[topic].append((row["de"].strip(), row["en"].strip()))
        for topic, pairs in topics.items():
            print(f"{topic}, {split}: {len(pairs):,} captions")
            for side, language in enumerate(("de", "en")):
                path = folder / f"{topic}.{split}.{language}"
                text = "".join(f"{pair[side]}\n" for pair in pairs)
                path.write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    """Divide the corpus, train and score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus")
    parser.add_argument("--folder", type=Path, default=Path("fine-tuning"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    divide(options.corpus, options.folder)
    os.chdir(options.folder)
    for name, fields in TRAININGS.items():
        path = Path(f"{name}.yaml")
        path.write_text(RECIPE.format(name=name, **fields), encoding="utf-8", newline="\n")
        pipeline.train(load_draft(path), device="cpu")
        print(pipeline.evaluate(run=Run.open(Path("runs") / name), device="cpu"))


if __name__ == "__main__":
    main()
