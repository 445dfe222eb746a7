"""Make the shop's database."""

import sqlite3
import sys

with sqlite3.connect(sys.argv[1]) as database:
    database.executescript(
        "create table products (id integer primary key, name varchar(80));"
        "create table orders (id integer primary key, product_id integer, amount integer);"
    )
    names = ("tea", "coffee", "sugar", "milk", "honey", "bread", "butter", "salt")
    database.executemany("insert into products (name) values (?)", [(name,) for name in names])
