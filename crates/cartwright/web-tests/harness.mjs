// A server of this build with the demo shop in an empty folder, and a browser that reports everything that goes wrong in it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const require = createRequire(`${process.env.PAGES_TOOLS}/`);
const { chromium } = require('playwright-core');
const axe = require('axe-core');

const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };
const DESKTOP = { viewport: { width: 1280, height: 860 } };
const PATIENCE_MS = 10_000;

/** Starts a server. `options` are further arguments of `serve`. */
export async function startShop(...options) {
  const folder = await mkdtemp(join(tmpdir(), 'cartwright-pages-'));
  const shop = { url: '', api: null };
  let server;
  const start = async (more) => {
    const address = shop.url ? new URL(shop.url).host : '127.0.0.1:0';
    server = spawn(process.env.CARTWRIGHT, ['serve', '--demo', '--listen', address, '--log', 'error', '--data', join(folder, 'data'), ...more], { stdio: ['ignore', 'pipe', 'inherit'] });
    shop.url = await new Promise((resolve, reject) => {
      createInterface({ input: server.stdout }).on('line', (line) => {
        const found = /listening on\s+(\S+)/.exec(line);
        if (found) resolve(found[1]);
      });
      server.once('exit', (code) => reject(new Error(`the server ended with ${code}`)));
      server.once('error', reject);
    });
    shop.api = apiOf(shop.url);
  };
  const end = async () => {
    const ended = new Promise((resolve) => { server.once('exit', resolve); });
    server.kill('SIGKILL');
    await ended;
  };
  await start(options);
  /** Ends it, and starts it again on the same data at the same address. */
  shop.restart = async (...more) => {
    await end();
    await start(more);
  };
  shop.stop = async () => {
    await end();
    await rm(folder, { recursive: true, force: true });
  };
  return shop;
}

/** Asks the API past the pages: what happens elsewhere meanwhile. */
function apiOf(url) {
  return async (method, path, body, headers = {}) => {
    const response = await fetch(url + path, { method, headers: { ...(body && { 'content-type': 'application/json' }), ...headers }, body: body && JSON.stringify(body) });
    const text = await response.text();
    assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : null;
  };
}

/** Makes a product. */
export function product(shop, name, { stock = 10, amount = 1200, category = 'Tests' } = {}) {
  return shop.api('POST', '/v1/products', { name, category, price: { amount, currency: 'USD' }, ...(stock === null ? {} : { stock }) });
}

/** Waits until `look` returns something. */
export async function eventually(look, what) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    assert.ok(Date.now() < deadline, `${what} did not happen`);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}

/** Starts the browser. */
export function startBrowser() {
  return chromium.launch({ executablePath: process.env.CHROMIUM, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
}

/** A page of a new visitor. `expected` are patterns of what may go wrong in this test. `page.assertClean()` tells the rest. */
export async function visit(browser, shop, { phone = false, scheme = 'light', user = '', expected = [] } = {}) {
  const context = await browser.newContext({ ...(phone ? PHONE : DESKTOP), colorScheme: scheme, locale: 'en-US', timezoneId: 'UTC', baseURL: shop.url, reducedMotion: 'reduce' });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const wrong = [];
  const note = (what) => expected.some((pattern) => pattern.test(what)) || wrong.push(what);
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && note(`console: ${message.text()} ${message.location().url}`));
  page.on('pageerror', (error) => note(`error: ${error.stack}`));
  page.on('dialog', (dialog) => { note(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on('request', (request) => new URL(request.url()).origin === shop.url || note(`another host: ${request.url()}`));
  page.on('response', (response) => response.status() < 400 || note(`${response.status()} ${response.request().method()} ${response.url()}`));
  page.on('requestfailed', (request) => {
    const { errorText } = request.failure();
    // A view that is left gives up what it was waiting for.
    return errorText === 'net::ERR_ABORTED' || note(`failed: ${request.url()} ${errorText}`);
  });
  await page.addInitScript((name) => {
    if (location.protocol === 'about:') return;
    if (name && !localStorage.getItem('user')) localStorage.setItem('user', name);
    window.shifts = [];
    new PerformanceObserver((list) => list.getEntries().forEach((entry) => entry.hadRecentInput || window.shifts.push({
      value: entry.value, what: entry.sources.map(({ node }) => node?.className || node?.nodeName).join(' '),
    }))).observe({ type: 'layout-shift', buffered: true });
  }, user);
  page.assertClean = () => assert.deepEqual(wrong, []);
  page.wrong = wrong;
  return page;
}

/** What axe-core finds that is serious or worse; in the other colour scheme, which changes nothing but colours, it looks at those. */
export async function violations(page) {
  if (!await page.evaluate(() => 'axe' in window)) await page.evaluate(axe.source);
  const look = async (more) => (await page.evaluate((options) => window.axe.run(document, options), { resultTypes: ['violations'], ...more })).violations;
  const turn = async (colorScheme) => {
    await page.emulateMedia({ colorScheme });
    await page.evaluate(() => Promise.allSettled(document.getAnimations().filter((one) => one instanceof CSSTransition).map(({ finished }) => finished)));
  };
  const found = await look({});
  const [scheme, other] = await page.evaluate(() => matchMedia('(prefers-color-scheme: dark)').matches) ? ['dark', 'light'] : ['light', 'dark'];
  await turn(other);
  found.push(...await look({ runOnly: ['color-contrast'] }));
  await turn(scheme);
  return found.filter(({ impact }) => ['serious', 'critical'].includes(impact)).map(({ id, nodes }) => `${id}: ${nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`).join(' | ')}`);
}

/** The sum of all layout shifts that nobody asked for. */
export async function shifted(page) {
  const shifts = await page.evaluate(() => window.shifts);
  return { sum: shifts.reduce((sum, { value }) => sum + value, 0), shifts };
}

/** Presses Tab until the focus is on what `selector` matches. */
export async function tabTo(page, selector, { most = 80, back = false } = {}) {
  for (let presses = 0; presses < most; presses += 1) {
    if (await page.evaluate((sought) => document.activeElement?.matches(sought), selector)) return;
    await page.keyboard.press(back ? 'Shift+Tab' : 'Tab');
  }
  assert.fail(`the keyboard does not get to ${selector}`);
}

/** Whether the page is wider than the screen. */
export async function assertFits(page) {
  const [wide, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  assert.ok(wide <= screen, `the page is ${wide} wide, the screen ${screen}: ${page.url()}`);
}
