"""Certificates for tests, by the openssl program: a private authority, and what it vouches for."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.servers.keeper import ServerError

NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")


@dataclass(frozen=True)
class Authority:
    """One of our own, made in a folder; `file` is what clients are to trust. Raises ServerError."""

    folder: Path

    def __post_init__(self) -> None:
        _openssl("-subj", "/CN=test authority", "-out", self.file, "-keyout", self._key)

    @property
    def file(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def _key(self) -> Path:
        return self.folder / "ca.key"

    def issue(self, host: str) -> tuple[Path, Path]:
        """Certificate and private key, in PEM, of a server of that name."""
        certificate, key = self.folder / f"{host}.pem", self.folder / f"{host}.key"
        name = ("-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}")
        role = ("-addext", "basicConstraints=critical,CA:FALSE")
        signed = ("-CA", self.file, "-CAkey", self._key)
        _openssl(*name, *role, *signed, "-out", certificate, "-keyout", key)
        return certificate, key


def _openssl(*arguments: str | Path) -> None:
    if not shutil.which("openssl"):
        raise ServerError("openssl is not installed: run scripts/test-servers.sh")
    command = ["openssl", "req", "-x509", *NEW_KEY, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise ServerError(f"openssl failed: {done.stderr}")
