"""Settings of the processes, frozen; the environment is read here and nowhere else.

Every field is the environment variable `PHOTOTWIN_<NAME>`; a file of that name serves as well, and keeps
secrets out of the environment: in the folder `PHOTOTWIN_SECRETS_DIR`, where Docker or Kubernetes mount them,
or in `CREDENTIALS_DIRECTORY`, which systemd sets for a service with `LoadCredential=`.
"""

import os
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings import SettingsError as Unparsable

from broker.topology import Topology
from contracts.events import Segmenter
from contracts.fields import Sha256

Features = Literal["sift", "aliked"]
_ONNX = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.onnx$"


class SettingsError(ValueError):
    """A setting is missing or wrong; the message names its environment variable."""


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="PHOTOTWIN_", frozen=True, extra="ignore")

    amqp_url: SecretStr = SecretStr("amqp://guest:guest@localhost:5672/")
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")] = "phototwin"
    """Of all exchange and queue names."""
    retry_delays: tuple[Annotated[float, Field(gt=0)], ...] = Topology.retry_delays
    """Seconds; one retry queue each."""
    shards: Annotated[int, Field(ge=1, le=64)] = Topology.shards
    """Over how many queues the tenants of a lane are spread; `topology apply` after a change."""
    management_url: SecretStr | None = None
    """RabbitMQ's management, for `topology apply`; None is the usual port of the broker's host."""
    ca_file: str | None = None
    """The authorities, in PEM, whose certificates RabbitMQ (amqps) and the object store (https) may show;
    None is the system's for RabbitMQ and botocore's for the store. That a certificate is good, and the host's
    own, is always verified."""

    s3_endpoint_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+")] | None = None
    """None: the S3 that boto3 finds by itself."""
    s3_bucket: str = "phototwin"
    s3_region: str = "us-east-1"
    s3_access_key: str | None = None
    s3_secret_key: SecretStr | None = None

    http_host: str = "0.0.0.0"
    http_port: Annotated[int, Field(ge=0, le=65535)] = 9400
    """Of /metrics and /healthz; 0 takes any free port."""

    time_limit: Annotated[float, Field(gt=0)] = 1500.0
    """Seconds after which a job's computation is killed; below the half hour for which RabbitMQ lets a
    delivery go unacknowledged unless told otherwise."""
    max_attempts: Annotated[int, Field(ge=1)] = 5
    grace_seconds: Annotated[float, Field(ge=0)] = 25.0
    """How long after a SIGTERM the worker has ended; a job that needs less than this is finished first."""
    min_free_bytes: Annotated[int, Field(ge=0)] = 1 << 30
    """No job is taken while the disk that jobs work on has less."""
    keep_uploads_days: Annotated[float, Field(gt=0)] = 30.0
    keep_intermediates_days: Annotated[float, Field(gt=0)] = 30.0
    """Of datasets, masks and meshes; what `phototwin sweep` leaves of each capture for how long."""
    keep_checkpoints_days: Annotated[float, Field(gt=0)] = 2.0
    threads: Annotated[int, Field(ge=1)] = os.cpu_count() or 1
    """For the numeric kernels of one job."""
    max_upload_bytes: Annotated[int, Field(gt=0)] = 4 << 30
    segmenter: Segmenter = "auto"
    """For captures whose sender leaves the choice to us."""
    weights: str | None = None
    """Of neural networks: a folder, or `store:PREFIX`, keys in the object store; None is the folder where
    `phototwin weights fetch` puts them."""
    onnx_model: Annotated[str, Field(pattern=_ONNX)] | None = None
    """A file among the weights, and what its digest must be."""
    onnx_sha256: Sha256 | None = None
    features: Features = "sift"
    """What photos without poses are matched by; `phototwin weights fetch aliked` gets what ALIKED needs."""
    lightglue_model: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.pth$")] | None = None
    """A file among the weights, and what its digest must be: LightGlue's, for ALIKED."""
    lightglue_sha256: Sha256 | None = None
    retrieval_model: Annotated[str, Field(pattern=_ONNX)] | None = None
    """As well: a network in ONNX, such as DINOv2, that finds photos which look alike."""
    retrieval_sha256: Sha256 | None = None
    single_view_model: Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors$")] | None = (
        None
    )
    """A file among the weights, and what its digest must be: what `phototwin train single-view` made, in the
    place of the network that ships."""
    single_view_sha256: Sha256 | None = None
    work_dir: str | None = None
    """Where a job's files lie while it runs; None is the system's temporary folder."""
    traces_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+/")] | None = None
    """Where spans go: OTLP over HTTP, as http://collector:4318/v1/traces. Needs the extra `tracing`."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"

    @field_validator("amqp_url")
    @classmethod
    def _is_amqp_url(cls, url: SecretStr) -> SecretStr:
        return _checked(url, ("amqp", "amqps"))

    @field_validator("management_url")
    @classmethod
    def _is_http_url(cls, url: SecretStr | None) -> SecretStr | None:
        return _checked(url, ("http", "https")) if url else None

    @field_validator("ca_file")
    @classmethod
    def _holds_certificates(cls, path: str | None) -> str | None:
        if path is not None:
            try:
                ssl.create_default_context(cafile=path)
            except OSError as error:
                raise ValueError(f"{path} has no certificates for us: {error}") from None
        return path

    @field_validator("work_dir")
    @classmethod
    def _is_folder(cls, path: str | None) -> str | None:
        if path is not None and not Path(path).is_dir():
            raise ValueError(f"{path} is no folder")
        return path

    @property
    def topology(self) -> Topology:
        return Topology(self.prefix, self.retry_delays, self.shards, self.time_limit)

    @property
    def weights_folder(self) -> Path:
        """Where the weights are, unless they are in the object store."""
        return Path(os.path.expanduser(self.weights or "~/.cache/phototwin/weights")).absolute()


S = TypeVar("S", bound=Settings)


def from_environment() -> Settings:
    """Raises SettingsError."""
    return read_settings(Settings)


def read_settings(kind: type[S]) -> S:
    """As `from_environment`, of those who have more of them. Raises SettingsError."""
    try:
        return kind(_secrets_dir=tuple(_secret_folders()))  # type: ignore[call-arg]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "_".join(str(part) for part in first["loc"][:1]).upper()
        raise SettingsError(f"PHOTOTWIN_{name}: {first['msg'].removeprefix('Value error, ')}") from None
    except Unparsable as error:  # of one with a structure: it is named, and nothing else is told of it
        name = (re.findall(r'field "(\w+)"', str(error)) or ["?"])[0].upper()
        raise SettingsError(f'PHOTOTWIN_{name}: must be in JSON, as [5, 30] or ["10.0.0.0/8"]') from None
    except OSError as error:
        raise SettingsError(f"a setting cannot be read: {error}") from None


def _secret_folders() -> Iterator[str]:
    for variable in ("CREDENTIALS_DIRECTORY", "PHOTOTWIN_SECRETS_DIR"):
        if folder := os.environ.get(variable):
            if not Path(folder).is_dir():
                raise SettingsError(f"{variable}: {folder} is no folder")
            yield folder


def _checked(url: SecretStr, schemes: tuple[str, ...]) -> SecretStr:
    """Raises ValueError, which does not say what the URL is: it holds a password, and half of one may have
    been taken for the host."""
    text = url.get_secret_value()
    try:
        parts = urlsplit(text)
        sound = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0 and not parts.fragment
    except ValueError:
        sound = False
    if not sound or "@" in parts.path + parts.query:
        form = f"{schemes[0]}://USER:PASSWORD@HOST"
        raise ValueError(f"must be {form}, with / : @ # ? % of a password written as %2F %3A %40 ...")
    if "no_verify_ssl" in parse_qs(parts.query, keep_blank_values=True):
        raise ValueError("no_verify_ssl is refused; name the authority in PHOTOTWIN_CA_FILE")
    return url
