// Both pages where callers must say who they are.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { eventually, product, startBrowser, startShop, visit } from './harness.mjs';

let shop;
let browser;
let key;
let scarf;

before(async () => {
  [shop, browser] = await Promise.all([startShop(), startBrowser()]);
  scarf = await product(shop, 'Guarded scarf');
  const make = async (name, role, username) => (await shop.api('POST', '/v1/api-keys', { name, role, ...(username && { username }) })).key;
  key = { customer: await make('Carla at home', 'customer', 'carla'), staff: await make('Counter', 'staff'), admin: await make('Owner', 'admin') };
  // From now on there are keys, so that they are asked for.
  await shop.restart();
});
after(async () => {
  await browser?.close();
  await shop?.stop();
});

const reached = (page, heading) => page.getByRole('heading', { level: 1, name: heading }).waitFor();
const links = (page) => page.getByRole('navigation', { name: 'Desk' }).getByRole('link').allTextContents();

async function enter(page, text, options) {
  await page.getByLabel('API key or token').fill(text, options);
  await page.getByRole('button', { name: 'Sign in' }).click(options);
}

test('anyone may look around, and a customer signs in to buy', async () => {
  const page = await visit(browser, shop, { expected: [/401/] });
  await page.goto(`/#/p/${scarf.id}`);
  await reached(page, 'Guarded scarf');
  await page.getByRole('button', { name: 'Add to basket' }).click();
  await enter(page, 'cw_0000_wrong');
  await page.getByText('The server does not know this key').waitFor();
  await enter(page, key.customer);
  await page.getByText('is in your basket').waitFor();
  await page.reload();
  await page.goto('/#/checkout');
  await page.getByLabel('First name').fill('Carla');
  await page.getByLabel('Last name').fill('Key');
  await page.getByLabel('Address').fill('3 Lock Row');
  await page.getByRole('button', { name: 'Place order' }).click();
  await reached(page, 'Your order is confirmed');
  await page.getByRole('navigation', { name: 'Shop' }).getByRole('link', { name: 'You' }).click();
  await page.getByText('Carla at home, as customer, shopping as carla').waitFor();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('API key or token').waitFor();
  await page.goto('/#/orders');
  await page.getByText('Whose orders?').waitFor();
  page.assertClean();
});

test('the desk lets staff in, shows them what is theirs, and lets customers not', async () => {
  const page = await visit(browser, shop, { expected: [/401/] });
  await page.goto('/desk#/orders');
  await reached(page, 'Sign in to the desk');
  assert.deepEqual(await links(page), []);
  await enter(page, key.customer);
  await page.getByText('This key has the role customer; the desk is for staff and admins.').waitFor();
  // A click that comes at once in the same place is taken for the second of two.
  await eventually(async () => {
    if (await page.getByRole('heading', { level: 1, name: 'Orders' }).isVisible()) return true;
    await enter(page, key.staff, { timeout: 500 }).catch(() => {});
    return false;
  }, 'the way in');
  await page.getByText('Signed in as Counter, staff.').waitFor();
  assert.deepEqual(await links(page), ['Today', 'Orders', 'Products', 'Queues', 'Map', 'Webhooks']);
  await page.reload();
  await reached(page, 'Orders');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await reached(page, 'Sign in to the desk');
  page.assertClean();
});

test('an admin makes a key, which is shown once, and revokes it, which shuts its owner out', async () => {
  const page = await visit(browser, shop, { expected: [/401/] });
  await page.goto('/desk#/keys');
  await enter(page, key.admin);
  await reached(page, 'API keys');
  await page.getByRole('button', { name: 'New key' }).click();
  await page.getByLabel('Name', { exact: true }).fill('Temporary');
  await page.getByLabel('Role').selectOption('staff');
  await page.getByRole('button', { name: 'Create' }).click();
  const text = await page.locator('.secret').textContent();
  assert.match(text, /^cw_/);
  await page.getByRole('button', { name: 'I have kept it' }).click();
  await page.getByRole('cell', { name: 'Temporary', exact: true }).waitFor();

  const other = await visit(browser, shop, { expected: [/401/] });
  await other.goto('/desk');
  await enter(other, text);
  await reached(other, 'Today');
  await page.getByRole('button', { name: 'Revoke Temporary' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Revoke' }).click();
  await page.getByText('Temporary is revoked.').waitFor();
  await reached(other, 'Sign in to the desk');
  await page.goto('/desk#/audit');
  await reached(page, 'Audit');
  await page.getByRole('cell', { name: 'Owner' }).first().waitFor();
  page.assertClean();
  other.assertClean();
});
