"""A server that reads forms as vLLM does, with its starlette and python-multipart, and answers which model it read.

It runs with vLLM's own interpreter: form_server.py PORT
"""

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def model(request: Request) -> JSONResponse:
    """The models that a form names: FastAPI takes the last of several."""
    try:
        form = await request.form()
    except (HTTPException, ValueError, KeyError, UnicodeError) as error:
        return JSONResponse({"models": [], "error": str(error)})
    return JSONResponse({"models": [value if isinstance(value, str) else "(a file)" for value in form.getlist("model")]})


async def health(_: Request) -> JSONResponse:
    """Says that it runs."""
    return JSONResponse({})


app = Starlette(
    routes=[Route("/health", health), Route("/v1/models", health), Route("/v1/audio/transcriptions", model, methods=["POST"])]
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
