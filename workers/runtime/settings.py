"""Settings of the processes, frozen; the environment is read here and nowhere else.

Every field is the environment variable `PHOTOTWIN_<NAME>`; with `PHOTOTWIN_SECRETS_DIR` set, a file
of that name in that folder serves as well (and keeps secrets out of the environment).
"""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

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
    prefix: str = "phototwin"
    """Of all exchange and queue names."""
    retry_delays: tuple[Annotated[float, Field(gt=0)], ...] = Topology.retry_delays
    """Seconds; one retry queue each."""

    s3_endpoint_url: str | None = None
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
    work_dir: str | None = None
    """Where a job's files lie while it runs; None is the system's temporary folder."""
    log_level: str = "INFO"

    @property
    def topology(self) -> Topology:
        return Topology(self.prefix, self.retry_delays)

    @property
    def weights_folder(self) -> Path:
        """Where the weights are, unless they are in the object store."""
        return Path(os.path.expanduser(self.weights or "~/.cache/phototwin/weights")).absolute()


def from_environment() -> Settings:
    """Raises SettingsError."""
    try:
        return Settings(_secrets_dir=os.environ.get("PHOTOTWIN_SECRETS_DIR"))  # type: ignore[call-arg]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = "_".join(str(part) for part in first["loc"][:1]).upper()
        raise SettingsError(f"PHOTOTWIN_{name}: {first['msg']}") from None
