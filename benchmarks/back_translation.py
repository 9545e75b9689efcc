"""Back-translation: few pairs, and text in the target language.

    python benchmarks/back_translation.py CORPUS [--share 0.2] [--folder back-translation]

CORPUS is Multi30k, a folder or a name as `datasets` reads it, with columns `de` and `en`. The first
fifth of its training pairs stays; of the others only the English side does. Models are trained on
one thread: German to English and English to German on the pairs, then German to English on these
and the English text with the German of the second model, made by beam search or by sampling.
"""

import argparse
import os

os.environ["OMP_NUM_THREADS"] = "1"

from pathlib import Path

import datasets

from s2s import pipeline
from s2s.recipe.load import load_draft
from s2s.run.directory import Run

RECIPE = """\
task: translation
name: {name}
seed: {seed}
data:
  kind: files
  train: {{source: train.{source}, target: train.{target}}}
  validation: {{source: validation.{source}, target: validation.{target}}}
  test: {{source: test.{source}, target: test.{target}}}
  synthetic: [{synthetic}]
tokenizer: {{kind: unigram, vocabulary: 4000}}
model:
  embeddings: 192
  tied: output
  encoder: {{layers: 1, width: 192}}
  attention: {{kind: general}}
  decoder: {{kind: stacked, layers: 2, width: 384}}
  dropout: {{embedding: 0.3, encoder: 0.3, decoder: 0.3, readout: 0.3}}
train:
  epochs: {epochs}
  batch_tokens: {batch_tokens}
  optimizer: {{kind: adam, learning_rate: 1e-3}}
  schedule: {{kind: cosine, warmup: 100}}
  label_smoothing: 0.1
  average: 0.998
  patience: null
search: {{kind: beam, width: 5}}
metrics: [bleu, chrf]
"""

ON_PAIRS = {"epochs": 30, "batch_tokens": 750, "synthetic": ""}
FORWARD = {"source": "de", "target": "en"}
BACKWARD = {"source": "en", "target": "de"}
MORE = {**FORWARD, "epochs": 12, "batch_tokens": 1000}

TRAININGS = {
    "pairs": {**FORWARD, **ON_PAIRS},
    "reverse": {**BACKWARD, **ON_PAIRS},
    "beam": {**MORE, "synthetic": "{run: reverse, target: text.en}"},
    "sampled": {**MORE, "synthetic": "{run: reverse, target: text.en, search: {kind: sample}}"},
    "untagged": {**MORE, "synthetic": "{run: reverse, target: text.en, tag: none}"},
}


def divide(corpus: str, share: float, folder: Path) -> None:
    """Write the pairs of each split, and the English side of the other training pairs."""
    for split, rows in datasets.load_dataset(corpus).items():
        pairs = [(row["de"].strip(), row["en"].strip()) for row in rows]
        kept = round(share * len(pairs)) if split == "train" else len(pairs)
        files = {f"{split}.de": [de for de, _ in pairs[:kept]]}
        files[f"{split}.en"] = [en for _, en in pairs[:kept]]
        if split == "train":
            files["text.en"] = [en for _, en in pairs[kept:]]
        for name, lines in files.items():
            text = "".join(f"{line}\n" for line in lines)
            (folder / name).write_text(text, encoding="utf-8", newline="\n")


def main() -> None:
    """Divide the corpus, train and score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus")
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("back-translation"))
    parser.add_argument("--only", nargs="+", choices=list(TRAININGS), default=list(TRAININGS))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if not (options.folder / "text.en").exists():
        divide(options.corpus, options.share, options.folder)
    os.chdir(options.folder)
    for name in options.only:
        path = Path(f"{name}.yaml")
        text = RECIPE.format(name=name, seed=options.seed, **TRAININGS[name])
        path.write_text(text, encoding="utf-8", newline="\n")
        pipeline.train(load_draft(path), device="cpu")
        if name != "reverse":
            print(pipeline.evaluate(run=Run.open(Path("runs") / name), device="cpu"))


if __name__ == "__main__":
    main()
