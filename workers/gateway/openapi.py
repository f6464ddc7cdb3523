"""The OpenAPI document: what FastAPI tells of the routes, and what it cannot know."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from workers.gateway.problems import MEDIA_TYPE, Problem, ProblemDocument

DESCRIPTION = """Photos in, digital twin out: create a capture, upload its files to the addresses you are
given, complete it, and follow it until there is a model.

Every answer from 400 on is a problem document (RFC 9457) with a `code` for programs, and says what to do. A
POST with an `Idempotency-Key` takes effect once, however often it is sent within a day.

Webhooks are called with POST and the event as the broker has it (CloudEvents, JSON), signed as Standard
Webhooks has it: `webhook-signature` is `v1,` and the base64 of HMAC-SHA256, by the secret (what comes after
`whsec_`, base64-decoded), over `webhook-id.webhook-timestamp.body`. One that is not
answered with 2xx is tried again, for hours; one that comes twice has the same `webhook-id`.
"""

_PROBLEM: dict[str, Any] = {
    "description": "A problem.",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
}
PROBLEMS: dict[int | str, dict[str, Any]] = {}
_SHARED = (400, 401, 404, 405, 409, 413, 422, 429, 500, 503)


def document(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        found = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        found["components"]["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer", "description": "An API key, or an OIDC token."}
        }
        found["security"] = [{"key": []}]
        schemas = found["components"]["schemas"]
        schemas["ProblemDocument"] = ProblemDocument.model_json_schema()
        schemas["ProblemDocument"]["properties"]["code"]["examples"] = sorted(_codes(Problem))
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        for methods in found["paths"].values():
            for name, operation in methods.items():
                _complete(name, operation)
        app.openapi_schema = found
    return app.openapi_schema


def _complete(method: str, operation: dict[str, Any]) -> None:
    operation["responses"] |= {str(status): _PROBLEM for status in _SHARED}
    if method == "post":
        operation.setdefault("parameters", []).append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "Sent again with the same key and body, the request takes effect once.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
            }
        )


def _codes(kind: type[Problem]) -> set[str]:
    found = set()
    for each in kind.__subclasses__():
        found |= {each.code} | _codes(each)
    return found
