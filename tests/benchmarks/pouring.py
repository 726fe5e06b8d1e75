"""A load generator in a process of its own: one prepared request over and over, many connections.

    python -m tests.benchmarks.pouring HOST PORT CONNECTIONS SECONDS REQUEST_FILE

prints one line of JSON: requests answered 2xx, other statuses, seconds, p50 and p99 latency in ms.
REQUEST_FILE holds one request or several, each whole with its head, as a JSON list of base64.
"""

import asyncio
import base64
import json
import sys
import time
from collections import Counter
from pathlib import Path

import uvloop


async def pour(
    host: str, port: int, connections: int, seconds: float, requests: list[bytes]
) -> dict[str, object]:
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    begun = time.perf_counter()
    end = begun + seconds

    async def one(start: int) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        n = start
        while (now := time.perf_counter()) < end:
            writer.write(requests[n % len(requests)])
            n += 1
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            at = head.lower().find(b"content-length: ")
            if at >= 0:
                size = int(head[at + 16 : head.index(b"\r", at)])
                if size:
                    await reader.readexactly(size)
            statuses[status] += 1
            latencies.append(time.perf_counter() - now)
            if status in (429, 503):
                await asyncio.sleep(0.05)
        writer.close()

    await asyncio.gather(*(one(n * 7) for n in range(connections)))
    took = time.perf_counter() - begun
    latencies.sort()
    good = sum(n for status, n in statuses.items() if 200 <= status < 300)
    return {
        "good": good,
        "other": {str(s): n for s, n in statuses.items() if not 200 <= s < 300},
        "seconds": took,
        "p50": latencies[len(latencies) // 2] * 1000,
        "p99": latencies[int(len(latencies) * 0.99)] * 1000,
    }


def main() -> None:
    host, port, connections, seconds, file = sys.argv[1:]
    requests = [base64.b64decode(text) for text in json.loads(Path(file).read_text())]
    found = uvloop.run(pour(host, int(port), int(connections), float(seconds), requests))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
