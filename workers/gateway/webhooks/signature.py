"""How a webhook's receiver knows that a call is ours: Standard Webhooks, by HMAC-SHA256.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping

PREFIX = "whsec_"
TOLERANCE_SECONDS = 300


class SignatureWrong(ValueError):
    """The call is not by whoever has the secret, or is an old one sent again; says which."""


def new_secret() -> str:
    """256 random bits."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def signed(secret: str, id: str, body: bytes, now: float) -> dict[str, str]:
    """The headers of a call. `id` is the same whenever the call is repeated; `now`: seconds since 1970."""
    timestamp = str(int(now))
    return {
        "webhook-id": id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{_signature(secret, id, timestamp, body)}",
    }


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: float | None = None) -> None:
    """What a receiver does with a call before it reads it; `headers` by their names in small letters.
    Raises SignatureWrong."""
    try:
        id, timestamp = headers["webhook-id"], headers["webhook-timestamp"]
        age = (time.time() if now is None else now) - int(timestamp)
        given = headers["webhook-signature"].split(" ")
    except (KeyError, ValueError):
        raise SignatureWrong("a header is missing, or is none") from None
    if abs(age) > TOLERANCE_SECONDS:
        raise SignatureWrong(f"it was signed {age:.0f} s ago")
    right = f"v1,{_signature(secret, id, timestamp, body)}".encode()
    # There may be several, while a secret is being replaced.
    if not any(hmac.compare_digest(right, one.encode()) for one in given):
        raise SignatureWrong("it was signed with another secret, or changed afterwards")


def _signature(secret: str, id: str, timestamp: str, body: bytes) -> str:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise SignatureWrong("the secret is none: it is whsec_ and base64") from None
    told = b".".join((id.encode(), timestamp.encode(), body))
    return base64.b64encode(hmac.digest(key, told, hashlib.sha256)).decode()
