"""The libraries of the service, which are optional."""

from importlib.util import find_spec

from s2s.errors import UsageError

LIBRARIES = ("fastapi", "uvicorn", "prometheus_client")


def require_libraries() -> None:
    """Raises UsageError, with the remedy, where a library of the service is missing."""
    missing = [name.replace("_", "-") for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"s2s serve needs {', '.join(missing)}: pip install fastapi uvicorn prometheus-client"
        )
