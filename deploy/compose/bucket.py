"""Makes the bucket of the settings, where there is none, and lets the page's browser use links to it. Run by
compose.yaml before all else, with the page's address."""

import asyncio
import sys

from workers.gateway.links.s3 import apply_cors
from workers.runtime import s3
from workers.runtime.settings import from_environment


async def main(origin: str) -> None:
    async with s3.connect(from_environment()) as store:
        found = await store.client.list_buckets()
        if not any(bucket["Name"] == store.bucket for bucket in found["Buckets"]):
            await store.client.create_bucket(Bucket=store.bucket)
        await apply_cors(store, [origin])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
