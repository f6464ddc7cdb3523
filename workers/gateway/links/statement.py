"""What a link to the gateway's own store allows: a statement in the link itself, signed by HMAC-SHA256."""

import base64
import hmac
import json
from dataclasses import astuple, dataclass
from typing import Literal

from workers.gateway.problems import LinkExpired, LinkRefused

Purpose = Literal["put", "get"]


@dataclass(frozen=True)
class Statement:
    """`expires` in Unix seconds. put: an object of `size` bytes, or the part of that number of an upload
    (`part` is 0 without one); get: under this name and media type, inline or to be saved."""

    purpose: Purpose
    key: str
    expires: int
    media_type: str
    size: int = 0
    upload_id: str = ""
    part: int = 0
    name: str = ""
    inline: bool = True

    def token(self, secret: bytes) -> str:
        body = _text(json.dumps(astuple(self), ensure_ascii=False, separators=(",", ":")).encode())
        return f"{body}.{_signature(body, secret)}"


def read(token: str, purpose: Purpose, secret: bytes, now: float) -> Statement:
    """What a token allows, at a time in Unix seconds. Raises LinkRefused, LinkExpired."""
    body, _, signature = token.rpartition(".")
    if not hmac.compare_digest(signature.encode(), _signature(body, secret).encode()):
        raise LinkRefused("it is no link of ours, or was changed")
    said = Statement(*json.loads(base64.urlsafe_b64decode(f"{body}==")))
    if said.purpose != purpose:
        raise LinkRefused(f"it is a link to {said.purpose} by")
    if said.expires <= now:
        raise LinkExpired(f"it expired {round(now - said.expires)} seconds ago")
    return said


def _signature(body: str, secret: bytes) -> str:
    return _text(hmac.digest(secret, body.encode(), "sha256"))


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
