"""Starts the workflow from Python and waits for its result."""

import asyncio

from hello import hello

from perdure import Client


async def main() -> None:
    async with await Client.connect("http://127.0.0.1:7233") as client:
        handle = await client.start_workflow(hello, "Ada", id="hello-1")
        print(await handle.result())


if __name__ == "__main__":
    asyncio.run(main())
