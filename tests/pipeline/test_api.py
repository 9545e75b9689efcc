"""The public names exist, have documentation, and load PyTorch for none of them in advance."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import s2s
from s2s import pipeline
from tests.commands import HANGS
from tests.house import ROOT, entries

HEAVY = ("torch", "numpy", "pydantic", "ruamel", "pyarrow", "rich", "s2s.errors", "s2s.recipe")


def python(code: str, *arguments: str) -> str:
    """What a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=HANGS,
    )
    return done.stdout


def test_every_public_name_has_documentation() -> None:
    for module in (s2s, pipeline):
        names = [name for name in module.__all__ if name != "__version__"]
        assert names == sorted(module._MODULES)
        for name in names:
            assert inspect.getdoc(getattr(module, name)), name
            assert name in dir(module)


def test_every_method_of_a_model_has_documentation() -> None:
    for kind in (s2s.TrainedModel, s2s.Attention, s2s.Evaluation):
        for name, member in vars(kind).items():
            if not name.startswith("_") and (callable(member) or isinstance(member, property)):
                assert inspect.getdoc(member), f"{kind.__name__}.{name}"


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import json, sys, s2s; print(json.dumps([n for n in sys.argv[1:] if n in sys.modules]))"
    assert json.loads(python(code, *HEAVY)) == []


def test_the_pipeline_itself_needs_no_pytorch() -> None:
    assert python("import sys; from s2s import pipeline; print('torch' in sys.modules)") == (
        "False\n"
    )


def test_no_public_name_is_that_of_a_module() -> None:
    """Python sets a submodule as an attribute of its package when it is first imported."""
    modules = {name.removesuffix(".py") for name in entries()} | {"recipes"}
    assert modules & {*s2s.__all__} == set()


@pytest.mark.parametrize(
    "imports",
    [
        "import s2s",
        "import s2s, s2s.training.trainer, s2s.pipeline.training",
        "import s2s.pipeline.training; import s2s.recipe.train; import s2s",
        "import s2s; before = s2s.train; import s2s.training.trainer; assert before is s2s.train",
        "from s2s import train; import s2s; assert train is s2s.train",
        "from s2s import *; import s2s; assert train is s2s.train",
    ],
)
def test_the_functions_are_functions_whatever_was_imported(imports: str) -> None:
    code = f"{imports}; print(s2s.train.__module__, s2s.train.__name__)"
    assert python(code) == "s2s.pipeline.python_api train\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 's2s' has no attribute 'trian'"):
        s2s.trian  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError):
        from s2s import trian  # type: ignore[attr-defined]  # noqa: F401


TYPES = """
from pathlib import Path
from typing import assert_type

import s2s

import s2s.training.trainer

model = s2s.load()
assert_type(model, s2s.TrainedModel)
assert_type(s2s.load(["one", Path("two")], checkpoint=7), s2s.TrainedModel)
assert_type(s2s.train("recipe.yaml", {"seed": 2}), s2s.TrainedModel)
assert_type(s2s.train(s2s.load_recipe(), ["seed=2"]), s2s.TrainedModel)
assert_type(model.translate("a"), str)
assert_type(model.translate(["a"], beam=3, precision="int8"), list[str])
assert_type(model.translate("a", n_best=2), list[s2s.Output])
assert_type(model.translate(["a"], n_best=2), list[list[s2s.Output]])
assert_type(model.score(("a", "b")), s2s.PairScore)
assert_type(model.score([("a", "b")]), list[s2s.PairScore])
assert_type(model.attention("a"), s2s.Attention)
assert_type(model.attention(["a"]), list[s2s.Attention])
assert_type(s2s.evaluate(model)["bleu"], s2s.Score)
assert_type(s2s.evaluate()["bleu"].value, float)
assert_type(model.recipe, s2s.Recipe)
assert_type(model.run, s2s.Run)
model.translate("a", bean=3)  # type: ignore[call-overload]
model.translate("a", beam="3")  # type: ignore[call-overload]
s2s.train(3)  # type: ignore[arg-type]
"""


@pytest.mark.slow
def test_the_types_are_those_of_the_documentation(tmp_path: Path) -> None:
    """mypy knows what each call returns, and an ignored error that is none is one."""
    (tmp_path / "use.py").write_text(TYPES)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--config-file", ROOT / "pyproject.toml"),
            *("--cache-dir", ROOT / ".mypy_cache", tmp_path / "use.py"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
