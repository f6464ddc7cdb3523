"""A private S3 for tests: the Ceph object gateway over one monitor and one in-memory object store."""

import json
import secrets
import shutil
import time
import urllib.request
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import botocore.session
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from tests.servers.certificates import Authority
from tests.servers.keeper import Keeper, ServerError, free_ports, serves

PROGRAMS = ("ceph", "ceph-authtool", "monmaptool", "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin")

CONFIGURATION = """
[global]
fsid = {cluster}
mon initial members = a
mon host = {monitor}
public network = 127.0.0.0/8
ms bind ipv6 = false
keyring = {home}/keyring
run dir = {home}
pid file = {home}/$name.pid
log file =
log to stderr = true
crash dir = {home}
# No control sockets: their paths would have to fit into 107 characters.
admin socket =
setuser match path =
auth allow insecure global id reclaim = false
# A single copy, on a single disk.
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data avail warn = 1
mon data avail crit = 1
# The usual second between map changes makes up nearly all of the start-up: a dozen pools are created.
paxos propose interval = 0.02
paxos min wait = 0.01
[mon.a]
mon data = {home}/mon
[osd.0]
osd data = {home}/osd
# Nothing on disk: fast, and no matter whether the temporary directory supports direct I/O.
osd objectstore = memstore
memstore device bytes = 4G
[client.rgw.a]
rgw data = {home}/rgw
rgw frontends = beast endpoint=127.0.0.1:{gateway} ssl_endpoint=127.0.0.1:{tls} \
ssl_certificate={certificate} ssl_private_key={key}
rgw dns name = localhost
rgw thread pool size = 64
"""

CAPABILITIES = {
    "mon.": {"mon": "allow *"},
    "client.admin": {"mon": "allow *", "osd": "allow *"},
    "osd.0": {"mon": "allow profile osd"},
    "client.rgw.a": {"mon": "allow rw", "osd": "allow rwx"},
}


@dataclass(frozen=True)
class ObjectStore:
    """Where an S3 is reached, with which key, and a bucket there for the tests. `tls_url`: the same by TLS,
    its certificate for `localhost` and by the authority in `ca_file`."""

    endpoint_url: str
    key: str
    secret: str
    bucket: str
    tls_url: str | None = None
    ca_file: str | None = None

    def create_bucket(self) -> None:
        """Make the bucket."""
        self._client().create_bucket(Bucket=self.bucket)

    def remove_bucket(self) -> None:
        """Remove the bucket with everything in it, also what arrives meanwhile: of a worker just killed."""
        client = self._client()
        for _ in range(20):
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket):
                for item in page.get("Contents", []):
                    client.delete_object(Bucket=self.bucket, Key=item["Key"])
            try:
                client.delete_bucket(Bucket=self.bucket)
                return
            except client.exceptions.ClientError as error:
                if error.response["Error"]["Code"] != "BucketNotEmpty":
                    raise
            time.sleep(0.5)
        raise ServerError(f"bucket {self.bucket} is never empty")

    def add_user(self, name: str, policy: Mapping[str, Any]) -> "ObjectStore":
        """The same store for a new user, who may do what the policy says, in IAM's language, and nothing
        else. Raises ServerError where the store is no Ceph whose key may make users."""
        key, secret = secrets.token_hex(8), secrets.token_hex(16)
        who = {"uid": name, "display-name": name, "access-key": key, "secret-key": secret}
        request = AWSRequest("PUT", f"{self.endpoint_url}/admin/user?{urlencode(who)}")
        S3SigV4Auth(Credentials(self.key, self.secret), "s3", "us-east-1").add_auth(request)
        ready = urllib.request.Request(str(request.url), headers=dict(request.headers), method="PUT")
        try:
            with urllib.request.urlopen(ready, timeout=30):
                pass
        except OSError as error:
            raise ServerError(f"{self.endpoint_url} makes no users: {error}") from error
        iam = self._client("iam")
        iam.put_user_policy(UserName=name, PolicyName="phototwin", PolicyDocument=json.dumps(policy))
        return replace(self, key=key, secret=secret)

    def _client(self, service: str = "s3") -> Any:
        return botocore.session.get_session().create_client(
            service,
            region_name="us-east-1",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            config=Config(s3={"addressing_style": "path"}),
        )


class Ceph:
    """An object store of one's own, ready with an empty bucket once constructed.

    As a context manager it ends all of its processes on exit. What it holds lives in memory only.
    Raises ServerError where Ceph is not installed or does not start.
    """

    def __init__(self) -> None:
        missing = [program for program in PROGRAMS if not shutil.which(program)]
        if missing:
            raise ServerError(
                f"{missing[0]} is not installed: run scripts/test-servers.sh, or set PHOTOTWIN_TEST_S3_URL, "
                "PHOTOTWIN_TEST_S3_KEY and PHOTOTWIN_TEST_S3_SECRET to an S3 that the tests may use."
            )
        self._keeper = Keeper()
        try:
            self.store = self._boot()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all processes and remove their files."""
        self._keeper.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _boot(self) -> ObjectStore:
        messenger, legacy, gateway, tls = free_ports(4)
        cluster = str(uuid.uuid4())
        monitor = f"[v2:127.0.0.1:{messenger},v1:127.0.0.1:{legacy}]"
        home = self._keeper.directory
        for daemon in ("mon", "osd", "rgw"):
            (home / daemon).mkdir()
        authority = Authority(home)
        certificate, private = authority.issue("localhost")
        (home / "ceph.conf").write_text(
            CONFIGURATION.format(
                cluster=cluster,
                monitor=monitor,
                home=home,
                gateway=gateway,
                tls=tls,
                certificate=certificate,
                key=private,
            )
        )
        self._start_cluster(cluster, monitor)
        key, secret = secrets.token_hex(8), secrets.token_hex(16)
        plain, by_tls = f"http://127.0.0.1:{gateway}", f"https://localhost:{tls}"
        store = ObjectStore(plain, key, secret, "phototwin", by_tls, str(authority.file))
        self._start_gateway(store)
        store.create_bucket()
        return store

    def _start_cluster(self, cluster: str, monitor: str) -> None:
        run, home = self._keeper.run, self._keeper.directory
        keyring = home / "keyring"
        keyring.touch(mode=0o600)
        for name, capabilities in CAPABILITIES.items():
            grants = [word for grant in capabilities.items() for word in ("--cap", *grant)]
            run("ceph-authtool", keyring, "--gen-key", "-n", name, *grants)
        run("monmaptool", "--create", "--fsid", cluster, "--addv", "a", monitor, home / "monmap")
        run("ceph-mon", *self._conf, "--mkfs", "-i", "a", "--monmap", home / "monmap", "--keyring", keyring)
        self._keeper.start("ceph-mon", *self._conf, "-i", "a", "-f")
        disk = str(uuid.uuid4())
        run("ceph", *self._conf, "--connect-timeout", "120", "osd", "new", disk)
        run("ceph-osd", *self._conf, "-i", "0", "--mkfs", "--osd-uuid", disk)
        self._keeper.start("ceph-osd", *self._conf, "-i", "0", "-f")

    def _start_gateway(self, store: ObjectStore) -> None:
        identity = (*self._conf, "-n", "client.rgw.a")
        pid = self._keeper.start("radosgw", *identity, "-f")
        self._keeper.wait_until(lambda: serves(store.endpoint_url), "radosgw", pid)
        user = (
            "--uid=test",
            "--display-name=test",
            f"--access-key={store.key}",
            f"--secret-key={store.secret}",
            "--caps=users=*;user-policy=*",
        )
        self._keeper.run("radosgw-admin", *identity, "user", "create", *user)

    @property
    def _conf(self) -> tuple[str, Path]:
        return "-c", self._keeper.directory / "ceph.conf"
