"""The public API has the names that it lists, and loads PyTorch for none of them in advance."""

import subprocess
import sys

from s2s import pipeline


def test_every_public_name_is_a_function_with_documentation() -> None:
    assert pipeline.__all__ == sorted(pipeline._MODULES)
    for name in pipeline.__all__:
        assert getattr(pipeline, name).__doc__


def test_the_package_itself_needs_no_pytorch() -> None:
    code = "import sys; from s2s import pipeline; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
