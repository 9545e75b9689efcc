"""Attention maps: weights of the right tokens, links of the right words, and the command."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.cells import cell_len
from torch import Tensor

from s2s.errors import UsageError
from s2s.inference import load as pipeline_ensemble
from s2s.inference.attention.alignment import align_words, word_weights
from s2s.inference.attention.maps import attention_maps, map_stream
from s2s.inference.translator import LineTranslator
from s2s.nn.model import Seq2Seq
from s2s.nn.step import Step
from s2s.recipe.model import (
    AnyDecoder,
    BahdanauDecoder,
    ConditionalDecoder,
    Encoder,
    LuongDecoder,
    Model,
    NoAttention,
    StackedDecoder,
)
from s2s.recipe.search import GreedySearch, SampleSearch
from s2s.recipe.tokenizer import SubwordTokenizer
from s2s.special import BOS, EOS, PAD
from s2s.text.source_features import SourceFeatureTokenizer
from s2s.text.subword import Subwords, SubwordTrainer
from s2s.text.tags import Tagged
from s2s.text.vocabulary import Characters, Words
from s2s.text.word_ids import source_word_ids, target_word_ids
from s2s_cli import attention as command
from s2s_cli.main import run

LETTERS = Characters("abcdefghijklmnop .,")
VOCABULARY = LETTERS.size


class Places:
    """Rows of integers."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def select(self, rows: Tensor) -> "Places":
        return Places(self.x[rows])

    def put(self, rows: Tensor, other: "Places") -> "Places":
        return Places(self.x.index_copy(0, rows, other.x))


class Copy:
    """A scorer that copies its source and attends to the tokens that it copies."""

    vocabulary = VOCABULARY

    def encode(self, source: Tensor, lengths: Tensor) -> Places:
        return Places(source)

    def start(self, memory: Places) -> Places:
        return Places(torch.zeros(len(memory.x), 1, dtype=torch.int64))

    def step(self, memory: Places, state: Places, tokens: Tensor) -> Step[Places]:
        source = memory.x.repeat_interleave(len(tokens) // len(memory.x), dim=0)
        place = state.x.clamp(max=source.shape[1] - 1)
        logits = torch.zeros(len(tokens), VOCABULARY)
        logits.scatter_(1, source.gather(1, place), 30.0)
        attention = torch.zeros(source.shape).scatter_(1, place, 1.0)
        return Step(logits, Places(state.x + 1), attention)


class TaggedCopy(Copy):
    """A copy that predicts a space for a tag."""

    def encode(self, source: Tensor, lengths: Tensor) -> Places:
        return Places(source.masked_fill(source >= VOCABULARY, LETTERS.encode([" "])[0][0]))


def translator_of(scorer: Any, notes: list[str] | None = None, longest: int = 50) -> LineTranslator:
    return LineTranslator(
        scorer=scorer,
        source=LETTERS,
        target=LETTERS,
        search=GreedySearch(kind="greedy"),
        device="cpu",
        longest=longest,
        report=(notes if notes is not None else []).append,
    )


def model_of(decoder: AnyDecoder, **choices: Any) -> Seq2Seq:
    torch.manual_seed(5)
    recipe = Model(embeddings=6, encoder=Encoder(width=5), decoder=decoder, **choices)
    model = Seq2Seq(recipe, VOCABULARY, VOCABULARY).eval()
    with torch.no_grad():
        model.output.weight.mul_(9.0)
    return model


@pytest.fixture(scope="module")
def subwords() -> Subwords:
    recipe = SubwordTokenizer(kind="unigram", vocabulary=32, max_sentences=100)
    trainer = SubwordTrainer(recipe, 1)
    trainer.add(["der kleine hund läuft über die wiese", "die katze schläft unter dem baum"] * 9)
    return trainer.train()


# Alignments.


@pytest.mark.parametrize(
    ("weights", "source", "target", "expected"),
    [
        (np.eye(4), [0, 1, 2, -1], [0, 1, 2, -1], [(0, 0), (1, 1), (2, 2)]),
        # Reordered, without EOS.
        ([[0.1, 0.9], [0.8, 0.2]], [0, 1], [0, 1], [(0, 1), (1, 0)]),
        # Two pieces of 0.3 outweigh a word of 0.4.
        ([[0.3, 0.4, 0.3]], [0, 1, 0], [0], [(0, 0)]),
        # The mean over a target word's pieces: (0.2 + 0.9) / 2 against (0.8 + 0.1) / 2.
        ([[0.8, 0.2], [0.1, 0.9]], [0, 1], [0, 0], [(1, 0)]),
        # What is looked up at </s> most is linked to nothing.
        ([[0.4, 0.6], [0.6, 0.4]], [0, -1], [0, 1], [(0, 1)]),
        # Equal weights: the earlier word.
        ([[0.5, 0.5]], [0, 1], [0], [(0, 0)]),
        # A word that has no token of its own has no link.
        (np.eye(2), [0, 2], [0, 2], [(0, 0), (2, 2)]),
        (np.zeros((0, 0)), [], [], []),
        (np.zeros((1, 0)), [], [-1], []),
    ],
)
def test_links_of_matrices_with_known_answers(
    weights: Any, source: list[int], target: list[int], expected: list[tuple[int, int]]
) -> None:
    assert align_words(np.array(weights, dtype=np.float32), source, target) == expected


def test_word_weights_keep_the_sum_of_their_rows() -> None:
    weights = np.random.default_rng(3).dirichlet(np.ones(7), size=5).astype(np.float32)
    found = word_weights(weights, [0, 0, 1, 2, 2, 2, -1], [0, 1, 1, 2, -1])
    assert found.shape == (3, 4)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(found[1], word_weights(weights[1:3].mean(0, keepdims=True),
                               [0, 0, 1, 2, 2, 2, -1], [0])[0])  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "der kleine hund läuft",
        "  der \t kleine\u00a0hund  läuft ",
        "der \u200b hund",
        "der ☃ hund☃wiese",
        "x",
        "\x07 der",
    ],
)
def test_every_source_token_has_the_word_it_is_a_part_of(subwords: Subwords, line: str) -> None:
    """The pieces of a word spell it, independent of its context."""
    (ids,) = subwords.encode([line])
    word_ids = source_word_ids(subwords, line, ids)
    assert word_ids == sorted(word_ids)
    for place, word in enumerate(line.split()):
        own = [token for token, word in zip(ids, word_ids, strict=True) if word == place]
        assert own == subwords.encode([word])[0]


def test_word_ids_of_characters_and_words() -> None:
    line = " ab  c"
    (ids,) = LETTERS.encode([line])
    # A space goes with the word behind it.
    assert source_word_ids(LETTERS, line, ids) == [0, 0, 0, 1, 1, 1]
    assert target_word_ids(LETTERS, ids) == [0, 0, 0, 1, 1, 1]
    assert target_word_ids(LETTERS, LETTERS.encode(["a "])[0]) == [0, 0]
    tokens = Words(["ab", "c"])
    assert source_word_ids(tokens, "ab xyz c", tokens.encode(["ab xyz c"])[0]) == [0, 1, 2]
    assert source_word_ids(tokens, "ab\u00a0c c", tokens.encode(["ab\u00a0c c"])[0]) == [0, 1, 2]
    # A zero-width space ends a token but not a word of the line.
    assert source_word_ids(tokens, "ab\u200bc c", tokens.encode(["ab\u200bc c"])[0]) == [0, 0, 1]
    # In this vocabulary, a no-break space ends a word of the line but not a token.
    exact = Words(["ab", "c", "d\u00a0e"])
    assert source_word_ids(exact, "ab\u00a0c c", exact.encode(["ab\u00a0c c"])[0]) == [0, 2]
    assert target_word_ids(tokens, tokens.encode(["c ab"])[0]) == [0, 1]
    assert target_word_ids(tokens, []) == []


def test_target_word_ids_follow_the_printed_words(subwords: Subwords) -> None:
    for line in ("die katze schläft", "der baumhund", "die ☃ wiese"):
        (ids,) = subwords.encode([line])
        word_ids = target_word_ids(subwords, ids)
        assert word_ids == sorted(word_ids)
        assert set(word_ids) == set(range(len(subwords.decode([ids])[0].split())))


# From the model to the map.


def test_a_copy_is_aligned_along_the_diagonal() -> None:
    lines = ["ab c dea", "", "  ", "b", "a  b ,"]
    maps = attention_maps(translator_of(Copy()), lines)
    assert [found.source_text for found in maps] == lines
    assert [found.alignments() for found in maps] == ["0-0 1-1 2-2", "", "", "0-0", "0-0 1-1 2-2"]
    assert maps[0].source == maps[0].target == (*"ab▁c▁dea", "</s>")
    np.testing.assert_array_equal(maps[0].weights, np.eye(9))
    assert maps[1].weights.shape == (0, 0)
    assert maps[1].source == maps[1].target == ()


WIRINGS = [
    LuongDecoder(kind="luong", width=7),
    LuongDecoder(kind="luong", width=7, layers=2, input_feeding=True),
    BahdanauDecoder(kind="bahdanau", width=7),
    StackedDecoder(kind="stacked", width=7),
    ConditionalDecoder(kind="conditional", width=7),
]


@pytest.mark.parametrize("decoder", WIRINGS, ids=str)
def test_a_row_is_what_its_own_token_was_predicted_with(decoder: AnyDecoder) -> None:
    """The step that predicts token i gives row i under teacher forcing too: nothing is shifted."""
    model = model_of(decoder)
    (ids,) = LETTERS.encode(["abc de"])
    (found,) = attention_maps(translator_of(model), ["abc de"])
    assert found.weights.shape == (len(found.target), len(ids) + 1)
    np.testing.assert_allclose(found.weights.sum(axis=1), 1.0, rtol=1e-5)
    output = LETTERS.encode([found.target_text])[0]
    read = torch.tensor([[BOS, *output]])
    with torch.no_grad():
        memory = model.encode(torch.tensor([[*ids, EOS]]), torch.tensor([len(ids) + 1]))
        decoded = model.decoder.teacher_forced(memory, model.target_embedding(read.t()))
        logits = model.output(decoded.readout)[:, 0]
    assert decoded.weights is not None
    rows = len(found.target)
    np.testing.assert_allclose(decoded.weights[0, :rows].numpy(), found.weights, atol=1e-5)
    logits[:, [PAD, BOS]] = -torch.inf
    assert logits.argmax(-1)[:rows].tolist() == [*output, EOS][:rows]


def test_a_map_shows_the_translation_that_translate_gives() -> None:
    translator = translator_of(model_of(WIRINGS[0]))
    lines = ["abc de.", "", "f g", "pon ml" * 9]
    assert [m.target_text for m in attention_maps(translator, lines)] == translator(lines)
    settings = SampleSearch(kind="sample", samples=2, seed=4)
    sampling = replace(translator, search=settings)
    assert [m.target_text for m in map_stream(sampling, lines, 2)] == sampling(lines)
    one_by_one = [m.alignments() for m in map_stream(translator, iter(lines), 1)]
    assert one_by_one == [m.alignments() for m in map_stream(translator, lines, 99)]


@pytest.mark.parametrize("line", ["ab cd. ef, gh ij. kl " * 6, "abcdefgh" * 20, "ab " * 66 + "cd"])
def test_a_line_in_pieces_keeps_its_words(line: str) -> None:
    notes: list[str] = []
    (found,) = attention_maps(translator_of(Copy(), notes, longest=12), [line])
    assert len(notes) == 1
    assert found.source.count("</s>") == found.target.count("</s>") > 1
    np.testing.assert_array_equal(found.weights, np.eye(len(found.source)))
    text = "".join(line.split())
    spelled = [""] * len(line.split())
    for token, word in zip(found.source, found.source_word_ids, strict=True):
        if word >= 0:
            spelled[word] += token.replace("▁", "")
    assert spelled == line.split()
    assert "".join(found.target_text.split()) == text
    assert len(found.alignments().split()) == len(found.target_text.split())


def test_a_long_line_with_source_features_stays_whole_as_in_translate() -> None:
    """Features belong to the whole line, so neither command cuts it."""
    tokenizer = SourceFeatureTokenizer(LETTERS, Words(["N", "PL"]))
    recipe = Model(embeddings=6, encoder=Encoder(width=5), decoder=WIRINGS[0])
    torch.manual_seed(5)
    model = Seq2Seq(recipe, tokenizer.size, VOCABULARY).eval()
    notes: list[str] = []
    short = translator_of(model, notes, longest=4)
    featured = replace(short, source=tokenizer)
    lines = ["ab cd. ef, gh ij. kl\tN PL", "ab\tN"]
    maps = attention_maps(featured, lines)
    assert not notes
    assert [found.target_text for found in maps] == featured(lines)
    assert [found.source.count("</s>") for found in maps] == [1, 1]
    assert maps[0].source == (*"ab▁cd.▁ef,▁gh▁ij.▁kl", "⇥", "N", "PL", "</s>")


@pytest.mark.parametrize("front", ["<2en> ", "<2en>", ""])
def test_the_pieces_of_a_line_with_tags_keep_its_words(front: str) -> None:
    """The tag of a line, or of `--tag`, precedes every piece."""
    tokenizer = Tagged(LETTERS, ["<2en>"])
    translator = replace(translator_of(TaggedCopy(), longest=5), source=tokenizer, tag="<2en>")
    line = f"{front}ab cd. ef, gh ij. kl mn"
    (found,) = attention_maps(translator, [line])
    assert [found.target_text] == translator([line])
    assert found.source_text == (line if front else f"<2en> {line}")
    words = found.source_text.split()
    spelled = [""] * len(words)
    for token, word in zip(found.source, found.source_word_ids, strict=True):
        if word >= 0 and token != "<2en>":
            spelled[word] += token.replace("▁", "")
    assert spelled == [word.removeprefix("<2en>") for word in words]
    assert found.source.count("<2en>") == found.source.count("</s>") > 1


def test_a_model_without_attention_has_no_map() -> None:
    model = model_of(WIRINGS[0], attention=NoAttention(kind="none"))
    with pytest.raises(UsageError, match=r"no attention \(model\.attention\.kind: none\)"):
        attention_maps(translator_of(model), ["abc"])


# The command.


@pytest.fixture
def extended_vocabulary(monkeypatch, tmp_path: Path) -> Path:
    """The command with a model that copies; the folder it runs in."""
    chosen = SimpleNamespace(folder=tmp_path / "copy", name="copy")
    monkeypatch.setattr(command, "choose_runs", lambda *_: [chosen])
    monkeypatch.setattr(command, "choose_search", lambda *choices: None)
    monkeypatch.setattr(pipeline_ensemble, "load_ensemble", lambda *_, **__: translator_of(Copy()))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("ab c\n\nd\n")
    return tmp_path


def test_the_command_prints_alignments_a_line_for_a_line(extended_vocabulary: Path, capfd) -> None:
    assert run(["attention", "--input", "in.txt", "--alignments", "--batch-size", "2"]) == 0
    assert capfd.readouterr() == ("0-0 1-1\n\n0-0\n", "")


def test_the_command_draws_on_stdout(extended_vocabulary: Path, capfd) -> None:
    assert run(["attention", "--input", "in.txt"]) == 0
    out = capfd.readouterr().out
    assert "1: ab c → ab c" in out and "3: d → d" in out
    assert out.count("█100") == 7
    assert "\n2: (an empty line)\n\n3: d" in out
    assert max(map(cell_len, out.split("\n"))) < 130


def test_the_command_writes_files(extended_vocabulary: Path, capfd) -> None:
    pytest.importorskip("PIL", reason="pictures need Pillow")
    files = ["--html", "a.html", "--npz", "a.npz", "--png", "p"]
    assert run(["attention", "--input", "in.txt", *files]) == 0
    assert capfd.readouterr().out == ""
    assert "Attention of copy" in (extended_vocabulary / "a.html").read_text()
    assert sorted(path.name for path in (extended_vocabulary / "p").iterdir()) == [
        "line-1.png",
        "line-3.png",
    ]


def test_input_that_is_no_text_is_a_line_on_stderr(extended_vocabulary: Path, capfd) -> None:
    (extended_vocabulary / "bad.txt").write_bytes(b"ok\n\xff\n")
    assert run(["attention", "--input", "bad.txt", "--alignments"]) == 2
    assert "bad.txt:2: not valid UTF-8" in capfd.readouterr().err


@pytest.mark.parametrize(("no_color", "coloured"), [(None, True), ("1", False)])
def test_no_color_asks_for_shades(
    monkeypatch: pytest.MonkeyPatch, no_color: str | None, coloured: bool
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    assert command._Drawer(None).is_coloured is coloured
