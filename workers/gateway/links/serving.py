"""An open file as the answer to a GET or HEAD: with ETag, and in part where that is asked for (RFC 9110)."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping
from typing import BinaryIO

from starlette.responses import Response, StreamingResponse

CHUNK = 1 << 18


def answer(file: BinaryIO, method: str, asked: Mapping[str, str], headers: Mapping[str, str]) -> Response:
    """`asked`: the request's headers; `headers`: what the answer has beside those of size, range and ETag.
    Closes the file."""
    about = os.fstat(file.fileno())
    etag = f'"{about.st_mtime_ns:x}-{about.st_size:x}"'
    told = {**headers, "ETag": etag, "Accept-Ranges": "bytes"}
    if asked.get("if-none-match") == etag:
        file.close()
        return Response(status_code=304, headers=told)
    status, start, end = 200, 0, about.st_size
    if asked.get("if-range", etag) == etag and (wanted := _range(asked.get("range", ""), about.st_size)):
        status, (start, end) = 206, wanted
        if start >= end:
            file.close()
            return Response(status_code=416, headers=told | {"Content-Range": f"bytes */{about.st_size}"})
        told["Content-Range"] = f"bytes {start}-{end - 1}/{about.st_size}"
    told["Content-Length"] = str(end - start)
    if method == "HEAD":
        file.close()
        return Response(status_code=status, headers=told)
    return StreamingResponse(_read(file, start, end), status, told)


def _range(asked: str, size: int) -> tuple[int, int] | None:
    """(start, end) of the one range that is asked for, end exclusive; None where there is none, or several,
    which a server may answer with all. Where nothing of it is there, start is not below end."""
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", asked)
    if not found or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1 if last else size)


async def _read(file: BinaryIO, start: int, end: int) -> AsyncIterator[bytes]:
    with file:
        file.seek(start)
        while start < end and (chunk := await asyncio.to_thread(file.read, min(CHUNK, end - start))):
            start += len(chunk)
            yield chunk
