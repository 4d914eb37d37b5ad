// A small shop in Node, as one is often written: fastify, better-sqlite3, one handler a route, an order that is placed by
// publishing an event after the basket was read, and deleting the basket in a second step. Durable as ours is
// (write-ahead log, synchronous FULL). `node server.js DATA PRODUCTS` sets it up in the folder DATA and serves it on a
// free port, which it prints, until standard input ends.
import fs from 'node:fs';
import path from 'node:path';
import { EventEmitter } from 'node:events';
import { randomUUID } from 'node:crypto';
import Database from 'better-sqlite3';
import Fastify from 'fastify';

const [data, products] = [process.argv[2], Number(process.argv[3])];
fs.mkdirSync(data, { recursive: true });
const database = new Database(path.join(data, 'shop.sqlite'));
database.pragma('journal_mode = WAL');
database.pragma('synchronous = FULL');
database.exec(`
    CREATE TABLE IF NOT EXISTS product (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS basket (user_name TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
`);
const statement = (sql) => database.prepare(sql);
const addProduct = statement('INSERT OR IGNORE INTO product VALUES (?, ?)');
database.transaction(() => {
    for (let number = 0; number < products; number += 1) {
        const product = {
            id: `shoe-${number}`,
            name: `Trail running shoe ${number}`,
            description:
                'Light and grippy, for soft ground and long days. Drains fast, dries overnight. Runs half a size small.',
            imageFile: `shoe-${number}.jpg`,
            category: 'Shoes',
            price: 129.99,
            stock: 1_000_000_000,
        };
        addProduct.run(product.id, JSON.stringify(product));
    }
})();

const getProduct = statement('SELECT body FROM product WHERE id = ?').pluck();
const getBasket = statement('SELECT body FROM basket WHERE user_name = ?').pluck();
const putBasket = statement('INSERT OR REPLACE INTO basket VALUES (?, ?)');
const deleteBasket = statement('DELETE FROM basket WHERE user_name = ?');
const putOrder = statement('INSERT INTO orders VALUES (?, ?)');
const getOrder = statement('SELECT body FROM orders WHERE id = ?').pluck();

const bus = new EventEmitter();
bus.on('CheckoutBasket', (event) =>
    setImmediate(() => putOrder.run(event.id, JSON.stringify({ ...event, status: 'CONFIRMED' }))),
);

const app = Fastify();
const found = (body, reply) => {
    if (body === undefined) return reply.code(404).send({ message: 'not found' });
    return JSON.parse(body);
};
app.get('/product/:id', async (request, reply) => found(getProduct.get(request.params.id), reply));
app.post('/basket', async (request) => {
    putBasket.run(request.body.userName, JSON.stringify(request.body));
    return request.body;
});
app.post('/basket/checkout', async (request, reply) => {
    const basket = JSON.parse(getBasket.get(request.body.userName) ?? 'null');
    if (basket === null) return reply.code(404).send({ message: 'not found' });
    const totalPrice = basket.items.reduce((sum, item) => sum + item.price * item.quantity, 0);
    const orderId = randomUUID();
    bus.emit('CheckoutBasket', { ...request.body, id: orderId, items: basket.items, totalPrice });
    deleteBasket.run(request.body.userName);
    return reply.code(202).send({ orderId, totalPrice });
});
app.get('/orders/:id', async (request, reply) => {
    const body = getOrder.get(request.params.id);
    return body === undefined ? { id: request.params.id, status: 'PLACED' } : JSON.parse(body);
});

const address = await app.listen({ port: 0, host: '127.0.0.1' });
process.stdin.resume().on('end', () => process.exit(0));
process.stdout.write(`${address.replace('http://', '')}\n`);
