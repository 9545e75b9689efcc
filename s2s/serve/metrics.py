"""What a server counts, for Prometheus."""

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from s2s.serve.models import Models
from s2s.serve.worker import Worker
from s2s.version import __version__

CONTENT_TYPE = CONTENT_TYPE_LATEST

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """Counters and histograms of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "s2s_requests",
            "Requests that were answered.",
            ["path", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "s2s_request_seconds",
            "Time from the end of a request to its answer.",
            ["path"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.lines = Counter(
            "s2s_lines", "Lines and pairs that were answered.", ["model"], registry=self.registry
        )
        self.batch_requests = Histogram(
            "s2s_batch_requests",
            "Requests that were searched together.",
            ["model"],
            buckets=SIZES,
            registry=self.registry,
        )
        self.batch_lines = Histogram(
            "s2s_batch_lines",
            "Lines, or pieces of long ones, that were searched together.",
            ["model"],
            buckets=SIZES,
            registry=self.registry,
        )
        self.batch_seconds = Histogram(
            "s2s_batch_seconds",
            "Time that a batch took.",
            ["model"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.cancelled = Counter(
            "s2s_cancelled",
            "Requests that were given up: the client had gone, or the time was over.",
            ["reason"],
            registry=self.registry,
        )
        version = Gauge("s2s_info", "Version of s2s.", ["version"], registry=self.registry)
        version.labels(__version__).set(1)

    def watch(self, models: Models) -> None:
        """Show how many requests wait for each model, and whether it takes them."""
        waiting = Gauge(
            "s2s_waiting_requests", "Requests that wait.", ["model"], registry=self.registry
        )
        ready = Gauge(
            "s2s_model_ready", "1 if the model takes requests.", ["model"], registry=self.registry
        )
        for model in models:
            waiting.labels(model.name).set_function(partial(_waiting, model.worker))
            ready.labels(model.name).set_function(partial(_ready, model.worker))

    def batch(self, model: str, requests: int, pieces: int, seconds: float) -> None:
        """Count a batch."""
        self.batch_requests.labels(model).observe(requests)
        self.batch_lines.labels(model).observe(pieces)
        self.batch_seconds.labels(model).observe(seconds)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self.requests.labels(path, status).inc()
        self.seconds.labels(path).observe(seconds)

    def text(self) -> bytes:
        """All values in Prometheus' text format."""
        return generate_latest(self.registry)


def _waiting(worker: Worker) -> float:
    return float(worker.waiting)


def _ready(worker: Worker) -> float:
    return float(worker.is_ready)
