// The desk, as those use it who run the shop.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';

import { assertFits, eventually, product, startBrowser, startShop, violations, visit } from './harness.mjs';

let shop;
let browser;

before(async () => {
  [shop, browser] = await Promise.all([startShop('--webhook-allow-private'), startBrowser()]);
});
after(async () => {
  await browser?.close();
  await shop?.stop();
});

const VIEWS = ['', 'orders', 'products', 'queues', 'map', 'webhooks', 'keys', 'audit'];
const reached = (page, heading) => page.getByRole('heading', { level: 1, name: heading }).waitFor();

/** An order of one piece, confirmed. */
async function order(user, name) {
  const { id } = await product(shop, name);
  await shop.api('POST', `/v1/baskets/${user}/items`, { productId: id, quantity: 1 });
  const { orderId } = await shop.api('POST', `/v1/baskets/${user}/checkout`, { contact: { firstName: 'Dee' } });
  await eventually(async () => (await shop.api('GET', `/v1/orders/${orderId}`)).status === 'CONFIRMED', 'the order');
  return orderId;
}

/** Puts a message into a queue that its consumer cannot process. `more` is what else it says. */
async function letterDies(more = {}) {
  const entry = { EventBusName: 'SwnEventBus', Source: 'com.swn.basket.checkoutbasket', DetailType: 'CheckoutBasket', Detail: JSON.stringify({ userName: 'dead', items: 'none', ...more }) };
  await shop.api('POST', '/', { Entries: [entry] }, { 'x-amz-target': 'AWSEvents.PutEvents', 'content-type': 'application/x-amz-json-1.1' });
  await eventually(async () => (await shop.api('GET', '/v1/queues/OrderQueue')).dead > 0, 'the dead letter');
}

test('a dead letter is looked into, put back, and discarded with a reason', async () => {
  await letterDies();
  const page = await visit(browser, shop);
  await page.goto('/desk');
  await page.getByText(/open to this machine only/).waitFor();
  await page.getByRole('navigation', { name: 'Desk' }).getByRole('link', { name: 'Queues' }).click();
  await page.getByRole('link', { name: 'OrderQueue' }).click();
  await reached(page, 'OrderQueue');
  await page.getByText('is not what it promises').waitFor();
  await page.getByText('Message', { exact: true }).click();
  await page.getByText('"userName": "dead"').waitFor();
  const [before_] = (await shop.api('GET', '/v1/queues/OrderQueue/dead-letters')).items;
  await page.getByLabel(/^Choose CheckoutBasket/).check();
  await page.getByText('1 chosen').waitFor();
  await page.getByRole('button', { name: 'Redrive' }).dblclick();
  await page.getByText('Put back 1 message').waitFor();
  const again = await eventually(async () => (await shop.api('GET', '/v1/queues/OrderQueue/dead-letters')).items.find(({ diedAt }) => diedAt > before_.diedAt), 'it is received again, and dies again');
  assert.equal(again.event.detail.userName, 'dead');
  await page.getByLabel(/^Choose CheckoutBasket/).waitFor();
  await page.getByRole('button', { name: 'Discard' }).click();
  await page.getByLabel('Why?').fill('Sent by a test');
  await page.getByRole('dialog').getByRole('button', { name: 'Discard' }).click();
  await page.getByText('No dead letters').waitFor();
  assert.equal((await shop.api('GET', '/v1/queues/OrderQueue')).dead, 0);
  page.assertClean();
});

test('an order is offered the steps it may take and no others, and its story is drawn', async () => {
  const id = await order('dee', 'Desk drawer');
  const page = await visit(browser, shop);
  await page.goto('/desk#/orders');
  await page.getByLabel('Customer').fill('dee');
  await page.getByRole('button', { name: 'Show' }).click();
  await page.getByText('Desk drawer').waitFor();
  await page.locator(`a[href="#/o/${id}"]`).click();
  await reached(page, 'Order of dee');
  const offered = async () => (await page.locator('[data-group=order] button').allTextContents());
  assert.deepEqual(await offered(), ['Mark packed', 'Cancel']);
  await page.getByRole('button', { name: 'Mark packed' }).dblclick();
  await page.getByRole('button', { name: 'Mark shipped' }).waitFor();
  assert.equal((await shop.api('GET', `/v1/orders/${id}`)).status, 'PACKED', 'the second click of two is not the next step');
  assert.deepEqual(await offered(), ['Mark shipped', 'Cancel']);
  await shop.api('POST', `/v1/orders/${id}/transitions`, { to: 'SHIPPED' });
  await page.getByRole('button', { name: 'Mark delivered' }).waitFor();
  const story = page.getByRole('img', { name: /CheckoutBasket.*OrderPlaced.*StockReserved.*OrderConfirmed/ });
  await story.waitFor();
  assert.ok((await story.textContent()).includes('OrderQueue'));
  page.assertClean();
});

test('stock is adjusted in the list, and the ledger says why', async () => {
  const { id } = await product(shop, 'Adjusted adze', { stock: 2 });
  const page = await visit(browser, shop);
  await page.goto('/desk#/products/search/adze');
  await page.getByText('2 available').waitFor();
  await page.getByLabel('Pieces of Adjusted adze').fill('5');
  await page.getByRole('button', { name: 'Receive Adjusted adze' }).dblclick();
  await page.getByText('7 available').waitFor();
  assert.equal((await shop.api('GET', `/v1/products/${id}/stock`)).onHand, 7);
  await page.getByRole('link', { name: 'Adjusted adze' }).click();
  await page.getByRole('cell', { name: 'Received' }).first().waitFor();
  await page.getByLabel('Price (USD)').fill('13.37');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.getByText('Saved.').waitFor();
  assert.equal((await shop.api('GET', `/v1/products/${id}`)).price.amount, 1337);
  page.assertClean();
});

test('today shows what happens as it happens, and the map all that may', async () => {
  const page = await visit(browser, shop);
  await page.goto('/desk');
  await reached(page, 'Today');
  await order('fresh', 'Morning muffin');
  await page.getByRole('link', { name: /fresh.*Confirmed/ }).waitFor();
  await page.goto('/desk#/map');
  const { events, queues } = await shop.api('GET', '/v1/events');
  const drawn = await page.getByRole('group', { name: 'Map of services, events and queues' }).textContent();
  for (const name of [...events.map(({ event }) => event), ...queues.map(({ name: queue }) => queue)]) assert.ok(drawn.includes(name), name);
  page.assertClean();
});

test('a count on the map rises with an order, and the arrows of what is pointed at stand out', async () => {
  const page = await visit(browser, shop);
  await page.goto('/desk#/map');
  await reached(page, 'Map');
  const processed = async () => Number.parseInt((await page.locator('.take[data-queue="OrderQueue"] + text').textContent()).replace(',', ''), 10);
  const before_ = await processed();
  await order('counted', 'Counted cup');
  await eventually(async () => await processed() > before_, 'the count');
  const lit = () => page.locator('.flow.lit').evaluateAll((flows) => flows.map(({ dataset }) => [dataset.event, dataset.queue]));
  await page.locator('.map-queue[href="#/queues/OrderStatusQueue"]').focus();
  assert.deepEqual(await lit(), [['StockReserved', 'OrderStatusQueue'], ['StockRejected', 'OrderStatusQueue'], [undefined, 'OrderStatusQueue']]);
  await page.locator('.map-queue[href="#/queues/OrderStatusQueue"]').blur();
  await page.locator('.map-event', { hasText: 'CheckoutBasket' }).hover();
  assert.deepEqual(await lit(), [['CheckoutBasket', 'OrderQueue']]);
  page.assertClean();
});

test('what failed on the way of an order is in its picture, also when it failed again', async () => {
  const id = await order('tried', 'Tried trowel');
  await letterDies({ orderId: id });
  const page = await visit(browser, shop);
  await page.goto(`/desk#/o/${id}`);
  await page.getByRole('img', { name: /ordering: Failed, malformed_event/ }).getByText('Failed', { exact: true }).waitFor();
  await shop.api('POST', '/v1/queues/OrderQueue/dead-letters/redrive', { all: true });
  await eventually(async () => (await shop.api('GET', `/v1/orders/${id}/timeline?limit=100`)).items.filter(({ failure }) => failure).length === 2, 'the second try');
  await page.reload();
  await page.getByText('Failed 2 times').waitFor();
  await eventually(async () => (await shop.api('GET', '/v1/queues/OrderQueue')).dead > 0, 'the dead letter');
  await shop.api('POST', '/v1/queues/OrderQueue/dead-letters/discard', { all: true, reason: 'Sent by a test' });
  page.assertClean();
});

test('a webhook is made, its secrets shown once, and its deliveries seen and sent again', async (t) => {
  const received = [];
  const receiver = createServer(async (request, response) => {
    const body = (await request.toArray()).join('');
    received.push({ headers: request.headers, body });
    response.writeHead(204).end();
  });
  await new Promise((resolve) => { receiver.listen(0, '127.0.0.1', resolve); });
  t.after(() => receiver.close());
  const isSigned = ({ headers, body }, secret) => {
    const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
    const signature = createHmac('sha256', key).update(`${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`).digest('base64');
    return headers['webhook-signature'].split(' ').includes(`v1,${signature}`);
  };
  const page = await visit(browser, shop);
  const secretShown = async () => {
    const secret = await page.locator('.secret').textContent();
    assert.match(secret, /^whsec_/);
    await page.getByRole('button', { name: 'I have kept it' }).click();
    await page.locator('.secret').waitFor({ state: 'detached' });
    return secret;
  };
  await page.goto('/desk#/webhooks');
  await page.getByRole('button', { name: 'New webhook' }).click();
  await page.getByLabel('URL').fill(`http://127.0.0.1:${receiver.address().port}/hook`);
  await page.getByLabel('OrderPlaced').check();
  await page.getByRole('button', { name: 'Create' }).click();
  const first = await secretShown();
  await page.getByText('Nothing was delivered yet').waitFor();
  await page.getByRole('button', { name: 'Send a test' }).click();
  await page.getByRole('cell', { name: 'Delivered' }).waitFor();
  assert.ok(isSigned(received[0], first));
  await page.getByRole('button', { name: /^Deliver .* again$/ }).dblclick();
  await page.getByText('It is on its way again.').waitFor();
  await eventually(() => received.length > 1, 'the second delivery');
  assert.equal(received[1].body, received[0].body);
  await page.getByRole('button', { name: 'New secret' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Make it' }).click();
  const second = await secretShown();
  assert.notEqual(second, first);
  await page.getByRole('button', { name: 'Send a test' }).click();
  await eventually(() => received.length > 2, 'the delivery with the new secret');
  assert.ok(isSigned(received[2], second));
  assert.equal(received.length, 3, 'the second click of two delivers nothing more');
  await page.getByRole('button', { name: 'Switch off' }).click();
  await page.getByRole('button', { name: 'Switch on' }).waitFor();
  await page.getByRole('button', { name: 'Delete' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  await page.getByText('No webhooks').waitFor();
  page.assertClean();
});

test('no view keeps anyone out or is wider than a phone', async () => {
  const id = await order('wide', 'Wide wardrobe');
  for (const [scheme, phone] of [['light', false], ['dark', true]]) {
    const page = await visit(browser, shop, { scheme, phone });
    for (const view of [...VIEWS, `o/${id}`, 'queues/OrderQueue']) {
      await page.goto(`/desk#/${view}`);
      await page.locator('main[aria-busy]').waitFor({ state: 'detached' });
      await page.locator('main h1').waitFor();
      if (phone) await assertFits(page);
      assert.deepEqual(await violations(page), [], `${view} ${scheme} ${phone ? 'phone' : 'desktop'}`);
    }
    page.assertClean();
    await page.context().close();
  }
});
