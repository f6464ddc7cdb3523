"""What a gateway is set to, beside what it shares with the workers."""

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator

from workers.runtime.settings import Settings


class GatewaySettings(Settings):
    """As `Settings`: each field is the variable `PHOTOTWIN_<NAME>`, or a file of that name."""

    database_url: SecretStr = SecretStr("postgresql+asyncpg://phototwin@localhost/phototwin")
    """Of the gateway's own database, as SQLAlchemy writes it."""
    gateway_host: str = "0.0.0.0"
    gateway_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Of the API and the page; 0 takes any free port."""
    public_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+$")] | None = None
    """How clients reach the gateway, without a path: for the links it hands out, where it keeps the files
    itself. None: as each of them did."""
    s3_public_endpoint_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+")] | None = None
    """How clients reach the object store, where that is another way than ours: for the links."""

    auth: Literal["keys", "none"] = "keys"
    """none: whoever can reach it is the tenant `default`. For one person's own machine."""
    oidc_issuer: str | None = None
    """Tokens of this issuer are good as well as our own keys."""
    oidc_audience: str | None = None
    """Which they must be for."""
    oidc_jwks_url: str | None = None
    """Where the issuer's keys are; None: as its discovery document says."""
    oidc_tenant_claim: str = "tenant"
    """The claim that holds the tenant."""

    requests_per_minute: Annotated[int, Field(ge=1)] = 600
    """Of a tenant, at each replica."""
    max_open_captures: Annotated[int, Field(ge=1)] = 50
    """Of a tenant at a time: those that are being uploaded or worked on."""
    max_listeners: Annotated[int, Field(ge=1)] = 500
    """Of a tenant, at each replica: connections that are told of events."""
    max_files: Annotated[int, Field(ge=1, le=5000)] = 2000
    """Of a capture."""
    upload_seconds: Annotated[int, Field(ge=60, le=604_800)] = 3600
    """How long a link to upload by is good; there are new ones for the asking."""
    link_seconds: Annotated[int, Field(ge=60, le=604_800)] = 900
    """How long a link to download by is good."""
    webhook_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Of our own: webhooks may go there, which else go to public addresses only."""
    webhook_attempts: Annotated[int, Field(ge=1, le=50)] = 12
    """How often a webhook is tried; the pauses grow to six hours."""

    @field_validator("database_url")
    @classmethod
    def _is_known(cls, url: SecretStr) -> SecretStr:
        kind = url.get_secret_value().partition("://")[0]
        if kind not in ("postgresql+asyncpg", "sqlite+aiosqlite"):
            raise ValueError("must begin with postgresql+asyncpg:// or sqlite+aiosqlite://")
        return url
