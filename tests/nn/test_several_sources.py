"""Several sources in one memory: text and features, features alone, several files of them.

Dimension letters: B samples, R regions, W width of features, S positions of the memory.
"""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from s2s.nn.batch import Regions
from s2s.nn.encoders.regions import FeatureShape
from s2s.nn.inference_model import inference_model
from s2s.nn.memory import Memory
from s2s.nn.model import Seq2Seq
from s2s.recipe.image_features import ImageFeatureEncoder
from s2s.recipe.model import (
    AdditiveAttention,
    AnyDecoder,
    BahdanauDecoder,
    Encoder,
    LuongDecoder,
    Model,
    StackedDecoder,
)

WORDS, ANSWERS = 11, 13
SHAPES = (FeatureShape(7, 6), FeatureShape(3, 4))
TEXTS = torch.tensor([5, 2, 3])
REGIONS = (torch.tensor([4, 6, 2]), torch.tensor([3, 1, 4]))
READERS = {
    "a set": ImageFeatureEncoder(),
    "places": ImageFeatureEncoder(normalization="none", positions=True),
    "an LSTM": ImageFeatureEncoder(layers=2),
}
DECODERS: list[AnyDecoder] = [
    LuongDecoder(kind="luong", width=14),
    BahdanauDecoder(kind="bahdanau", width=14),
    StackedDecoder(kind="stacked", width=14),
]


def recipe_of(
    reader: ImageFeatureEncoder = READERS["a set"],
    decoder: AnyDecoder = DECODERS[0],
    copy: bool = False,
) -> Model:
    return Model(
        embeddings=6,
        encoder=Encoder(layers=1, width=5),
        image_features=(replace(reader, width=10),),
        attention=AdditiveAttention(kind="additive", width=8),
        decoder=decoder,
        copy="pointer" if copy else "none",
        coverage=copy,
    )


def build(recipe: Model, has_text: bool = True, files: int = 2) -> Seq2Seq:
    torch.manual_seed(3)
    table = torch.arange(WORDS) if recipe.copy == "pointer" else None
    vocabulary = WORDS if has_text else None
    model = Seq2Seq(recipe, vocabulary, ANSWERS, None, table, features=SHAPES[:files])
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


def texts(has_text: bool = True) -> tuple[Tensor, Tensor]:
    """Three texts and their lengths."""
    torch.manual_seed(4)
    if not has_text:
        return torch.zeros(3, 0, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)
    return torch.randint(4, WORDS, (3, 5)), TEXTS


def images(files: int = 2) -> list[Regions]:
    """The features of three samples, with noise at padding."""
    torch.manual_seed(5)
    return [
        Regions(torch.randn(3, int(lengths.max()), shape.width), lengths)
        for shape, lengths in zip(SHAPES[:files], REGIONS[:files], strict=True)
    ]


def targets() -> Tensor:
    torch.manual_seed(6)
    return torch.randint(4, ANSWERS, (3, 4))


CASES = [
    pytest.param(recipe_of(reader, decoder), has_text, files, id=f"{place}-{name}-{decoder.kind}")
    for name, reader in READERS.items()
    for place, (has_text, files) in enumerate([(False, 2), (True, 2)])
    for decoder in (DECODERS if name == "a set" else DECODERS[:1])
] + [
    pytest.param(recipe_of(decoder=decoder, copy=True), True, 2, id=f"copying-{decoder.kind}")
    for decoder in DECODERS
]


@pytest.mark.parametrize(("recipe", "has_text", "files"), CASES)
def test_step_by_step_is_teacher_forced(recipe: Model, has_text: bool, files: int) -> None:
    model, target = build(recipe, has_text, files), targets()
    whole = model(*texts(has_text), target, images(files))
    memory = model.encode(*texts(has_text), images(files))
    state = model.start(memory)
    for t in range(target.shape[1]):
        step = model.step(memory, state, target[:, t])
        state = step.state
        torch.testing.assert_close(step.logits, whole[:, t], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("recipe", "has_text", "files"), CASES)
def test_a_sample_alone_is_the_sample_in_a_batch(recipe: Model, has_text: bool, files: int) -> None:
    model, target = build(recipe, has_text, files), targets()
    (source, lengths), pictures = texts(has_text), images(files)
    whole = model(source, lengths, target, pictures)
    for row in range(3):
        one, length = slice(row, row + 1), int(lengths[row])
        own = [Regions(values[one, : int(counts[row])], counts[one]) for values, counts in pictures]
        alone = model(source[one, :length], lengths[one], target[one], own)
        batch = whole[one]
        if recipe.copy == "pointer":  # copied ids are as many as positions of the memory
            assert torch.isneginf(alone[..., ANSWERS + length :]).all()
            assert torch.isneginf(batch[..., ANSWERS + length :]).all()
            alone, batch = (logits[..., : ANSWERS + length] for logits in (alone, batch))
        torch.testing.assert_close(alone, batch, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("recipe", "has_text", "files"), CASES)
def test_every_parameter_is_trained(recipe: Model, has_text: bool, files: int) -> None:
    model = build(recipe, has_text, files).train()
    logits = model(*texts(has_text), targets(), images(files))
    logits[..., :ANSWERS].square().sum().backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not idle


def memory_of(model: Seq2Seq) -> Memory:
    return model.encode(*texts(), images())


def test_the_memory_is_text_then_the_regions_of_every_file() -> None:
    model = build(recipe_of())
    memory = memory_of(model)
    assert model.marks is not None and model.encoder is not None and model.combination is not None
    marks = model.marks.detach()
    source, lengths = texts()
    assert model.source_embedding is not None
    words_SBD, last_BD = model.encoder(model.source_embedding(source.t()), lengths)
    parts = [words_SBD.transpose(0, 1) + marks[0]]
    finals = [last_BD]
    for number, regions in enumerate(images()):
        reader = model.features[number]
        inner = reader.projection(reader.norm(regions.values_BRD)) + marks[number + 1]
        parts.append(torch.tanh(inner))
        counts = regions.lengths_B.tolist()
        finals.append(torch.stack([parts[-1][row, :n].mean(0) for row, n in enumerate(counts)]))
    every = torch.cat(parts, dim=1)
    inside = torch.cat(
        [
            torch.arange(part.shape[1]) < counts.unsqueeze(1)
            for part, counts in zip(parts, (lengths, *REGIONS), strict=True)
        ],
        dim=1,
    )
    assert memory.states_BSD.shape == (3, 5 + 6 + 4, 10)
    torch.testing.assert_close(memory.mask_BS, inside)
    torch.testing.assert_close(memory.states_BSD, every * inside.unsqueeze(-1))
    wanted = torch.tanh(model.combination(torch.cat(finals, dim=1)))
    torch.testing.assert_close(memory.final_BD, wanted)


def test_attention_is_one_softmax_over_all_sources_without_padding() -> None:
    model = build(recipe_of())
    memory = memory_of(model)
    weights = model.step(memory, model.start(memory), targets()[:, 0]).attention
    assert weights is not None
    torch.testing.assert_close(weights.sum(1), torch.ones(3))
    assert torch.equal(weights > 0, memory.mask_BS)


@pytest.mark.parametrize(
    ("name", "is_set"), [("a set", True), ("places", False), ("an LSTM", False)]
)
def test_regions_are_a_set_unless_their_order_is_read(name: str, is_set: bool) -> None:
    model = build(recipe_of(READERS[name]), files=1)
    (image,) = images(1)
    order = torch.tensor([1, 0, 3, 2, 4, 5])  # within the lengths of the first two samples
    turned = Regions(image.values_BRD[:, order], image.lengths_B)
    both = [model(*texts(), targets(), [one])[:2] for one in (image, turned)]
    assert torch.allclose(*both, atol=1e-5) == is_set


def test_every_source_changes_the_output_and_so_does_the_file_it_is_from() -> None:
    model, target = build(recipe_of()), targets()
    source, lengths = texts()
    first, second = images()
    whole = model(source, lengths, target, [first, second])
    for changed in (
        model((source - 3) % (WORDS - 4) + 4, lengths, target, [first, second]),
        model(source, lengths, target, [Regions(-first.values_BRD, first.lengths_B), second]),
        model(source, lengths, target, [first, Regions(-second.values_BRD, second.lengths_B)]),
    ):
        assert ((changed - whole).abs().amax(dim=(1, 2)) > 1e-3).all()
    # The same regions from another file are another source.
    alike = Seq2Seq(recipe_of(), WORDS, ANSWERS, features=[SHAPES[0], SHAPES[0]]).eval()
    for parameter in alike.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    other = Regions(-first.values_BRD, first.lengths_B)
    swapped = [alike(source, lengths, target, pair) for pair in ([first, other], [other, first])]
    assert not torch.allclose(*swapped, atol=1e-3)


def test_words_are_copied_and_regions_never() -> None:
    model = build(recipe_of(copy=True))
    memory = memory_of(model)
    source, lengths = texts()
    assert memory.copies_BS is not None and memory.words_BS is not None
    is_word = torch.arange(15) < (lengths - 1).unsqueeze(1)
    torch.testing.assert_close(memory.copies_BS > 0, is_word)
    assert torch.equal(memory.copies_BS[is_word], source[is_word[:, :5]])
    with torch.no_grad():
        assert model.decoder.gate is not None
        model.decoder.gate.linear.bias.fill_(-50.0)  # nothing is generated
    step = model.step(memory, model.start(memory), targets()[:, 0])
    assert step.attention is not None
    on_words = step.attention * is_word
    for row in range(3):
        probabilities = torch.softmax(step.logits[row], dim=-1)
        wanted = torch.zeros(ANSWERS + 15)
        share = on_words[row] / on_words[row].sum()
        wanted.scatter_add_(0, memory.copies_BS[row], share)
        torch.testing.assert_close(probabilities, wanted, atol=1e-5, rtol=1e-4)


def test_a_grid_is_read_along_rows_then_along_columns() -> None:
    """Two rows and three columns, by hand with the two LSTMs."""
    recipe = recipe_of(ImageFeatureEncoder(layers=2, rows=2, normalization="none"))
    model = build(recipe, has_text=False, files=1)
    torch.manual_seed(7)
    grid = torch.randn(3, 6, SHAPES[0].width)
    memory = model.encode(*texts(False), [Regions(grid, torch.tensor([6, 6, 6]))])
    reader = model.features[0]
    along, down = reader.sweeps
    states = torch.tanh(reader.projection(grid))
    for sweep, lines in ((along, [[0, 1, 2], [3, 4, 5]]), (down, [[0, 3], [1, 4], [2, 5]])):
        found = torch.zeros_like(states)
        for line in lines:
            read, _ = sweep(states[:, line].transpose(0, 1), torch.full((3,), len(line)))
            found[:, line] = read.transpose(0, 1)
        states = found
    torch.testing.assert_close(memory.states_BSD, states)
    torch.testing.assert_close(memory.final_BD, states.mean(1))


@pytest.mark.parametrize("has_text", [True, False])
def test_the_model_for_search_gives_the_same(has_text: bool) -> None:
    model, target = build(recipe_of(decoder=DECODERS[2]), has_text), targets()
    whole = model(*texts(has_text), target, images())
    for precision, error in (("fp32", 1e-5), ("bf16", 0.2), ("int8", 0.2)):
        quantized = inference_model(model, precision)  # type: ignore[arg-type]
        memory = quantized.encode(*texts(has_text), images())
        step = quantized.step(memory, quantized.start(memory), target[:, 0])
        torch.testing.assert_close(step.logits, whole[:, 0], atol=error, rtol=0)
