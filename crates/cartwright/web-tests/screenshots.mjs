// Draws the pictures of the documentation: both pages, in light and dark, on a desktop and on a phone.

import { spawnSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { eventually, startBrowser, startShop, visit } from './harness.mjs';

const shop = await startShop();
const browser = await startBrowser();
// What is sold out in the demo is not what one sees first here.
for (const { id, stock } of (await shop.api('GET', '/v1/products?limit=4')).items) {
  if (stock?.available === 0) await shop.api('PUT', `/v1/products/${id}/stock`, { onHand: 4 });
}
const { items: products } = await shop.api('GET', '/v1/products?limit=60');
const inStock = products.filter(({ stock }) => stock && stock.available > 3);

/** An order of someone, moved on as far as `steps` say. */
async function order(user, some, ...steps) {
  for (const { id } of some) await shop.api('POST', `/v1/baskets/${user}/items`, { productId: id, quantity: 1 });
  const contact = { firstName: 'Ann', lastName: 'Marsh', email: 'ann@example.org', address: '12 Mill Lane\nNorwich' };
  const { orderId } = await shop.api('POST', `/v1/baskets/${user}/checkout`, { contact });
  await eventually(async () => (await shop.api('GET', `/v1/orders/${orderId}`)).status !== 'PLACED', 'the order');
  for (const to of steps) await shop.api('POST', `/v1/orders/${orderId}/transitions`, { to });
  return orderId;
}

const people = ['maya', 'joel', 'priya', 'tomas', 'lena', 'omar', 'wren', 'ida'];
for (let at = 0; at < 14; at += 1) {
  const steps = [[], ['PACKED'], ['PACKED', 'SHIPPED'], ['PACKED', 'SHIPPED', 'DELIVERED'], ['CANCELLED']][at % 5];
  await order(people[at % people.length], inStock.slice(at, at + 1 + (at % 3)), ...steps);
}
const last = inStock[30];
await shop.api('PUT', `/v1/products/${last.id}/stock`, { onHand: 1 });
await order('ida', [last]);
const ann = await order('ann', inStock.slice(20, 22), 'PACKED');
for (const { id } of inStock.slice(24, 27)) await shop.api('POST', '/v1/baskets/ann/items', { productId: id, quantity: 1 });
const { id: shown } = inStock.find(({ name }) => /Kettle|Lamp|Tent/.test(name)) ?? inStock[5];
await shop.api('PUT', `/v1/products/${shown}/stock`, { onHand: 3 });

const VIEWS = [
  ['shop', '/', '.product:not(.waiting)'],
  ['product', `/#/p/${shown}`, '.others .product'],
  ['checkout', '/#/checkout', '.choice'],
  ['order', `/#/o/${ann}`, '.way'],
  ['desk', '/desk', '.tile'],
  ['desk-orders', '/desk#/orders', 'main td'],
  ['desk-order', `/desk#/o/${ann}`, '.picture'],
  ['desk-map', '/desk#/map', '.map'],
];
/** Views that are shown whole on a desktop, however long they are. */
const WHOLE = ['desk-order', 'desk-map'];
/** Takes a picture down to 256 colours, which makes it less than half as large. */
const FEWER_COLOURS = 'import sys; from PIL import Image; file = sys.argv[1]; Image.open(file).convert("RGB").quantize(256, kmeans=1, dither=Image.Dither.NONE).save(file, optimize=True)';

await mkdir(process.env.PICTURES, { recursive: true });
let isSmall = true;
for (const scheme of ['light', 'dark']) {
  for (const phone of [false, true]) {
    const page = await visit(browser, shop, { scheme, phone, user: 'ann' });
    for (const [name, address, sign] of VIEWS) {
      await page.goto(address);
      await page.locator(sign).first().waitFor();
      if (name.startsWith('desk')) await page.waitForTimeout(name === 'desk' ? 9000 : 2500);
      await page.evaluate(() => document.activeElement?.blur());
      const { width, height } = page.viewportSize();
      // The window grows, since what sticks to it would end where it did.
      if (WHOLE.includes(name) && !phone) await page.setViewportSize({ width, height: await page.evaluate(() => document.documentElement.scrollHeight) });
      const file = join(process.env.PICTURES, `${name}-${scheme}${phone ? '-phone' : ''}.png`);
      await page.screenshot({ animations: 'disabled', path: file });
      await page.setViewportSize({ width, height });
      isSmall &&= spawnSync('python3', ['-c', FEWER_COLOURS, file]).status === 0;
      console.log(file);
    }
    await page.context().close();
  }
}
if (!isSmall) console.log('The pictures are larger than need be: there is no Python with Pillow to take colours out.');
await browser.close();
await shop.stop();
