"""A webhook receiver in a process of its own: verifies each signature, answers 204.

python -m tests.support.webhook_process PORT SECRET
"""

import sys

import uvicorn
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


def receiver(secret: str) -> Starlette:
    hook = Webhook(secret)

    async def take(request: Request) -> Response:
        hook.verify(await request.body(), dict(request.headers))
        return Response(status_code=204)

    return Starlette(routes=[Route("/{rest:path}", take, methods=["POST"])])


if __name__ == "__main__":
    uvicorn.run(receiver(sys.argv[2]), port=int(sys.argv[1]), log_config=None, access_log=False)
