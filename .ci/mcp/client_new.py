"""The official Python SDK, second generation, as a client: both eras, both transports.

usage: client_new.py PROGRAM URL
"""

import asyncio
import os
import sys

from mcp import Client, StdioServerParameters


async def judge(server, era: str, transport: str) -> None:
    async with Client(server, mode=era) as client:
        tools = (await client.list_tools()).tools
        assert len(tools) == 9 and tools[0].name == "get_time", [tool.name for tool in tools]
        assert all(tool.title and tool.output_schema and tool.annotations for tool in tools)
        time = await client.call_tool("get_time", {"timezone": "Asia/Kathmandu"})
        answer = time.structured_content
        assert not time.is_error and answer["utc_offset"] == "+05:45", time
        assert answer["trustworthy"] is True and answer["state"] == "synced", answer
        refused = await client.call_tool("get_time", {"timezone": "Nowhere/City"})
        assert refused.is_error and "IANA" in refused.content[0].text, refused
        status = await client.read_resource("chronotick://status")
        assert '"alive":true' in status.contents[0].text, status
        waited = await client.call_tool("wait_until", {"time": answer["corrected_time"] + 0.3, "certain": True})
        assert waited.structured_content["certainly_past"] is True, waited
        print(f"Python {era} over {transport}: {client.protocol_version}, answered and refused as promised")


async def main() -> None:
    program, url = sys.argv[1:]
    for era in ("auto", "legacy"):
        stdio = StdioServerParameters(command=program, args=["mcp"], env=dict(os.environ))
        await judge(stdio, era, "stdio")
        await judge(url, era, "http")


asyncio.run(main())
