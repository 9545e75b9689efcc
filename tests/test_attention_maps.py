"""Attention maps: weights of the right tokens, alignments of the right words, pictures of both."""

import io
import subprocess
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rich.cells import cell_len
from torch import Tensor

from s2s import attention_files, pipeline
from s2s.attention import AttentionMap, attention_maps, map_stream
from s2s.attention_files import MapFiles
from s2s.attention_html import page
from s2s.attention_npz import write_npz
from s2s.attention_terminal import legend, render
from s2s.attention_tokens import clusters, visible
from s2s.attention_words import align_words, source_owners, target_owners, word_weights
from s2s.errors import DataError, UsageError
from s2s.nn.model import Seq2Seq
from s2s.nn.step import Step
from s2s.recipe import (
    BahdanauDecoder,
    Decoder,
    Encoder,
    GreedySearch,
    LuongDecoder,
    Model,
    NoAttention,
    StackedDecoder,
    SubwordTokenizer,
)
from s2s.text.special import BOS, EOS, PAD
from s2s.text.subword import Subwords, SubwordTrainer
from s2s.text.vocabulary import Characters, Words
from s2s.translate import LineTranslator
from s2s_cli import attention as command
from s2s_cli.main import run

LETTERS = Characters("abcdefghijklmnop .,")
VOCABULARY = LETTERS.size


def map_of(
    source: Sequence[str], target: Sequence[str], weights: NDArray[np.float32] | None = None
) -> AttentionMap:
    """A word per token; a diagonal if no weights are given."""
    if weights is None:
        weights = np.zeros((len(target), len(source)), dtype=np.float32)
        if source:
            for row in range(len(target)):
                weights[row, min(row, len(source) - 1)] = 1.0
    return AttentionMap(
        source_text=" ".join(source[:-1]),
        target_text=" ".join(target[:-1]),
        source=tuple(source),
        target=tuple(target),
        weights=weights,
        source_owners=(*range(len(source) - 1), -1) if source else (),
        target_owners=(*range(len(target) - 1), -1) if target else (),
    )


def words(prefix: str, count: int) -> list[str]:
    return [*(f"▁{prefix}{place}" for place in range(count)), "</s>"]


EMPTY = map_of([], [])
MIXED = map_of(
    ["▁كلب", "▁صغير", "犬が", "▁läuft", "</s>"], ["小さな", "犬", "▁שלום", "e\u0301", "</s>"]
)
HOSTILE = map_of(["<script>alert(1)</script>", '"&\u202e', "</s>"], ["\x00", "a\x1bb", "</s>"])


class Places:
    """Rows of integers."""

    def __init__(self, x: Tensor) -> None:
        self.x = x

    def select(self, rows: Tensor) -> "Places":
        return Places(self.x[rows])

    def put(self, rows: Tensor, other: "Places") -> "Places":
        return Places(self.x.index_copy(0, rows, other.x))


class Copy:
    """A scorer that repeats its source and looks at what it repeats."""

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


def model_of(decoder: Decoder, **choices: Any) -> Seq2Seq:
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
    """The pieces of a word spell it, whatever stands around it."""
    (ids,) = subwords.encode([line])
    owners = source_owners(subwords, line, ids)
    assert owners == sorted(owners)
    for place, word in enumerate(line.split()):
        own = [token for token, owner in zip(ids, owners, strict=True) if owner == place]
        assert own == subwords.encode([word])[0]


def test_owners_of_characters_and_words() -> None:
    line = " ab  c"
    (ids,) = LETTERS.encode([line])
    # A space goes with the word behind it.
    assert source_owners(LETTERS, line, ids) == [0, 0, 0, 1, 1, 1]
    assert target_owners(LETTERS, ids) == [0, 0, 0, 1, 1, 1]
    assert target_owners(LETTERS, LETTERS.encode(["a "])[0]) == [0, 0]
    tokens = Words(["ab", "c"])
    assert source_owners(tokens, "ab xyz c", tokens.encode(["ab xyz c"])[0]) == [0, 1, 2]
    # A no-break space ends a word of the line but not a token.
    assert source_owners(tokens, "ab\u00a0c c", tokens.encode(["ab\u00a0c c"])[0]) == [0, 2]
    assert target_owners(tokens, tokens.encode(["c ab"])[0]) == [0, 1]
    assert target_owners(tokens, []) == []


def test_target_owners_follow_the_printed_words(subwords: Subwords) -> None:
    for line in ("die katze schläft", "der baumhund", "die ☃ wiese"):
        (ids,) = subwords.encode([line])
        owners = target_owners(subwords, ids)
        assert owners == sorted(owners)
        assert set(owners) == set(range(len(subwords.decode([ids])[0].split())))


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
]


@pytest.mark.parametrize("decoder", WIRINGS, ids=str)
def test_a_row_is_what_its_own_token_was_predicted_with(decoder: Decoder) -> None:
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
    for token, owner in zip(found.source, found.source_owners, strict=True):
        if owner >= 0:
            spelled[owner] += token.replace("▁", "")
    assert spelled == line.split()
    assert "".join(found.target_text.split()) == text
    assert len(found.alignments().split()) == len(found.target_text.split())


def test_a_model_without_attention_has_no_map() -> None:
    model = model_of(WIRINGS[0], attention=NoAttention(kind="none"))
    with pytest.raises(UsageError, match=r"no attention \(model\.attention\.kind: none\)"):
        attention_maps(translator_of(model), ["abc"])


# Tokens.


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ("▁Ein", "▁Ein"),
        (" ", "▁"),
        ("", "∅"),
        ("\x00", "␀"),
        ("a\x1bb", "a␛b"),
        ("\x7f", "␡"),
        ("\u202ea", "<U+202E>a"),
        ("\u0085", "<U+0085>"),
        ("\u3000", "<U+3000>"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("\u200c", "<U+200C>"),
        ("\u0301", "◌\u0301"),
        ("e\u0301", "e\u0301"),
        ("</s>", "</s>"),
    ],
)
def test_nothing_in_a_token_is_invisible(token: str, shown: str) -> None:
    assert visible(token) == shown


def test_marks_stay_with_their_letters() -> None:
    assert clusters("e\u0301x\u0302\u0303") == ["e\u0301", "x\u0302\u0303"]
    assert clusters("") == []


# The terminal.

MAPS = [
    MIXED,
    HOSTILE,
    map_of(words("wort", 4), words("word", 4)),
    map_of(words("wort", 24), words("word", 19)),
    map_of(words("wort", 79), words("word", 70)),
    map_of(words("w", 200), words("x", 180)),
]


def columns_of(lines: list[str], rows: int) -> str:
    """Header letters read downwards: cells of a wide letter are it and a hole."""
    grid = [[c for letter in clusters(line) for c in (letter, "")[: cell_len(letter)]]
            for line in lines[:rows]]  # fmt: skip
    width = max(map(len, grid))
    return " ".join(
        "".join(line[x] for line in grid if x < len(line) and line[x] != " ") for x in range(width)
    )


@pytest.mark.parametrize("attention", MAPS, ids=lambda m: f"{len(m.source)} tokens")
@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_terminal_loses_no_token(attention: AttentionMap, width: int) -> None:
    plain = render(attention, width, coloured=False).plain
    assert max(map(cell_len, plain.split("\n"))) <= width
    labels = [visible(token) for token in attention.target]
    seen: list[str] = []
    header = ""
    for panel in plain.split("\n\n"):
        lines = panel.split("\n")
        rows = [line for line in lines if line.strip().startswith(tuple(labels))]
        rows = [line for line in rows if any(shade in line for shade in "·░▒▓█")]
        seen += [line.split()[0] for line in rows]
        header += columns_of(lines, len(lines) - len(rows)) + " " + " ".join(lines[:1]) + " "
    assert set(labels) <= set(seen)
    assert [t for t in attention.source if visible(t) not in header.split()] == []


def test_a_panel_leaves_out_rows_with_nothing_to_show() -> None:
    plain = render(MAPS[4], 80, coloured=False).plain
    assert plain.count("▁word0 ") == 1
    # A row that is flat everywhere still stands where it is largest.
    flat = np.full((1, 80), 1 / 80, dtype=np.float32)
    flat[0, 40] += 0.001
    drawn = render(map_of(words("w", 79), ["</s>"], flat), 80, coloured=False).plain
    assert sum(line.startswith("</s> ") for line in drawn.split("\n")) == 1


def test_colours_change_no_cell() -> None:
    for attention in MAPS:
        plain = render(attention, 80, coloured=False).plain.split("\n")
        coloured = render(attention, 80, coloured=True)
        assert [cell_len(line) for line in coloured.plain.split("\n")] == list(map(cell_len, plain))
        assert coloured.spans
    assert not render(MIXED, 80, coloured=False).spans


def test_numbers_stand_where_they_fit() -> None:
    weights = np.array([[0.873, 0.12, 0.007], [0.004, 0, 0.996]], dtype=np.float32)
    drawn = render(map_of(["a", "b", "</s>"], ["x", "</s>"], weights), 80, coloured=False).plain
    assert [line.split() for line in drawn.split("\n")] == [
        ["a", "b", "</s>"],
        ["x", "█", "87", "░", "12", "·", "1"],
        ["</s>", "·", "·", "█100"],
    ]
    assert "·" in legend(coloured=False).plain
    assert "100%" in legend(coloured=True).plain


def test_an_empty_map_is_drawn_as_nothing() -> None:
    assert render(EMPTY, 80, coloured=True).plain == ""


def test_a_label_that_is_too_long_is_cut() -> None:
    drawn = render(map_of(["a" * 90, "</s>"], ["犬" * 50, "</s>"]), 80, coloured=False).plain
    assert max(map(cell_len, drawn.split("\n"))) <= 80
    assert "犬…" in drawn


# HTML.


class Reader(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.headers: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self.tags and self.tags[-1] == "bdi":
            self.headers.append(data)


def test_the_page_needs_nothing_else_and_runs_nothing() -> None:
    text = "".join(page([MIXED, EMPTY, HOSTILE], "Attention of <run>"))
    reader = Reader(text)
    assert not {"script", "link", "img", "iframe", "object", "svg"} & set(reader.tags)
    names = {name for name, _ in reader.attributes}
    assert not {"src", "href", "onclick", "onload"} & names
    assert "url(" not in text and "@import" not in text and "http" not in text
    assert "Attention of <run>" in reader.texts
    assert "<script>" not in text and "\u202e" not in text and "\x1b" not in text
    assert reader.tags.count("section") == 3
    assert "(an empty line)" in reader.texts


def test_the_page_holds_every_token_and_weight() -> None:
    attention = map_of(words("w", 2), words("v", 1), np.array([[0.25, 0.75, 0], [0, 0.0006, 1]]))
    for found in (attention, MIXED, HOSTILE):
        reader = Reader("".join(page([found], "x")))
        tokens = [visible(token) for token in (*found.source, *found.target)]
        assert [header for header in reader.headers if header.strip()] == tokens
    tips = [value for name, value in Reader("".join(page([attention], "x"))).attributes
            if name == "data-t" and value]  # fmt: skip
    assert [float(tip.split(":")[0]) for tip in tips] == [0.25, 0.75, 0.0, 0.0, 0.001, 1.0]


def test_large_tables_have_small_cells() -> None:
    assert 'class="large"' in "".join(page([MAPS[4]], "x"))
    assert 'class="large"' not in "".join(page([MIXED], "x"))


# Arrays.


def test_arrays_come_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.npz"
    write_npz(path, [MIXED, EMPTY, MAPS[3]])
    with np.load(path, allow_pickle=False) as stored:
        assert len(stored.files) == 9
        for number, attention in enumerate((MIXED, EMPTY, MAPS[3]), start=1):
            np.testing.assert_array_equal(stored[f"weights_{number}"], attention.weights)
            assert stored[f"weights_{number}"].dtype == np.float32
            assert tuple(stored[f"source_{number}"].tolist()) == attention.source
            assert tuple(stored[f"target_{number}"].tolist()) == attention.target


# Pictures.


@pytest.mark.parametrize("attention", MAPS, ids=lambda m: f"{len(m.source)} tokens")
def test_a_picture_has_a_cell_for_every_weight(attention: AttentionMap) -> None:
    image = pytest.importorskip("PIL.Image", reason="pictures need Pillow: s2s[plots]")
    from s2s.attention_png import GAP, MARGIN, png, scale_of

    with image.open(io.BytesIO(png(attention))) as picture:
        assert picture.format == "PNG"
        cell = scale_of(attention).cell
        rows, columns = attention.weights.shape
        # Labels take what is left, which is at least a letter.
        left = picture.width - columns * cell - 2 * MARGIN - GAP
        top = picture.height - rows * cell - 2 * MARGIN - GAP
        assert 8 <= left <= 400 and 8 <= top <= 400
        # Corners of the cells: 1 is yellow, 0 is violet, as long as the map is diagonal.
        first = (MARGIN + left + GAP + 2, MARGIN + top + GAP + 2)
        assert picture.getpixel(first) == (253, 231, 37)
        assert picture.getpixel((first[0], first[1] + cell)) == (68, 1, 84)


def test_letters_without_a_font_are_reported(tmp_path: Path) -> None:
    pytest.importorskip("PIL", reason="pictures need Pillow: s2s[plots]")
    notes: list[str] = []
    maps = [map_of(["\U0001f9ff\U000130b9", "</s>"], ["a", "</s>"]), EMPTY, map_of(
        words("w", 601), words("v", 3))]  # fmt: skip
    MapFiles(png=tmp_path / "p").write(maps, "x", notes.append)
    assert [path.name for path in sorted((tmp_path / "p").iterdir())] == ["line-1.png"]
    assert notes[0] == "line 3: 602 tokens are too many for a picture (600 at most)"
    assert all("no font here has" in note for note in notes[1:])


def test_a_font_that_is_none_is_the_users_mistake(tmp_path: Path) -> None:
    pytest.importorskip("PIL", reason="pictures need Pillow: s2s[plots]")
    font = tmp_path / "no.ttf"
    font.write_text("no font")
    with pytest.raises(DataError, match=r"no\.ttf: cannot be read as a font"):
        MapFiles(png=tmp_path, fonts=(font,)).write([MIXED], "x", print)


def test_pictures_without_pillow_are_refused_in_a_line(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(attention_files, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"--png needs Pillow: pip install 's2s\[plots\]'"):
        MapFiles(png=tmp_path)
    assert MapFiles().is_empty


def test_the_other_formats_do_without_pillow() -> None:
    code = "import sys; sys.modules['PIL'] = None; import s2s.attention_files, s2s_cli.attention"
    subprocess.run([sys.executable, "-c", code], check=True)


# The command.


@pytest.fixture
def copying(monkeypatch, tmp_path: Path) -> Path:
    """The command with a model that copies; the folder it runs in."""
    chosen = SimpleNamespace(folder=tmp_path / "copy")
    monkeypatch.setattr(command, "choose_run", lambda run, runs: chosen)
    monkeypatch.setattr(command, "choose_search", lambda *choices: None)
    monkeypatch.setattr(pipeline, "load_translator", lambda *_, **__: translator_of(Copy()))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.txt").write_text("ab c\n\nd\n")
    return tmp_path


def test_the_command_prints_alignments_a_line_for_a_line(copying: Path, capfd) -> None:
    assert run(["attention", "--input", "in.txt", "--alignments", "--batch-size", "2"]) == 0
    assert capfd.readouterr() == ("0-0 1-1\n\n0-0\n", "")


def test_the_command_draws_on_stdout(copying: Path, capfd) -> None:
    assert run(["attention", "--input", "in.txt"]) == 0
    out = capfd.readouterr().out
    assert "1: ab c → ab c" in out and "3: d → d" in out
    assert out.count("█100") == 7
    assert "\n2: (an empty line)\n\n3: d" in out
    assert max(map(cell_len, out.split("\n"))) < 130


def test_the_command_writes_files(copying: Path, capfd) -> None:
    pytest.importorskip("PIL", reason="pictures need Pillow: s2s[plots]")
    files = ["--html", "a.html", "--npz", "a.npz", "--png", "p"]
    assert run(["attention", "--input", "in.txt", *files]) == 0
    assert capfd.readouterr().out == ""
    assert "Attention of copy" in (copying / "a.html").read_text()
    assert sorted(path.name for path in (copying / "p").iterdir()) == ["line-1.png", "line-3.png"]


def test_input_that_is_no_text_is_a_line_on_stderr(copying: Path, capfd) -> None:
    (copying / "bad.txt").write_bytes(b"ok\n\xff\n")
    assert run(["attention", "--input", "bad.txt", "--alignments"]) == 2
    assert "bad.txt:2: not valid UTF-8" in capfd.readouterr().err
