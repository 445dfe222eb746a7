"""A small shop: Flask, SQLAlchemy on SQLite, and prices from another service. It knows nothing of any agent."""

import os

import httpx
import requests
from flask import Flask, abort, jsonify, redirect, request
from sqlalchemy import ForeignKey, String, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

PRICES = os.environ["SHOP_PRICES_URL"]
engine = create_engine("sqlite:///" + os.environ["SHOP_DATABASE"])
app = Flask(__name__)
with engine.connect():
    pass  # without a database there is no shop


class Base(DeclarativeBase):
    pass


class Product(Base):
    __tablename__ = "products"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"))
    amount: Mapped[int]


@app.get("/")
def products():
    with Session(engine) as session:
        return jsonify([{"id": each.id, "name": each.name} for each in session.scalars(select(Product))])


@app.get("/products/<int:product_id>")
def product(product_id: int):
    with Session(engine) as session:
        found = session.get(Product, product_id)
        if found is None:
            abort(404)
        answer = requests.get(f"{PRICES}/prices/{product_id}", timeout=10)
        answer.raise_for_status()
        return jsonify(id=found.id, name=found.name, price=answer.json()["price"])


@app.post("/orders")
def order():
    wanted = request.get_json()
    quote = httpx.post(f"{PRICES}/quotes", json=wanted, timeout=10)
    quote.raise_for_status()
    with Session(engine) as session:
        session.add(Order(product_id=wanted["product_id"], amount=wanted["amount"]))
        session.commit()
    return jsonify(total=quote.json()["total"]), 201


@app.get("/latest")
def latest():
    return redirect("/products/1")


@app.get("/report")
def report():
    with Session(engine) as session:
        orders = session.scalars(select(Order).where(Order.amount < 0)).all()
    return jsonify(average=sum(each.amount for each in orders) / len(orders))
