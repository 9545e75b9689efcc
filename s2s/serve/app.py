"""The application: routes, each of which makes a job and waits for its outcome."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route

from s2s.errors import S2sError
from s2s.serve import answers
from s2s.serve.faults import Refused, status_of, validation_fault
from s2s.serve.guard import ClientGone, Guard, fault_body, fault_headers
from s2s.serve.jobs import TranslationJob
from s2s.serve.metrics import CONTENT_TYPE, Metrics
from s2s.serve.models import Model, Models
from s2s.serve.planning import (
    plan_alternatives,
    plan_attention,
    plan_scores,
    plan_text,
    plan_translation,
)
from s2s.serve.schemas import (
    AlternativesAnswer,
    AlternativesRequest,
    AttentionRequest,
    FaultAnswer,
    ModelsAnswer,
    ScoreRequest,
    ScoresAnswer,
    TranslateAnswer,
    TranslateRequest,
)
from s2s.serve.settings import Settings
from s2s.serve.worker import AnyJob
from s2s.text.lines import decode_line
from s2s.version import __version__

PAGES = Path(__file__).parent / "pages"

FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/docs": ("api.html", "text/html; charset=utf-8"),
    "/api.js": ("api.js", "text/javascript; charset=utf-8"),
}
"""The pages, by their paths."""

FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"model": FaultAnswer, "description": what}
    for status, what in {
        400: "The body is not valid JSON.",
        404: "There is no such model.",
        413: "More than the server takes.",
        422: "A field that is unknown, missing or not as expected.",
        503: "Too many requests wait; Retry-After says when to try again.",
        504: "The answer took too long.",
    }.items()
}

DESCRIPTION = "Translates with trained runs of s2s. Every fault is one line, in `error`."


class Service:
    """What the routes share."""

    def __init__(self, models: Models, settings: Settings, metrics: Metrics) -> None:
        self.models = models
        self.settings = settings
        self.metrics = metrics
        self.is_stopping = False
        """Whether no further request is taken."""

    async def outcome(self, model: Model, job: AnyJob, request: Request) -> Any:
        """The outcome of a job; raises its error, Refused or ClientGone.

        Nobody waits for the job any more when its time is over or its client has gone: it leaves
        the queue, or its search ends at the next sentence.
        """
        if self.is_stopping:
            raise Refused(503, "the server is stopping", retry_after=5)
        model.worker.submit(job)
        answer = asyncio.wrap_future(job.answer)
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            await asyncio.wait(
                {answer, gone},
                timeout=self.settings.timeouts.request,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if answer.done():
                return answer.result()
            reason = "client" if gone.done() else "timeout"
            self.metrics.cancelled.labels(reason).inc()
            if gone.done():
                raise ClientGone
            seconds = self.settings.timeouts.request
            raise Refused(504, f"the answer took longer than {seconds:g} seconds")
        finally:
            answer.cancel()
            gone.cancel()
            with suppress(asyncio.CancelledError):
                await gone

    def count(self, model: Model, lines: Sequence[Any]) -> None:
        """Count the lines of an answer."""
        self.metrics.lines.labels(model.name).inc(len(lines))


async def _disconnected(request: Request) -> None:
    """Wait until the client closes the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def create_app(models: Models, settings: Settings, metrics: Metrics) -> FastAPI:
    """The application of some models."""
    service = Service(models, settings, metrics)
    app = FastAPI(
        title="s2s",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # FastAPI's page loads its scripts from elsewhere
        redoc_url=None,
    )
    app.state.service = service
    _add_faults(app)
    _add_translation(app, service)
    _add_scores(app, service)
    _add_text(app, service)
    _add_state(app, service)
    _add_pages(app)
    paths = frozenset(route.path for route in app.routes if isinstance(route, Route))
    app.add_middleware(Guard, settings=settings, metrics=metrics, paths=paths)
    return app


def _add_faults(app: FastAPI) -> None:
    """Every error becomes one line of JSON."""

    async def told(request: Request, error: Exception) -> Response:
        assert isinstance(error, S2sError)
        return Response(
            fault_body(error),
            status_of(error),
            headers=fault_headers(error),
            media_type="application/json",
        )

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return await told(request, validation_fault(error.errors(), _fields(request)))

    async def other(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        what = {
            400: "the body is not valid JSON",
            404: f"{request.url.path}: no such page; /docs lists those there are",
            405: f"{request.url.path}: {request.method} is not possible here",
        }.get(error.status_code, error.detail)
        answer = await told(request, Refused(error.status_code, what))
        answer.headers.update(error.headers or {})
        return answer

    app.add_exception_handler(S2sError, told)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, other)


def _fields(request: Request) -> list[str]:
    """The fields of the body that a route expects."""
    body = getattr(request.scope.get("route"), "body_field", None)
    model = getattr(getattr(body, "field_info", None), "annotation", None)
    return list(getattr(model, "model_fields", {}))


def _json(answer: dict[str, Any]) -> Response:
    return Response(answers.encode(answer), media_type="application/json")


def _add_translation(app: FastAPI, service: Service) -> None:
    limits = service.settings.limits

    async def translated(model: Model, job: TranslationJob, request: Request) -> Response:
        lines = answers.translations(await service.outcome(model, job, request), limits)
        service.count(model, lines)
        return _json({"model": model.name, "lines": lines, "notes": job.notes})

    @app.post("/v1/translate", response_model=TranslateAnswer, responses=FAULTS)
    async def translate(asked: TranslateRequest, request: Request) -> Response:
        """Translate lines: outputs with scores, attention, a prefix and terms if asked for."""
        model = service.models[asked.model]
        return await translated(model, plan_translation(model, asked, limits), request)

    @app.post("/v1/attention", response_model=TranslateAnswer, responses=FAULTS)
    async def attention(asked: AttentionRequest, request: Request) -> Response:
        """Translate lines, and show the tokens and weights of each."""
        model = service.models[asked.model]
        return await translated(model, plan_attention(model, asked, limits), request)

    @app.post("/v1/alternatives", response_model=AlternativesAnswer, responses=FAULTS)
    async def alternatives(asked: AlternativesRequest, request: Request) -> Response:
        """Alternatives for the next word after the beginning of a translation."""
        model = service.models[asked.model]
        job, notes = plan_alternatives(model, asked, limits)
        found = await service.outcome(model, job, request)
        return _json({"model": model.name, "alternatives": found, "notes": notes})


def _add_scores(app: FastAPI, service: Service) -> None:
    @app.post("/v1/score", response_model=ScoresAnswer, responses=FAULTS)
    async def score(asked: ScoreRequest, request: Request) -> Response:
        """Score given translations: log-probability and length of each."""
        model = service.models[asked.model]
        job, notes = plan_scores(model, asked, service.settings.limits)
        found = await service.outcome(model, job, request)
        service.count(model, found)
        scores = [one._asdict() for one in found]
        return _json({"model": model.name, "scores": scores, "notes": notes})


def _add_text(app: FastAPI, service: Service) -> None:
    body = {"content": {"text/plain": {"schema": {"type": "string"}}}, "required": True}

    @app.post(
        "/v1/text",
        response_class=PlainTextResponse,
        responses=FAULTS,
        openapi_extra={"requestBody": body},
    )
    async def text(
        request: Request,
        model: Annotated[str | None, Query(description="By default the first one.")] = None,
        tag: Annotated[str | None, Query(description="Tag of lines without one.")] = None,
    ) -> Response:
        """Translate plain text, line by line: the bytes that `s2s translate` writes."""
        chosen = service.models[model]
        raw = await request.body()
        parts = raw.removesuffix(b"\n").split(b"\n") if raw else []
        lines = [decode_line(part, errors="replace") for part in parts]
        job = plan_text(chosen, lines, tag, service.settings.limits)
        found = await service.outcome(chosen, job, request)
        service.count(chosen, found)
        return PlainTextResponse("".join(f"{one.outputs[0].text}\n" for one in found))


def _add_state(app: FastAPI, service: Service) -> None:
    @app.get("/v1/models", response_model=ModelsAnswer)
    async def models() -> Response:
        """The models, the default first."""
        return _json({"models": [model.described() for model in service.models]})

    @app.get("/health/live")
    async def live() -> dict[str, str]:
        """Whether the server answers at all."""
        return {"status": "live"}

    @app.get("/health/ready", responses={503: {"model": FaultAnswer}})
    async def ready() -> dict[str, str]:
        """Whether every model is loaded and takes requests."""
        if service.is_stopping or not service.models.are_ready:
            raise Refused(503, "not every model takes requests", retry_after=5)
        return {"status": "ready"}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Counts for Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)


def _add_pages(app: FastAPI) -> None:
    for path, (name, kind) in FILES.items():
        _add_page(app, path, name, kind)


def _add_page(app: FastAPI, path: str, name: str, kind: str) -> None:
    @app.get(path, include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGES / name, media_type=kind)
