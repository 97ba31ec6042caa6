"""The official Python SDK, first generation, as a client: both transports.

usage: client_old.py PROGRAM URL
"""

import asyncio
import os
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamablehttp_client


async def judge(streams, transport: str) -> None:
    async with ClientSession(streams[0], streams[1]) as session:
        hello = await session.initialize()
        tools = (await session.list_tools()).tools
        assert len(tools) == 9 and all(tool.outputSchema for tool in tools), tools
        time = await session.call_tool("get_time", {})
        assert time.structuredContent["trustworthy"] is True, time
        converted = await session.call_tool(
            "convert_time",
            {"time": "2026-03-29T02:30", "source_timezone": "Europe/Berlin", "target_timezone": "UTC"},
        )
        assert converted.structuredContent["kind"] == "gap", converted
        refused = await session.call_tool("get_time_with_future_uncertainty", {"future_seconds": -1})
        assert refused.isError and "0 to 3600" in refused.content[0].text, refused
        print(f"Python, first generation, over {transport}: {hello.protocolVersion}")


async def main() -> None:
    program, url = sys.argv[1:]
    async with stdio_client(StdioServerParameters(command=program, args=["mcp"], env=dict(os.environ))) as streams:
        await judge(streams, "stdio")
    async with streamablehttp_client(url) as streams:
        await judge(streams, "http")


asyncio.run(main())
