"""What goes wrong in a request, as RFC 9457 has it (application/problem+json).

Each problem has a `code` for programs, a `detail` that names what is wrong, and an `action`: what to do about
it. Its `type` is `urn:phototwin:problem:<code>`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

MEDIA_TYPE = "application/problem+json"


class ProblemDocument(BaseModel):
    """The body of every answer from 400 on."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)

    type: str
    """Names the kind of problem: `urn:phototwin:problem:` and the code."""
    title: str
    """The kind of problem, in words."""
    status: int
    """Of HTTP."""
    code: str
    """For programs."""
    detail: str
    """What is wrong in this request."""
    action: str
    """What to do about it."""
    errors: list[dict[str, Any]] = Field(default_factory=list)
    """Of a body or parameters that break their contract: each field and its rule."""


class Problem(Exception):
    """Raise a kind of it; `detail` names what is wrong in this request."""

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]
    action: ClassVar[str]

    def __init__(self, detail: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.detail, self.headers, self.more = detail, dict(headers or {}), more

    def document(self) -> dict[str, Any]:
        return {
            "type": f"urn:phototwin:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "action": self.action,
            **self.more,
        }


class RequestInvalid(Problem):
    status, code = 422, "request_invalid"
    title = "The request breaks its contract"
    action = "Mend the fields that are named; the OpenAPI document at /openapi.json has their rules."


class Malformed(Problem):
    status, code = 400, "malformed"
    title = "The request cannot be read"
    action = "Send JSON, as the OpenAPI document at /openapi.json says."


class Unauthorized(Problem):
    status, code = 401, "unauthorized"
    title = "Who is asking?"
    action = "Send a valid API key, or token, as `Authorization: Bearer ...`."

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class LinkRefused(Problem):
    status, code = 403, "link_refused"
    title = "This link does not allow that"
    action = "Ask for a fresh link, and use it for what it is for, as it was given."


class LinkExpired(Problem):
    status, code = 403, "link_expired"
    title = "This link has expired"
    action = "Ask for a fresh link; what has arrived is kept."


class Forbidden(Problem):
    status, code = 403, "forbidden"
    title = "Not from there"
    action = "Use the gateway's own page, or have the gateway ask for API keys."


class Absent(Problem):
    status, code = 404, "absent"
    title = "There is no such thing"
    action = "Check the address; what belongs to another tenant is not there either."


class MethodNotAllowed(Problem):
    status, code = 405, "method_not_allowed"
    title = "This address takes other methods"
    action = "See the OpenAPI document at /openapi.json."


class StateConflict(Problem):
    status, code = 409, "state_conflict"
    title = "Not in this state"
    action = "Ask for the capture's status: it says what can be done with it now."


class CaptureExists(Problem):
    status, code = 409, "capture_exists"
    title = "There is a capture of that id"
    action = "Choose another id, or leave it out to be given one."


class UploadIncomplete(Problem):
    status, code = 409, "upload_incomplete"
    title = "Files are missing"
    action = (
        "Upload what `missing` names, by fresh links where the old ones have expired; then complete again."
    )


class KeyReused(Problem):
    status, code = 422, "idempotency_key_reused"
    title = "This Idempotency-Key was used for another request"
    action = "Use a new key for a new request."


class KeyBusy(Problem):
    status, code = 409, "idempotency_key_busy"
    title = "A request with this Idempotency-Key is being answered"
    action = "Wait for its answer, or ask again in a second."


class TooLarge(Problem):
    status, code = 413, "too_large"
    title = "That is too much"
    action = "Send less: the limits are in `GET /v1/me`."


class TooMany(Problem):
    """`seconds`: when it may be tried again."""

    status, code = 429, "too_many_requests"
    title = "Too many requests"
    action = "Wait as long as Retry-After says."

    def __init__(self, detail: str, seconds: float) -> None:
        super().__init__(detail, headers={"Retry-After": str(max(1, round(seconds + 0.5)))})


class QuotaReached(Problem):
    status, code = 429, "quota_reached"
    title = "Too many captures at a time"
    action = "Wait until one has ended, or cancel one."

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": "30"})


class DecisionsRefused(Problem):
    status, code = 422, "decisions_refused"
    title = "These decisions cannot be applied"
    action = "Look at the masks again, and decide anew."


class AddressRefused(Problem):
    status, code = 422, "address_refused"
    title = "No webhook goes there"
    action = "Give a public address with https."


class Unavailable(Problem):
    status, code = 503, "unavailable"
    title = "Not now"
    action = "Try again in a few seconds; nothing is lost."

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Retry-After": "5"})


class Faulty(Problem):
    status, code = 500, "faulty"
    title = "That is our fault"
    action = "Try again; where it stays, tell whoever runs this installation, with the time and the address."
