"""`s2s init` writes a recipe that trains, for files whose form it finds out."""

import json
import random
from pathlib import Path

import pytest

from s2s import pipeline
from s2s.errors import DataError, UsageError
from s2s.recipe.data import FilesData
from s2s.recipe.filters import HoldOut
from s2s.recipe.load import load_draft

RANDOM = random.Random(7)
NUMBERS = ["null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun"]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Digits into words, 200 pairs."""
    monkeypatch.chdir(tmp_path)
    rows = [[RANDOM.randrange(10) for _ in range(RANDOM.randint(2, 6))] for _ in range(200)]
    lines = [f"{' '.join(map(str, row))}\t{' '.join(NUMBERS[i] for i in row)}" for row in rows]
    lines = [f"say {line}" for line in lines]
    Path("digits.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return "digits.tsv"


def test_the_recipe_trains_and_translates(table: str) -> None:
    made = pipeline.initialize([table], device="cpu")
    assert (made.path, made.pairs) == (Path("recipe.yaml"), 200)
    assert made.minutes is not None and made.minutes <= 15.0
    text = made.path.read_text(encoding="utf-8")
    draft = load_draft(made.path)
    data = draft.recipe.data
    assert isinstance(data, FilesData)
    assert data.hold_out == HoldOut(share=0.1, test=0.1)
    assert (data.header, data.columns.source, data.columns.target) == (False, "0", "1")
    assert data.filters.unseen == "sources"
    for line in text.splitlines():  # every line is explained, at its end or above it
        assert "#" in line or line in ("", "data:") or line.startswith("  "), line
    draft = load_draft(made.path, ["train.max_updates=30", "name=t"])
    position = pipeline.train(draft, device="cpu")
    assert position.update == 30
    from s2s.run.finding import find_run

    assert pipeline.evaluate(run=find_run("t"), split="test", device="cpu") is not None


def test_an_existing_recipe_stays(table: str) -> None:
    Path("recipe.yaml").write_text("mine\n")
    with pytest.raises(UsageError, match=r"recipe\.yaml: exists; -o names another file"):
        pipeline.initialize([table], device="cpu")
    assert Path("recipe.yaml").read_text() == "mine\n"
    pipeline.initialize([table], device="cpu", force=True, budget="2 h")
    assert load_draft().recipe.train.budget == "2 h"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("long.tsv", "".join(f"w{i} {'word ' * 3000}\tv{i} {'long ' * 3000}\n" for i in range(30))),
        ("empty.tsv", "".join(f"some words {i}\t\n" for i in range(60))),
        ("zh.tsv", "".join(f"{i} 我们今天去北京\t我{i}们今天去了北京很高兴\n" for i in range(60))),
    ],
)
def test_odd_data_have_defaults_too(table: str, name: str, text: str) -> None:
    """Very long lines, no targets at all, a script without spaces."""
    Path(name).write_text(text, encoding="utf-8")
    made = pipeline.initialize([name], device="cpu", columns=("0", "1"))
    written = made.path.read_text(encoding="utf-8")
    assert "- chrf" in written or name == "empty.tsv"


def test_data_that_no_recipe_can_describe(table: str) -> None:
    Path("few.tsv").write_text("ein Wort\ta word\n" * 5, encoding="utf-8")
    with pytest.raises(DataError, match="at least 20 different sources, found 1 in 5 pairs"):
        pipeline.initialize(["few.tsv"], device="cpu")
    with pytest.raises(UsageError, match="--budget soon: expected a time with its unit, such as"):
        pipeline.initialize([table], device="cpu", budget="soon")
    Path("a.x").write_text("a b\n" * 30)
    Path("a.y").write_text("a b\n" * 29)
    with pytest.raises(DataError, match=r"a\.x has 30 lines but a\.y has 29"):
        pipeline.initialize(["a.x", "a.y"], device="cpu")
    with pytest.raises(DataError, match="without a header"):
        pipeline.initialize([table], device="cpu", columns=("one", "two"))
    assert not Path("recipe.yaml").exists()


def test_a_column_whose_name_no_recipe_can_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"so\x1b[31murce": f"a dog {i}", "tar\x9bget": f"ein Hund {i}"} for i in range(40)]
    Path("a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=r"a\.jsonl: the column 'so\\x1b\[31murce' has control"):
        pipeline.initialize(["a.jsonl"])
    assert not Path("recipe.yaml").exists()
