"""Any S3-compatible store, over aioboto3."""

import hashlib
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aioboto3
from aiobotocore.config import AioConfig
from aiobotocore.httpsession import AIOHTTPSession
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from contracts.errors import StorageUnavailable
from workers.runtime.settings import Settings
from workers.runtime.storage import Fetched, Listed, NotFound, Stat, StorageDenied, local_disk

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

CHUNK = 1 << 20


@asynccontextmanager
async def connect(settings: Settings) -> AsyncIterator["S3Store"]:
    """A store on the bucket that the settings name; where it is reached by https its certificate is
    verified."""
    secret = settings.s3_secret_key
    config = AioConfig(
        connect_timeout=5,
        read_timeout=30,
        parameter_validation=False,  # of what we have checked ourselves; it takes as long as the signature
        retries={"mode": "standard", "max_attempts": 3},
        # Stores other than Amazon's may not know the checksum trailers that are sent by default.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path"} if settings.s3_endpoint_url else {},
        http_session_cls=_Verifying,
    )
    async with aioboto3.Session().client(
        "s3",
        endpoint_url=settings.s3_endpoint_url,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        verify=settings.ca_file,
        config=config,
    ) as client:
        yield S3Store(client, settings.s3_bucket)


class S3Store:
    """`storage.ObjectStore` on one bucket."""

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self.bucket = bucket

    @property
    def client(self) -> "S3Client":
        """For what an object store does beyond `storage.ObjectStore`."""
        return self._client

    async def stat(self, key: str) -> Stat:
        async with self._reading(key):
            head = await self._client.head_object(Bucket=self.bucket, Key=key)
        return Stat(head["ContentLength"], head["ETag"].strip('"'))

    async def get(self, key: str) -> bytes:
        async with self._reading(key):
            response = await self._client.get_object(Bucket=self.bucket, Key=key)
            async with response["Body"] as body:
                return await body.read()

    async def download(self, key: str, path: Path, limit: int) -> Fetched:
        digest, size = hashlib.sha256(), 0
        async with self._reading(key):
            response = await self._client.get_object(Bucket=self.bucket, Key=key)
            async with response["Body"] as body:
                with local_disk(path), path.open("wb"):
                    pass
                while size <= limit and (chunk := await body.content.read(min(CHUNK, limit + 1 - size))):
                    digest.update(chunk)
                    size += len(chunk)
                    with local_disk(path), path.open("ab") as file:
                        file.write(chunk)
        return Fetched(size, digest.hexdigest())

    async def put(self, key: str, path: Path, media_type: str) -> None:
        with _storage_errors(key), path.open("rb") as file:
            await self._client.upload_fileobj(file, self.bucket, key, ExtraArgs={"ContentType": media_type})

    async def put_if_absent(self, key: str, body: bytes, media_type: str) -> bool:
        try:
            with _storage_errors(key):
                await self._client.put_object(
                    Bucket=self.bucket, Key=key, Body=body, ContentType=media_type, IfNoneMatch="*"
                )
        except _Present:
            return False
        return True

    async def below(self, folder: str) -> list[Listed]:
        return [each async for each in self.listing(folder)]

    async def listing(self, folder: str) -> AsyncIterator[Listed]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=folder)
        coming = aiter(pages)
        while True:
            with _storage_errors(folder):
                page = await anext(coming, None)
            if page is None:
                return
            for entry in page.get("Contents", ()):
                yield Listed(entry["Key"], entry["Size"], entry["LastModified"].timestamp())

    async def delete(self, key: str) -> None:
        with _storage_errors(key):
            await self._client.delete_object(Bucket=self.bucket, Key=key)

    @asynccontextmanager
    async def _reading(self, key: str) -> AsyncIterator[None]:
        """Of an object that is absent a store says `denied` to whoever may not list the whole bucket. What
        may be listed is, so a listing of this one key can tell."""
        try:
            with _storage_errors(key):
                yield
        except StorageDenied:
            if await self._knows_to_be_absent(key):
                raise NotFound(key) from None
            raise

    async def _knows_to_be_absent(self, key: str) -> bool:
        try:
            with _storage_errors(key):
                page = await self._client.list_objects_v2(Bucket=self.bucket, Prefix=key, MaxKeys=1)
        except StorageDenied:
            return False
        return not any(entry["Key"] == key for entry in page.get("Contents", ()))


class _Verifying(AIOHTTPSession):
    """aiobotocore (2.25) by itself believes a certificate whatever host it is for, and behind a proxy any."""

    def _get_ssl_context(self) -> ssl.SSLContext:
        context: ssl.SSLContext = super()._get_ssl_context()  # type: ignore[misc]
        context.check_hostname = True
        return context

    def _setup_proxy_ssl_context(self, proxy_url: str) -> ssl.SSLContext:
        found: ssl.SSLContext | None = super()._setup_proxy_ssl_context(proxy_url)  # type: ignore[misc]
        return found or self._get_ssl_context()


class _Present(Exception):
    """A conditional put found an object of that key."""


@contextmanager
def _storage_errors(key: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if code in ("NoSuchKey", "404", "NotFound"):
            raise NotFound(key) from None
        # 409: another conditional put of this key was under way and has won.
        if code in ("PreconditionFailed", "412", "ConditionalRequestConflict"):
            raise _Present(key) from None
        if code in ("AccessDenied", "403"):
            raise StorageDenied(
                f"{key}: {error.operation_name} is denied; see 'phototwin storage policy'"
            ) from error
        raise StorageUnavailable(f"{key}: {code or error}") from error
    except NoCredentialsError as error:
        hint = "set PHOTOTWIN_S3_ACCESS_KEY and PHOTOTWIN_S3_SECRET_KEY"
        raise StorageUnavailable(f"no credentials for the object store: {hint}") from error
    except (BotoCoreError, OSError, TimeoutError) as error:
        raise StorageUnavailable(f"{key}: {type(error).__name__}: {error}") from error
