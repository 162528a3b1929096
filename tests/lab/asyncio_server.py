#!/usr/bin/python3
"""Answers each line with its SHA-256, and the end of the client's lines with "bye", by asyncio: ADDRESS PORT."""

import asyncio
import hashlib
import sys


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(hashlib.sha256(line.rstrip(b"\n")).hexdigest().encode() + b"\n")
        await writer.drain()
    writer.write(b"bye\n")
    writer.close()
    await writer.wait_closed()


async def main() -> None:
    server = await asyncio.start_server(serve, sys.argv[1], int(sys.argv[2]))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
