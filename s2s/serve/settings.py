"""Settings of a server: where it listens, and the limits of what it takes."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a request may ask for; more is refused before anything is computed."""

    body_bytes: int = 1 << 20
    """Size of a request's body."""
    lines: int = 1000
    """Lines, or pairs, of a request."""
    line_length: int = 2000
    """Characters of a line."""
    attention_lines: int = 50
    """Lines of a request for attention, whose answer is a matrix for each."""
    attention_cells: int = 50_000_000
    """Weights that the search of a line may keep: source length x longest output x beam width."""
    attention_weights: int = 500_000
    """Weights in an answer."""
    outputs: int = 100
    """Beam width, samples and listed outputs."""
    alternatives: int = 50
    """Alternatives for the next word."""
    terms: int = 20
    """Terms that must, or must not, appear in an output."""
    nodes: int = 10_000
    """Prefixes that exhaustive search looks at for a line."""
    max_ratio: float = 3.0
    max_offset: int = 100
    """Longest outputs; a recipe that has more may have more."""


@dataclass(frozen=True, kw_only=True)
class Timeouts:
    """Seconds after which the server stops waiting."""

    request: float = 60.0
    """For the answer to a request, which is waiting or computed."""
    head: float = 10.0
    """For a client to send the head of its request."""
    body: float = 30.0
    """For a client to send the body."""
    write: float = 30.0
    """For a client to take some of an answer."""
    idle: float = 15.0
    """For the next request of a connection."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a server runs."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes a free port."""
    queue: int = 128
    """Requests of a model that wait; further ones are told to come back."""
    batch: int = 64
    """Lines, of all waiting requests, that a model translates together."""
    connections: int = 1000
    """Open connections. Beyond it, the one that has waited longest for its request is closed."""
    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
