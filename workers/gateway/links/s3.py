"""Links to S3: URLs that are signed (SigV4) for one method, key, size and media type each. That what is put
has its size, the store sees to: the signature is over Content-Length."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aioboto3
from aiobotocore.config import AioConfig

from workers.gateway.links.interface import (
    EXPOSED,
    Missing,
    Target,
    UploadLost,
    disposition,
    in_parts,
    linked,
    missing,
    slices,
)
from workers.gateway.links.s3_uploads import Uploads, store_errors
from workers.gateway.settings import GatewaySettings
from workers.runtime.s3 import S3Store
from workers.runtime.storage import NotFound, Stat

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import CORSRuleTypeDef


@asynccontextmanager
async def connect(store: S3Store, settings: GatewaySettings) -> AsyncIterator["S3Links"]:
    """Links to a store, for clients who reach it as the settings say."""
    endpoint = settings.s3_public_endpoint_url or settings.s3_endpoint_url
    secret = settings.s3_secret_key
    config = AioConfig(
        signature_version="s3v4",  # botocore's links are signed by SigV2 unless told otherwise
        request_checksum_calculation="when_required",
        parameter_validation=False,
        s3={"addressing_style": "path"} if endpoint else {},
    )
    async with aioboto3.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        config=config,
    ) as signing:
        yield S3Links(store, signing, settings.upload_seconds)


class S3Links:
    """`interface.Links`; `signing` is a client that sends nothing, and `upload_seconds` how long a link to
    put by is good."""

    def __init__(self, store: S3Store, signing: "S3Client", upload_seconds: int) -> None:
        self._store, self._signing, self._seconds = store, signing, upload_seconds
        self._uploads = Uploads(store)

    async def begin(self, key: str, size: int, media_type: str) -> str | None:
        return await self._uploads.begin(key, media_type) if in_parts(size) else None

    async def target(
        self,
        key: str,
        size: int,
        media_type: str,
        upload_id: str | None,
        base: str,
        *,
        arrived: Mapping[str, int] | None = None,
    ) -> Target:
        if (arrived.get(key) if arrived is not None else await self._size(key)) == size:
            return Target(received=True)
        if upload_id is None:
            url = await self._sign(
                "put_object", self._seconds, key, ContentLength=size, ContentType=media_type
            )
            return Target(received=False, url=url, headers={"Content-Type": media_type})
        wanted = slices(size)
        found = await self._uploads.parts(key, upload_id)
        lacking = missing(wanted, {number: part.bytes for number, part in found.items()})
        links = {
            part.number: await self._sign(
                "upload_part",
                self._seconds,
                key,
                UploadId=upload_id,
                PartNumber=part.number,
                ContentLength=part.bytes,
            )
            for part in lacking
        }
        return Target(received=not lacking, parts=linked(wanted, links))

    async def finish(self, key: str, size: int, upload_id: str | None) -> Stat:
        lost: UploadLost | None = None
        if upload_id is not None:
            try:
                await self._uploads.complete(key, slices(size), upload_id)
            except UploadLost as error:  # perhaps because it is finished: then the object is there
                lost = error
        try:
            stat = await self._store.stat(key)
        except NotFound:
            raise lost or Missing(f"{key} is not there") from None
        if stat.bytes != size:
            raise lost or Missing(f"{key} has {stat.bytes} bytes, not {size}")
        return stat

    async def abort(self, key: str, upload_id: str) -> None:
        await self._uploads.abort(key, upload_id)

    async def download(
        self, key: str, base: str, *, name: str, media_type: str, seconds: int, inline: bool = True
    ) -> str:
        return await self._sign(
            "get_object",
            seconds,
            key,
            ResponseContentType=media_type,
            ResponseContentDisposition=disposition(name, inline),
        )

    async def _sign(self, method: str, seconds: int, key: str, **asked: Any) -> str:
        with store_errors(key):
            return await self._signing.generate_presigned_url(
                method, Params={"Bucket": self._store.bucket, "Key": key, **asked}, ExpiresIn=seconds
            )

    async def _size(self, key: str) -> int | None:
        try:
            return (await self._store.stat(key)).bytes
        except NotFound:
            return None


async def apply_cors(store: S3Store, origins: Sequence[str]) -> None:
    """Let pages of these origins (such as https://app.example.com) use links to the bucket, in place of those
    that it knew. Takes the bucket's owner. Raises StorageUnavailable."""
    rule: CORSRuleTypeDef = {
        "AllowedOrigins": list(origins),
        "AllowedMethods": ["GET", "HEAD", "PUT"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": list(EXPOSED),
        "MaxAgeSeconds": 3600,
    }
    with store_errors(store.bucket):
        await store.client.put_bucket_cors(Bucket=store.bucket, CORSConfiguration={"CORSRules": [rule]})
