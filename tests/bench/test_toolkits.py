"""Recipes in the options of other toolkits, and what has no counterpart there."""

from pathlib import Path

import pytest

from s2s.bench.toolkits import MARIAN, OPENNMT, Toolkit, options_of
from s2s.errors import RecipeError
from tests.bench.compared_recipes import TOOLKITS, recipe_of


def as_pairs(options: list[str]) -> dict[str, list[str]]:
    """Options and their values."""
    found: dict[str, list[str]] = {}
    for word in options:
        if word.startswith("-") and not word[1:2].isdigit():
            found[word] = []
        else:
            found[list(found)[-1]].append(word)
    return found


def test_a_recipe_in_options_of_opennmt(tmp_path: Path) -> None:
    """Names of onmt/opts.py 3.5.1. Its `hidden_size` is that of both directions together."""
    found = as_pairs(options_of(OPENNMT, recipe_of("opennmt", tmp_path)))
    expected = {
        "-encoder_type": ["brnn"],
        "-decoder_type": ["rnn"],
        "-rnn_type": ["LSTM"],
        "-layers": ["2"],
        "-word_vec_size": ["12"],
        "-hidden_size": ["12"],
        "-global_attention": ["general"],
        "-input_feed": ["1"],
        "-share_decoder_embeddings": [],
        "-dropout": ["0.3"],
        "-label_smoothing": ["0.2"],
        "-optim": ["adam"],
        "-learning_rate": ["0.002"],
        "-adam_beta1": ["0.8"],
        "-adam_beta2": ["0.95"],
        "-max_grad_norm": ["3.0"],
        "-average_decay": ["0.25"],
    }
    assert {name: found[name] for name in expected} == expected


def test_a_recipe_in_options_of_marian(tmp_path: Path) -> None:
    """Names of `marian train --help` 1.12.42. Its `dim-rnn` is that of one direction."""
    found = as_pairs(options_of(MARIAN, recipe_of("marian", tmp_path)))
    expected = {
        "--type": ["s2s"],
        "--enc-type": ["bidirectional"],
        "--enc-cell": ["lstm"],
        "--dec-cell": ["lstm"],
        "--dec-depth": ["2"],
        "--dim-emb": ["12"],
        "--dim-rnn": ["6"],
        "--tied-embeddings": [],
        "--dropout-rnn": ["0.3"],
        "--label-smoothing": ["0.2"],
        "--optimizer": ["adam"],
        "--learn-rate": ["0.002"],
        "--optimizer-params": ["0.8", "0.95", "1e-08"],
        "--clip-norm": ["3.0"],
        "--exponential-smoothing": ["0.25"],
    }
    assert found == expected


@pytest.mark.parametrize(
    ("name", "overrides", "options"),
    [
        ("opennmt", ["model.decoder.input_feeding=false"], {"-input_feed": ["0"]}),
        ("opennmt", ["model.attention.kind=additive"], {"-global_attention": ["mlp"]}),
        ("opennmt", ["model.attention.kind=dot"], {"-global_attention": ["dot"]}),
        ("opennmt", ["train.clip_norm=null"], {"-max_grad_norm": ["0.0"]}),
        ("opennmt", ["train.average=0"], {"-average_decay": ["0.0"]}),
        (
            "opennmt",
            ["model.encoder.bidirectional=false", "model.encoder.width=12"],
            {"-encoder_type": ["rnn"], "-hidden_size": ["12"]},
        ),
        ("marian", ["train.clip_norm=null"], {"--clip-norm": ["0.0"]}),
        ("marian", ["model.tied=none"], {}),
    ],
)
def test_choices_in_options(
    name: str, overrides: list[str], options: dict[str, list[str]], tmp_path: Path
) -> None:
    found = as_pairs(options_of(TOOLKITS[name], recipe_of(name, tmp_path, *overrides)))
    assert options.items() <= found.items()
    if "model.tied=none" in overrides:
        assert not [option for option in found if "tied" in option or "share" in option]


def test_all_embeddings_tied(tmp_path: Path) -> None:
    overrides = ["tokenizer={kind: bpe, vocabulary: 90}", "model.tied=all"]
    found = as_pairs(options_of(OPENNMT, recipe_of("opennmt", tmp_path, *overrides)))
    assert {"-share_vocab", "-share_embeddings", "-share_decoder_embeddings"} <= {*found}
    found = as_pairs(options_of(MARIAN, recipe_of("marian", tmp_path, *overrides)))
    assert "--tied-embeddings-all" in found and "--tied-embeddings" not in found


BOTH: list[tuple[list[str], str]] = [
    (["model.copy=pointer"], "model.copy: expected none, as {}, found pointer"),
    (["model.coverage=true"], "model.coverage: expected false, as {}, found true"),
    (["model.context_gate=true"], "model.context_gate: expected false, as {}, found true"),
    (["model.encoder.cell.kind=gru"], "model.encoder.cell.kind: expected lstm, as {}, found gru"),
    (["model.decoder.transitions=2"], "model.decoder.transitions: expected 1, as {}, found 2"),
    (["model.attention.heads=2"], "model.attention.heads: expected 1, as {}, found 2"),
    (["model.dropout.word=0.1"], "model.dropout.word: expected 0.0, as {}, found 0.1"),
    (["train.accumulate=2"], "train.accumulate: expected 1, as {}, found 2"),
    (["train.r_drop=5"], "train.r_drop: expected 0.0, as {}, found 5.0"),
    (["train.optimizer.kind=adamw"], "train.optimizer.kind: expected adam, as {}, found adamw"),
    (
        ["train.scheduled_sampling={kind: linear, updates: 9, least: 0.5}"],
        "train.scheduled_sampling: expected null, as {}, found a section",
    ),
]

OWN: list[tuple[str, list[str], str]] = [
    (
        "opennmt",
        ["model.decoder={kind: stacked, width: 12}"],
        "model.decoder.kind: expected luong, as {}, found stacked",
    ),
    (
        "opennmt",
        ["model.embeddings=10"],
        "model.embeddings: expected model.decoder.width, 12, which is its readout's, as {}, "
        "found 10",
    ),
    (
        "opennmt",
        ["model.encoder.width=5"],
        "model.encoder.width: expected model.decoder.width over 2 directions, 6, as {}, found 5",
    ),
    (
        "opennmt",
        ["model.encoder.layers=1"],
        "model.encoder.layers: expected model.decoder.layers, 2, as {}, found 1",
    ),
    (
        "opennmt",
        ["model.attention={kind: additive, width: 9}"],
        "model.attention.width: expected model.decoder.width, 12, as {}, found 9",
    ),
    (
        "opennmt",
        ["model.attention.kind=scaled_dot"],
        "model.attention.kind: expected general, dot or additive, as {}, found scaled_dot",
    ),
    (
        "marian",
        ["model.decoder.kind=bahdanau"],
        "model.decoder.kind: expected conditional, as {}, found bahdanau",
    ),
    (
        "marian",
        ["model.encoder.layers=2"],
        "model.encoder.layers: expected 1, as {}, found 2",
    ),
    (
        "marian",
        ["model.encoder.bidirectional=false"],
        "model.encoder.bidirectional: expected true, as {}, found false",
    ),
    (
        "marian",
        ["model.decoder.width=8"],
        "model.encoder.width: expected model.decoder.width, 8, as {}, found 6",
    ),
    (
        "marian",
        ["model.attention={kind: general}"],
        "model.attention.kind: expected additive, as {}, found general",
    ),
    (
        "marian",
        ["model.attention={kind: additive}"],
        "model.attention.width: expected twice model.encoder.width, 12, as {}, found 6",
    ),
]


@pytest.mark.parametrize(
    ("name", "overrides", "complaint"),
    [*OWN, *((name, *case) for name in TOOLKITS for case in BOTH)],
)
def test_what_has_no_counterpart_is_refused(
    name: str, overrides: list[str], complaint: str, tmp_path: Path
) -> None:
    toolkit: Toolkit = TOOLKITS[name]
    with pytest.raises(RecipeError) as caught:
        options_of(toolkit, recipe_of(name, tmp_path, *overrides))
    expected = complaint.format(f"{toolkit.title} has it")
    assert caught.value.faults == (f"--compare {name}: {expected}",)


def test_two_toolkits_of_one_recipe_are_none(tmp_path: Path) -> None:
    """No recipe has a counterpart in both, so a comparison has one other toolkit."""
    for name, other in (("opennmt", MARIAN), ("marian", OPENNMT)):
        with pytest.raises(RecipeError, match=r"model\.decoder\.kind"):
            options_of(other, recipe_of(name, tmp_path))
