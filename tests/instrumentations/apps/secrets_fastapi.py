"""A FastAPI application that is told secrets."""

from typing import Annotated, Any

import secrets_elsewhere
from fastapi import Body, FastAPI, File, Form, Request, Response, UploadFile

app = FastAPI()


def answer(request: Request, response: Response, size: int) -> int:
    secrets_elsewhere.elsewhere()
    if "fail" in request.query_params:
        secrets_elsewhere.fail()
    for name, value in secrets_elsewhere.answered():
        response.headers.append(name, value)
    return size


@app.post("/take/json")
def taken_json(request: Request, response: Response, body: Annotated[Any, Body()]):
    return answer(request, response, len(body))


@app.post("/take/form")
def taken_form(request: Request, response: Response, password: Annotated[str, Form()], plain: Annotated[str, Form()]):
    return answer(request, response, len(plain))


@app.post("/take/multipart")
async def taken_multipart(
    request: Request,
    response: Response,
    plain: Annotated[str, Form()],
    password: Annotated[str, Form()],
    photo: Annotated[UploadFile, File()],
):
    return answer(request, response, len(await photo.read()))
