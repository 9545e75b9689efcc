"""A stand-in for the hub of Hugging Face: the part of its HTTP interface that its library uses for
models, on a port of this machine. Repositories are in memory, as lists of commits."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_a-secret-that-is-never-printed"
LARGE = ".safetensors"
"""Suffix of files that are stored apart, as the hub does (git LFS)."""


@dataclass
class Repository:
    """Commits, the newest last, and tags."""

    is_private: bool = False
    commits: list[dict[str, bytes]] = field(default_factory=lambda: [{".gitattributes": b""}])
    tags: dict[str, int] = field(default_factory=dict)

    def sha(self, number: int) -> str:
        return hashlib.sha1(f"{id(self)} {number}".encode()).hexdigest()

    def number(self, revision: str) -> int | None:
        known = {self.sha(n): n for n in range(len(self.commits))} | self.tags
        return len(self.commits) - 1 if revision == "main" else known.get(revision)


@dataclass
class Hub:
    """The repositories of the hub, and what was asked of it."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    large: dict[str, bytes] = field(default_factory=dict)
    """Files that are stored apart, by SHA-256."""
    address: str = ""
    refused: tuple[str, int] | None = None
    """A part of a path and the status it is answered with."""

    def add(self, name: str, files: dict[str, bytes]) -> Repository:
        found = self.repositories.setdefault(name, Repository())
        found.commits.append(files)
        return found


@contextmanager
def running() -> Iterator[Hub]:
    """A hub that answers until the block ends."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        if self.hub.refused and self.hub.refused[0] in path:
            self.answer(self.hub.refused[1], {"error": "not today"})
            return
        for pattern, name in ROUTES:
            if found := re.fullmatch(pattern, f"{self.command} {path}"):
                getattr(self, name)(body, *found.groups())
                return
        self.answer(404, {"error": f"no such address: {path}"})

    do_GET = do_POST = do_PUT = do_HEAD = handle_any  # noqa: N815

    def answer(self, status: int, content: Any, **headers: str) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    @property
    def is_known(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {TOKEN}"

    def commit_of(self, name: str, revision: str = "main") -> tuple[Repository, int] | None:
        """The repository and the number of a commit; None after an answer that there is none."""
        found = self.hub.repositories.get(name)
        if found is None or (found.is_private and not self.is_known):
            self.answer(401 if not self.is_known else 404, {}, X_Error_Code="RepoNotFound")
            return None
        number = found.number(revision)
        if number is None:
            self.answer(404, {}, X_Error_Code="RevisionNotFound")
            return None
        return found, number

    def info(self, body: bytes, name: str, revision: str | None) -> None:
        if (found := self.commit_of(name, revision or "main")) is None:
            return
        repository, number = found
        files = repository.commits[number]
        siblings = [{"rfilename": file, "size": len(data)} for file, data in files.items()]
        content = {"id": name, "modelId": name, "private": repository.is_private}
        self.answer(200, {**content, "sha": repository.sha(number), "siblings": siblings})

    def tree(self, body: bytes, name: str, revision: str) -> None:
        if (found := self.commit_of(name, revision)) is not None:
            repository, number = found
            self.answer(200, [_entry(*one) for one in repository.commits[number].items()])

    def resolve(self, body: bytes, name: str, revision: str, file: str) -> None:
        if (found := self.commit_of(name, revision)) is None:
            return
        repository, number = found
        data = repository.commits[number].get(file)
        if data is None:
            self.answer(404, {}, X_Error_Code="EntryNotFound")
            return
        entry = _entry(file, data)
        etag = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
        self.answer(200, data, ETag=f'"{etag}"', X_Repo_Commit=repository.sha(number))

    def create(self, body: bytes) -> None:
        asked = json.loads(body)
        name = "/".join(part for part in (asked.get("organization"), asked["name"]) if part)
        if not self.is_known:
            self.answer(401, {"error": "Invalid username or password."})
        elif name in self.hub.repositories:
            self.answer(409, {"error": "You already created this model repo"})
        else:
            is_private = bool(asked.get("private")) or asked.get("visibility") == "private"
            self.hub.repositories[name] = Repository(is_private=is_private)
            self.answer(200, {"url": f"{self.hub.address}/{name}"})

    def validate(self, body: bytes) -> None:
        self.answer(200, {"errors": [], "warnings": []})

    def preupload(self, body: bytes, name: str, revision: str) -> None:
        modes = [
            {
                "path": one["path"],
                "uploadMode": "lfs" if one["path"].endswith(LARGE) else "regular",
                "shouldIgnore": False,
            }
            for one in json.loads(body)["files"]
        ]
        self.answer(200, {"files": modes})

    def batch(self, body: bytes, name: str) -> None:
        objects = [
            {**one, "actions": {"upload": {"href": f"{self.hub.address}/large/{one['oid']}"}}}
            for one in json.loads(body)["objects"]
        ]
        self.answer(200, {"transfer": "basic", "objects": objects})

    def store(self, body: bytes, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.large[oid] = body
        self.answer(200, {})

    def commit(self, body: bytes, name: str, revision: str) -> None:
        if not self.is_known:
            self.answer(403, {"error": "Forbidden"})
            return
        repository = self.hub.repositories[name]
        files = dict(repository.commits[-1])
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            match line["key"]:
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.hub.large[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        repository.commits.append(files)
        sha = repository.sha(len(repository.commits) - 1)
        self.answer(200, {"commitUrl": f"{self.hub.address}/{name}/commit/{sha}", "commitOid": sha})


ROUTES = (
    (r"POST /api/repos/create", "create"),
    (r"POST /api/validate-yaml", "validate"),
    (r"GET /api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", "info"),
    (r"GET /api/models/([^/]+/[^/]+)/tree/([^/]+)", "tree"),
    (r"POST /api/models/([^/]+/[^/]+)/preupload/([^/]+)", "preupload"),
    (r"POST /api/models/([^/]+/[^/]+)/commit/([^/]+)", "commit"),
    (r"POST /([^/]+/[^/]+)\.git/info/lfs/objects/batch", "batch"),
    (r"PUT /large/([0-9a-f]+)", "store"),
    (r"(?:GET|HEAD) /([^/]+/[^/]+)/resolve/([^/]+)/(.+)", "resolve"),
)


def _entry(path: str, data: bytes) -> dict[str, Any]:
    """A file as the hub lists it."""
    oid = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    entry = {"type": "file", "path": path, "size": len(data), "oid": oid}
    if path.endswith(LARGE):
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
        entry["lfs"]["pointerSize"] = 134
    return entry
