"""A plain ASGI application that asks the URL in its query, and fails without one."""

import httpx


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    async with httpx.AsyncClient() as client:
        response = await client.get(scope["query_string"].decode())
    await send({"type": "http.response.start", "status": response.status_code, "headers": []})
    await send({"type": "http.response.body", "body": response.content})
