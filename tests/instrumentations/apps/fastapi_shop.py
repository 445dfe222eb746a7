"""A FastAPI application with everything that the tests ask for; spans come from sqlite3."""

import asyncio
import sqlite3

from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, UploadFile
from fastapi.responses import JSONResponse, RedirectResponse, StreamingResponse

app = FastAPI(title="shop")


def query(value):
    connection = sqlite3.connect(":memory:")
    connection.execute(f"SELECT {value} FROM sqlite_master")
    connection.close()


async def session():
    query(10)
    try:
        yield "session"
    finally:
        query(11)


inner = APIRouter(prefix="/orders")
outer = APIRouter(prefix="/v1")


@inner.get("/{order}/lines/{line:int}")
async def line(order: str, line: int):
    query(line)
    return {"order": order, "line": line}


@outer.get("/thread/{number}")
def in_thread(number: int):
    query(number)
    return number


outer.include_router(inner, prefix="/shop")
app.include_router(outer, prefix="/api")


@app.get("/items/{id}")
async def item(id: int):
    query(id)
    return {"id": id}


@app.get("/depends")
async def depends(found: str = Depends(session)):
    query(12)
    return found


@app.get("/missing")
async def missing():
    raise HTTPException(404, "no such thing")


@app.get("/handled")
async def handled():
    raise LookupError("dealt with")


@app.exception_handler(LookupError)
async def conflict(request, error):
    return JSONResponse({"error": str(error)}, status_code=409)


@app.get("/boom")
async def boom():
    raise ZeroDivisionError("boom")


@app.get("/moved")
async def moved():
    return RedirectResponse("/items/1")


@app.get("/stream/{count}")
def stream(count: int):
    def pieces():
        for number in range(count):
            query(number)
            yield f"{number};"

    return StreamingResponse(pieces(), media_type="text/plain")


@app.get("/endless")
async def endless():
    async def pieces():
        while True:
            yield b"x" * 65536
            await asyncio.sleep(0.001)

    return StreamingResponse(pieces())


@app.post("/upload")
async def upload(file: UploadFile):
    return len(await file.read())


async def later():
    await asyncio.sleep(0.2)
    query(7)


@app.get("/background")
async def background(tasks: BackgroundTasks):
    tasks.add_task(later)
    return "done"


@app.get("/work/{number}")
async def work(number: int):
    query(number)
    await asyncio.sleep(0.02)
    await asyncio.to_thread(query, number)
    return number


below = FastAPI()


@below.get("/things/{thing}")
async def thing(thing: str):
    query(5)
    return thing


@below.get("/boom")
async def boom_below():
    raise ZeroDivisionError("below")


app.mount("/tenants/{tenant}", below)
