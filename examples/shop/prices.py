"""The price service of the shop: FastAPI, with its list of prices in SQLite."""

import sqlite3

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

app = FastAPI()
database = sqlite3.connect(":memory:", check_same_thread=False)
database.execute("create table prices (product integer primary key, price real)")
database.executemany("insert into prices values (?, ?)", [(number, number * 1.5) for number in range(1, 8)])


class Wanted(BaseModel):
    product_id: int
    amount: int


def price_of(product_id: int) -> float:
    row = database.execute("select price from prices where product = ?", (product_id,)).fetchone()
    if row is None:
        raise HTTPException(503, "no price today")
    return float(row[0])


@app.get("/prices/{product_id}")
async def price(product_id: int):
    return {"price": price_of(product_id)}


@app.post("/quotes")
async def quote(wanted: Wanted):
    if wanted.amount > 100:
        raise OverflowError(f"nobody buys {wanted.amount}")
    return {"total": price_of(wanted.product_id) * wanted.amount}
