"""How a training begins: weights from a trained run, embeddings from files, frozen parts.

An untrained model comes from its task; this changes what the recipe wants otherwise. Only the first
process of a group does it, and only before the first checkpoint: the others get its weights, and a
resumed training has its own.
"""

from collections.abc import Iterator

from s2s.data.store import Corpus
from s2s.errors import RunError
from s2s.nn.model import Seq2Seq
from s2s.nn.parts import names_of
from s2s.recipe.recipe import Recipe
from s2s.run.directory import Run
from s2s.run.origin import read_origin
from s2s.text.tokenizer_pair import TokenizerPair, load_tokenizers
from s2s.training.initial_weights import Trained, take_weights
from s2s.training.pretrained import take_vectors


def begin(
    model: Seq2Seq, run: Run, recipe: Recipe, tokenizers: TokenizerPair, train: Corpus
) -> Iterator[str]:
    """Give an untrained model the initial weights that the recipe names; a line about each origin.

    Raises UsageError for weights that do not fit, DataError for files that cannot be read, RunError
    where the run has no sound copy of the weights.
    """
    if recipe.model.pretrained is not None:
        yield from take_vectors(model, recipe, tokenizers, train)
    wanted = recipe.train.init_from
    if wanted is None:
        return
    origin = read_origin(run.folder)
    if origin is None:
        raise RunError(f"{run.folder}/origin: no copy of {wanted.run}; s2s train --restart")
    place = f"{origin.run}, checkpoint {origin.checkpoint}"
    trained = Trained(place, origin.weights(), load_tokenizers(origin.tokenizer_folder))
    names = take_weights(model, tokenizers, trained, wanted)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    share = f"{sum(sizes[name] for name in names):,} of {sum(sizes.values()):,} parameters"
    parts = "all parts" if wanted.parts == "all" else ", ".join(wanted.parts)
    yield f"begins with {share} from {place} ({parts})"
    if left := [name for name in names_of(model, wanted.named) if name not in names]:
        whole = dict.fromkeys(".".join(name.split(".")[:2]) for name in left)
        yield (
            f"{place} is a language model: of its decoder the layers are taken over; "
            f"{', '.join(whole)} begin as in any training"
        )
