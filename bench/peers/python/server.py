"""A small shop in Python, as one is often written: FastAPI, sqlite3, one handler a route, an order that is placed by
publishing an event after the basket was read, and deleting the basket in a second step. Durable as ours is (write-ahead
log, synchronous FULL). `python server.py DATA PRODUCTS` sets it up in the folder DATA and serves it on a free port,
which it prints, until standard input ends."""

import asyncio
import json
import os
import socket
import sqlite3
import sys
import threading
import uuid

import uvicorn
from fastapi import FastAPI, HTTPException, Response

data, products = sys.argv[1], int(sys.argv[2])
os.makedirs(data, exist_ok=True)
database = sqlite3.connect(os.path.join(data, "shop.sqlite"), isolation_level=None, check_same_thread=False)
database.execute("PRAGMA journal_mode = WAL")
database.execute("PRAGMA synchronous = FULL")
for table, key in (("product", "id"), ("basket", "user_name"), ("orders", "id")):
    database.execute(f"CREATE TABLE IF NOT EXISTS {table} ({key} TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID")

DESCRIPTION = "Light and grippy, for soft ground and long days. Drains fast, dries overnight. Runs half a size small."
database.execute("BEGIN")
for number in range(products):
    product = {
        "id": f"shoe-{number}",
        "name": f"Trail running shoe {number}",
        "description": DESCRIPTION,
        "imageFile": f"shoe-{number}.jpg",
        "category": "Shoes",
        "price": 129.99,
        "stock": 1_000_000_000,
    }
    database.execute("INSERT OR IGNORE INTO product VALUES (?, ?)", (product["id"], json.dumps(product)))
database.execute("COMMIT")

app = FastAPI()


def find(table: str, key: str, value: str):
    row = database.execute(f"SELECT body FROM {table} WHERE {key} = ?", (value,)).fetchone()
    return json.loads(row[0]) if row else None


@app.get("/product/{product_id}")
async def get_product(product_id: str):
    product = find("product", "id", product_id)
    if product is None:
        raise HTTPException(404)
    return product


@app.post("/basket")
async def put_basket(basket: dict):
    database.execute("INSERT OR REPLACE INTO basket VALUES (?, ?)", (basket["userName"], json.dumps(basket)))
    return basket


async def on_checkout_basket(event: dict):
    order = {**event, "status": "CONFIRMED"}
    database.execute("INSERT INTO orders VALUES (?, ?)", (order["id"], json.dumps(order)))


@app.post("/basket/checkout")
async def checkout(request: dict, response: Response):
    basket = find("basket", "user_name", request["userName"])
    if basket is None:
        raise HTTPException(404)
    total = sum(item["price"] * item["quantity"] for item in basket["items"])
    order_id = str(uuid.uuid4())
    event = {**request, "id": order_id, "items": basket["items"], "totalPrice": total}
    asyncio.get_running_loop().create_task(on_checkout_basket(event))
    database.execute("DELETE FROM basket WHERE user_name = ?", (request["userName"],))
    response.status_code = 202
    return {"orderId": order_id, "totalPrice": total}


@app.get("/orders/{order_id}")
async def get_order(order_id: str):
    return find("orders", "id", order_id) or {"id": order_id, "status": "PLACED"}


def end_with_stdin():
    sys.stdin.buffer.read()
    os._exit(0)


listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(1024)
threading.Thread(target=end_with_stdin, daemon=True).start()
print(f"127.0.0.1:{listener.getsockname()[1]}", flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False)).run(sockets=[listener])
