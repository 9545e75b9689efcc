"""What the service answers is what the commands write."""

import json
from pathlib import Path

import numpy as np
import pytest

from s2s.inference.attention.maps import attention_maps
from s2s.inference.glossary import Glossary
from s2s.inference.load import load_translator
from s2s.run.directory import Run
from tests.commands import INPUT, Call, call
from tests.serve.servers import Client, serving

__all__ = ["call"]

pytestmark = pytest.mark.usefixtures("one_thread", "here")

LINES = ["0 1 2", "", "  \t", "3 4 5", "7 7 7 7", "5 4 3", "1"]


def translate(call: Call, *options: str, lines: list[str] = LINES) -> list[str]:
    """The lines that the command writes."""
    stdin = "".join(f"{line}\n" for line in lines).encode()
    output = call.output("translate", "--run", "spell", *options, stdin=stdin)
    return output.decode().removesuffix("\n").split("\n")


def listed(call: Call, *options: str) -> list[list[dict[str, object]]]:
    """The outputs of each line that the command lists."""
    found: list[list[dict[str, object]]] = [[] for _ in LINES]
    for row in translate(call, *options, "--format", "jsonl"):
        output = json.loads(row)
        del output["rank"]
        found[output.pop("line") - 1].append(output)
    return found


def test_plain_text_has_the_bytes_of_the_command(client: Client, call: Call) -> None:
    answer = client.text(INPUT.encode())
    assert answer.status == 200
    assert answer.body == call.output("translate", "--run", "spell", stdin=INPUT.encode())


def test_line_ends_and_white_space_are_those_of_files(client: Client) -> None:
    plain = client.ask("/v1/translate", text=["0 1 2", "3 4"])
    odd = client.ask("/v1/translate", text=["\ufeff0\u00a01\t2\r\n", "3\r4\u200b\n"])
    assert odd["lines"] == plain["lines"] and odd["notes"] == plain["notes"] == []
    body = b"0 1 2\n\n3 4\n"
    windows = b"\xef\xbb\xbf" + body.replace(b"\n", b"\r\n")
    assert client.text(windows).body == client.text(body).body
    scores = [
        client.ask("/v1/score", source=f"0 1{end}", target=f"eins null{end}") for end in ("", "\r")
    ]
    assert scores[0] == scores[1]


def test_unknown_words_are_in_the_notes(client: Client) -> None:
    notes = client.ask("/v1/translate", text=["0 x 2", "y\u2060"])["notes"]
    shown = "'x', 'y\\u2060' (U+2060 WORD JOINER)"
    said = "2 of 4 words of the input (50%) are unknown to the tokenizer"
    assert notes == [f"{said}: {shown}"]


@pytest.mark.parametrize(
    "raw", [b"", b"\n", b"\n\n", b"0 1", b"0 1\n", b"\xef\xbb\xbf0 1\n2", b"0 \xff 1\n\xc3\n"]
)
def test_odd_text_has_the_bytes_of_the_command(client: Client, call: Call, raw: bytes) -> None:
    assert client.text(raw).body == call.output("translate", "--run", "spell", stdin=raw)


def test_one_text_and_several(client: Client, call: Call) -> None:
    several = client.ask("/v1/translate", text=LINES)
    assert [line["text"] for line in several["lines"]] == translate(call)
    assert client.ask("/v1/translate", text=LINES[0])["lines"] == several["lines"][:1]
    assert several["model"] == "spell"
    assert client.ask("/v1/translate", text=[])["lines"] == []


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        (("--nbest", "3"), {"nbest": 3}),
        (("--search", "greedy"), {"search": {"kind": "greedy"}}),
        (
            ("--beam", "6", "--nbest", "2", "--length-penalty", "0.5"),
            {"search": {"width": 6, "length_penalty": 0.5}, "nbest": 2},
        ),
        (
            ("--samples", "4", "--temperature", "0.8", "--seed", "3"),
            {"search": {"samples": 4, "temperature": 0.8, "seed": 3}},
        ),
        (
            ("--search", "exhaustive", "--nodes", "200"),
            {"search": {"kind": "exhaustive", "nodes": 200}},
        ),
        (("--max-ratio", "1", "--max-offset", "0"), {"search": {"max_ratio": 1, "max_offset": 0}}),
        (("--must", "sieben", "--avoid", "drei"), {"must": ["sieben"], "avoid": ["drei"]}),
    ],
)
def test_outputs_are_those_of_the_command(
    client: Client, call: Call, options: tuple[str, ...], fields: dict[str, object]
) -> None:
    found = client.ask("/v1/translate", text=LINES, **fields)
    assert [line["outputs"] for line in found["lines"]] == listed(call, *options)


def test_a_forced_prefix(client: Client, call: Call, tmp_path: Path) -> None:
    prefixes = ["eins", "", "", "vier drei", "eins zwei drei", "null", "acht"]
    (tmp_path / "prefixes").write_text("".join(f"{prefix}\n" for prefix in prefixes))
    wanted = translate(call, "--prefix-file", str(tmp_path / "prefixes"))
    found = client.ask("/v1/translate", text=LINES, prefix=prefixes)
    assert [line["text"] for line in found["lines"]] == wanted
    assert found["lines"][0]["text"].startswith("eins")
    same = client.ask("/v1/translate", text=LINES, prefix="eins")
    assert same["lines"][0] == found["lines"][0]
    assert same["lines"][-1]["text"].startswith("eins")


def test_notes_say_what_the_command_says(client: Client, call: Call) -> None:
    stdin = "".join(f"{line}\n" for line in LINES).encode()
    options = ("--max-ratio", "0.1", "--max-offset", "1")
    _, _, told = call("translate", "--run", "spell", *options, stdin=stdin)
    found = client.ask("/v1/translate", text=LINES, search={"max_ratio": 0.1, "max_offset": 1})
    assert found["notes"]
    assert [f"s2s: {note}" for note in found["notes"]] == told.splitlines()


def test_attention_is_that_of_the_library(client: Client, spell: Run) -> None:
    maps = attention_maps(load_translator(spell, device="cpu"), LINES)
    found = client.ask("/v1/attention", text=LINES)
    assert client.ask("/v1/translate", text=LINES, attention=True) == found
    for line, wanted in zip(found["lines"], maps, strict=True):
        attention = line["attention"]
        assert (attention["source"], attention["target"]) == (
            list(wanted.source),
            list(wanted.target),
        )
        weights = np.array(attention["weights"]).reshape(wanted.weights.shape)
        np.testing.assert_allclose(weights, wanted.weights, atol=5e-5)
        assert attention["source_words"] == list(wanted.source_word_ids)
        assert attention["target_words"] == list(wanted.target_word_ids)


def test_attention_of_a_forced_prefix(client: Client) -> None:
    found = client.ask("/v1/attention", text="0 1 2", prefix="sieben")["lines"][0]
    assert found["attention"]["target"][0] == "sieben"
    assert found["text"].split() == found["attention"]["target"][:-1]


def test_scores_are_those_of_the_command(client: Client, call: Call, tmp_path: Path) -> None:
    sources = ["0 1 2", "", "3 4", "5", "  "]
    targets = ["zwei eins null", "", "sieben", "unbekannt", "eins"]
    for name, lines in (("x", sources), ("y", targets)):
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines))
    files = (str(tmp_path / "x"), str(tmp_path / "y"))
    rows = call.output("score", "--run", "spell", *files).decode().splitlines()
    found = client.ask("/v1/score", source=sources, target=targets)["scores"]
    assert [
        f"{place}\t{score['log_prob']:.6f}\t{score['length']}"
        for place, score in enumerate(found, start=1)
    ] == rows


def test_alternatives_begin_with_the_prefix_and_have_their_probability(client: Client) -> None:
    found = client.ask("/v1/alternatives", text="0 1 2", prefix="zwei ", count=6)["alternatives"]
    assert len(found) == 6
    assert len({one["next"] for one in found}) == 6
    for one in found:
        assert one["text"].startswith(one["prefix"])
        assert one["prefix"] == f"zwei {one['next']}".rstrip()
        score = client.ask("/v1/score", source="0 1 2", target=one["text"])["scores"][0]
        assert score["log_prob"] == pytest.approx(one["log_prob"], abs=1e-4)
    best = client.ask("/v1/translate", text="0 1 2", prefix="zwei")["lines"][0]
    assert best["text"] in [one["text"] for one in found]
    log_probs = [one["log_prob"] for one in found]
    assert log_probs == sorted(log_probs, reverse=True)


def test_the_models_are_listed(client: Client) -> None:
    (model,) = client.get("/v1/models").json["models"]
    assert model["name"] == "spell"
    assert model["search"]["width"] == 3
    assert model["has_attention"] is True
    assert model["task"] == "translation"


def test_the_description_has_every_operation(client: Client) -> None:
    paths = client.get("/openapi.json").json["paths"]
    assert set(paths) == {
        *("/v1/translate", "/v1/attention", "/v1/alternatives", "/v1/score", "/v1/text"),
        *("/v1/models", "/health/live", "/health/ready", "/metrics"),
    }


def test_a_glossary_of_the_server_is_in_every_answer(spell: Run, call: Call) -> None:
    Path("terms.tsv").write_text("1\tsieben\n")
    glossary = Glossary.read(Path("terms.tsv"))
    with serving(spell, glossary=glossary) as client:
        answer = client.ask("/v1/translate", text=LINES)
        expected = listed(call, "--glossary", "terms.tsv")
        assert [line["outputs"] for line in answer["lines"]] == expected
        assert "sieben" in answer["lines"][0]["text"]
        assert "sieben" in client.text(b"1\n").body.decode()
        refused = client.post("/v1/translate", text="1", search={"kind": "greedy"})
        assert (refused.status, "need beam search" in refused.error) == (422, True)
