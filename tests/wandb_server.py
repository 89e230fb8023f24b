"""A server that answers wandb on this machine, and remembers what it was asked."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USER = {
    "id": "VXNlcjox", "entity": "me", "username": "me", "name": "me", "email": "", "admin": False, "flags": "{}",
    "teams": {"edges": []}, "deletedAt": None, "apiKeys": {"edges": []}, "accountType": "",
}  # fmt: skip

# What a query with this word in it gets: data, a function of the query's variables, or a status.
Answers = dict[str, dict[str, Any] | Callable[[dict[str, Any]], Any] | int]


class Asked(ThreadingHTTPServer):
    """The server; ``asked`` holds (query, variables) in order."""

    daemon_threads = True

    def __init__(self, answers: Answers) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.answers = answers
        self.asked: list[tuple[str, dict[str, Any]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def variables(self, word: str) -> list[dict[str, Any]]:
        """The variables of all queries with a word in them."""
        return [variables for query, variables in self.asked if word in query]


class _Answer(BaseHTTPRequestHandler):
    server: Asked

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path != "/graphql":
            return self._say(200, {})
        asked = json.loads(body)
        query, variables = asked["query"], asked.get("variables") or {}
        self.server.asked.append((query, variables))
        answer = next((given for word, given in self.server.answers.items() if word in query), {})
        if isinstance(answer, int):
            return self._say(answer, {"errors": [{"message": "permission denied"}]})
        return self._say(200, {"data": answer(variables) if callable(answer) else answer})

    do_GET = do_PUT = do_POST

    def _say(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serving(answers: Answers) -> Iterator[Asked]:
    """A server with these answers, the first whose word fits."""
    with Asked(answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def project_with(ids: list[str], project: str = "kd_lightning") -> Answers:
    """The answers of a server on which these runs are, in a project of ``me``."""
    page = {"endCursor": None, "hasNextPage": False}
    owned = {
        "id": "1",
        "name": project,
        "entityName": "me",
        "createdAt": "",
        "isBenchmark": False,
        "user": None,
    }
    return {
        "runs(": {
            "project": {
                "internalId": "1", "runCount": len(ids), "readOnly": False,
                "runs": {
                    "totalCount": len(ids), "pageInfo": page,
                    "edges": [{"node": _run(one), "cursor": one} for one in ids],
                },
            }
        },
        "upsertView": lambda asked: {"upsertView": {"view": _view(asked, owned), "inserted": True}},
        "upsertBucket": lambda asked: {"upsertBucket": {"bucket": _run(ids[-1]), "inserted": False}},
        "ProjectInternalId": {"project": {"internalId": "UHJvamVjdDox"}},
        "GetProjects": {"models": {"pageInfo": page, "edges": [{"node": owned}]}},
        "viewer": {"viewer": USER},
    }  # fmt: skip


def _run(one: str) -> dict[str, Any]:
    at = "2026-01-01T00:00:00Z"
    return {
        "id": f"id-of-{one}", "name": one, "displayName": one, "state": "finished", "config": "{}", "group": "g",
        "jobType": "distill", "commit": None, "readOnly": False, "createdAt": at, "heartbeatAt": at, "description": "",
        "notes": "", "systemMetrics": "{}", "summaryMetrics": '{"accuracy": 0.5}', "historyLineCount": 1,
        "projectId": "1", "tags": [],
        "user": {"name": "me", "username": "me"}, "historyKeys": {}, "internalId": "1",
    }  # fmt: skip


def _view(asked: dict[str, Any], project: dict[str, Any]) -> dict[str, Any]:
    kept = {key: asked[key] for key in ("name", "displayName", "spec", "type", "description")}
    at = {"createdAt": "2026-01-01T00:00:00", "updatedAt": "2026-01-01T00:00:00"}
    return {"id": f"id-of-{asked['type']}", "project": project, **kept, **at}
