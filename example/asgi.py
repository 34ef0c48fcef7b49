"""For servers: `hypercorn example.asgi:app`, `uvicorn example.asgi:app`."""

from example.app import create_app

app = create_app()
