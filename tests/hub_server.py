"""A hub on this machine: what the hub's client asks for, from folders on disk."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

COMMIT = "0123456789abcdef0123456789abcdef01234567"
API = re.compile(r"/api/models/([\w.-]+/[\w.-]+)(/[^?]*)?")
Answer = tuple[int, bytes, dict[str, str]]
FILE = re.compile(r"/([\w.-]+/[\w.-]+)/resolve/([^/]+)/([^?]+)")
REVISION = re.compile(r"/(?:revision|tree|resolve)/([^/?]+)")


class Hub(ThreadingHTTPServer):
    """Serves folders by hub id; `gated` ones only say that they are."""

    models: Mapping[str, Path]
    gated: frozenset[str]


class Handler(BaseHTTPRequestHandler):
    """Answers about a model, its list of files, and files."""

    server: Hub

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, *, body: bool) -> None:
        code, data, headers = self._found()
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def _found(self) -> Answer:
        file, api = FILE.match(self.path), API.match(self.path)
        model = (file or api or [""] * 2)[1]
        if model not in self.server.models:
            return _error(404, "RepoNotFound")
        revision = REVISION.search(self.path)
        if revision and revision[1] not in ("main", COMMIT):
            return _error(404, "RevisionNotFound")
        if file and model in self.server.gated:
            return _error(403, "GatedRepo")
        folder = self.server.models[model]
        if file:
            return _file(folder / file[3])
        if api and "/tree/" in (api[2] or ""):
            return 200, _listing(folder), {}
        names = [{"rfilename": file["path"]} for file in json.loads(_listing(folder))]
        return 200, json.dumps({"id": model, "sha": COMMIT, "siblings": names}).encode(), {}

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def hub_of(models: Mapping[str, Path], gated: frozenset[str] = frozenset()) -> Iterator[str]:
    """Serve folders by hub id and yield the address; models not named are unknown to it."""
    hub = Hub(("127.0.0.1", 0), Handler)
    hub.models, hub.gated = models, gated
    thread = Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{hub.server_port}"
    finally:
        hub.shutdown()
        thread.join()
        hub.server_close()


def _error(code: int, name: str) -> Answer:
    return code, b"{}", {"X-Error-Code": name}


def _file(path: Path) -> Answer:
    if not path.is_file():
        return _error(404, "EntryNotFound")
    data = path.read_bytes()
    etag = f'"{hashlib.sha1(data).hexdigest()}"'
    return 200, data, {"ETag": etag, "X-Repo-Commit": COMMIT}


def _listing(folder: Path) -> bytes:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return json.dumps(
        [
            {
                "type": "file",
                "path": path.relative_to(folder).as_posix(),
                "size": path.stat().st_size,
                "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
            }
            for path in files
        ]
    ).encode()
