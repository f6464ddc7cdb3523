"""Uploads in parts, as S3 has them."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from contracts.errors import StorageUnavailable
from workers.gateway.links.interface import Missing, Slice, UploadLost, missing
from workers.runtime.s3 import S3Store
from workers.runtime.storage import Stat, StorageDenied

if TYPE_CHECKING:
    from types_aiobotocore_s3.type_defs import CompletedPartTypeDef


class Uploads:
    """All raise StorageUnavailable."""

    def __init__(self, store: S3Store) -> None:
        self._client, self._bucket = store.client, store.bucket

    async def begin(self, key: str, media_type: str) -> str:
        with store_errors(key):
            made = await self._client.create_multipart_upload(
                Bucket=self._bucket, Key=key, ContentType=media_type
            )
        return made["UploadId"]

    async def abort(self, key: str, upload_id: str) -> None:
        with suppress(UploadLost), store_errors(key):
            await self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)

    async def parts(self, key: str, upload_id: str) -> dict[int, Stat]:
        """Those that are there, by number. Raises UploadLost. Of an upload that is over Ceph says `denied` to
        whoever does not own the bucket; whether it is, a listing can tell."""
        try:
            return await self._listed(key, upload_id)
        except StorageDenied:
            if await self._is_open(key, upload_id):
                raise
            raise _lost(key) from None

    async def _listed(self, key: str, upload_id: str) -> dict[int, Stat]:
        found: dict[int, Stat] = {}
        with store_errors(key):
            pages = self._client.get_paginator("list_parts").paginate(
                Bucket=self._bucket, Key=key, UploadId=upload_id
            )
            async for page in pages:
                found |= {
                    part["PartNumber"]: Stat(part["Size"], part["ETag"]) for part in page.get("Parts", ())
                }
        return found

    async def _is_open(self, key: str, upload_id: str) -> bool:
        with store_errors(key):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._bucket, Prefix=key
            )
            async for page in pages:
                if any(upload["UploadId"] == upload_id for upload in page.get("Uploads", ())):
                    return True
        return False

    async def complete(self, key: str, wanted: list[Slice], upload_id: str) -> None:
        """Raises Missing, UploadLost."""
        found = await self.parts(key, upload_id)
        if lacking := missing(wanted, {number: part.bytes for number, part in found.items()}):
            raise Missing(f"{key}: {len(lacking)} of its {len(wanted)} parts are not there")
        parts: list[CompletedPartTypeDef] = [
            {"PartNumber": part.number, "ETag": found[part.number].etag} for part in wanted
        ]
        with store_errors(key):
            await self._client.complete_multipart_upload(
                Bucket=self._bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": parts}
            )


def _lost(key: str) -> UploadLost:
    return UploadLost(f"{key}: the store does not know this upload in parts")


@contextmanager
def store_errors(key: str) -> Iterator[None]:
    """As StorageUnavailable, or UploadLost."""
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        # NoSuchKey is what Ceph says of an upload in parts that it does not know.
        if code in ("NoSuchUpload", "NoSuchKey"):
            raise _lost(key) from None
        if code in ("AccessDenied", "403"):
            raise StorageDenied(
                f"{key}: {error.operation_name} is denied; see 'phototwin storage policy'"
            ) from error
        raise StorageUnavailable(f"{key}: {code or error}") from error
    except (BotoCoreError, OSError, TimeoutError) as error:
        raise StorageUnavailable(f"{key}: {type(error).__name__}: {error}") from error
