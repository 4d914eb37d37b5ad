// Today at a glance: orders, value, queues, dead letters, response times; live.

import { get } from '../lib/api.js';
import { watch } from '../lib/feed.js';
import { h, icon, put } from '../lib/dom.js';
import { STATUS, atShortClock, count, counted, duration, price, since } from '../lib/format.js';
import { heading, to } from '../lib/router.js';
import { chip, statusChip } from '../lib/ui.js';
import { bars, lines, tile } from './charts.js';
import { quantile, requestTimes } from './metrics.js';

const LOOK_MS = 2000;
/** Most orders of a day that are read, page by page; beyond, the figures say that they are at least. */
const MOST_ORDERS = 2000;
const PAGE = 100;
const MINUTES = 60;
const SAMPLES = 60;
const LATEST = 8;

/** What was sampled, also while other views were shown. */
const history = { depth: [], dead: [], p50: [], p99: [], times: null };

/** The view. */
export async function today(_, signal) {
  const tiles = h('div', { class: 'tiles' });
  const latest = h('div');
  const alerts = h('div');
  const queues = h('div');
  const midnight = new Date();
  midnight.setHours(0, 0, 0, 0);
  const orders = new Map();
  let isAll = true;
  let state = { queues: [], metrics: true };

  async function readOrders() {
    const from = orders.size === 0 ? midnight.toISOString() : [...orders.values()].reduce((last, { createdAt }) => (createdAt > last ? createdAt : last), '');
    let cursor = '';
    do {
      const query = new URLSearchParams({ from, limit: PAGE, ...(cursor && { cursor }) });
      const { data } = await get(`/v1/orders?${query}`, { signal });
      data.items.forEach((order) => orders.set(order.id, order));
      cursor = data.nextCursor ?? '';
    } while (cursor && orders.size < MOST_ORDERS);
    if (cursor) isAll = false;
    // Orders that are there already move on; the latest are those one looks at.
    const { data } = await get(`/v1/orders?limit=${LATEST}`, { signal });
    data.items.forEach((order) => orders.has(order.id) && orders.set(order.id, order));
    return data.items;
  }

  async function readTimes() {
    if (!state.metrics) return;
    const times = await requestTimes(signal);
    if (!times) {
      state.metrics = false;
      return;
    }
    push(history.p50, history.times && quantile(history.times, times, 0.5));
    push(history.p99, history.times && quantile(history.times, times, 0.99));
    history.times = times;
  }

  async function look() {
    const [newest, { data }] = await Promise.all([readOrders(), get('/v1/queues', { signal }), readTimes().catch(() => {})]);
    state.queues = data.items;
    push(history.depth, data.items.reduce((sum, queue) => sum + queue.waiting + queue.inFlight + queue.delayed, 0));
    push(history.dead, data.items.reduce((sum, queue) => sum + queue.dead, 0));
    put(tiles, figures([...orders.values()], isAll, state));
    put(latest, latestOrders(newest));
    put(queues, busyQueues(data.items));
  }

  async function readAlerts() {
    const { data } = await get('/v1/inbox?limit=8', { signal });
    put(alerts, stockAlerts(data.items));
  }

  const again = () => readAlerts().catch(() => put(alerts, stockAlerts([])));
  await Promise.all([look(), again()]);
  repeat(look, LOOK_MS, signal);
  watch('operators', { onEvent: again, onPoll: again, pollMs: 10_000, signal });
  return {
    title: 'Today',
    view: h('div', { class: 'stack wide' }, heading('Today'), tiles,
      h('div', { class: 'columns' },
        h('section', { class: 'stack tight' }, h('h2', null, 'Latest orders'), latest),
        h('div', { class: 'stack' },
          h('section', { class: 'stack tight' }, h('h2', null, 'Stock'), alerts),
          h('section', { class: 'stack tight' }, h('h2', null, 'Queues'), queues)))),
  };
}

/** Does `look` again and again, as long as the page is looked at. */
export function repeat(look, ms, signal) {
  let isBusy = false;
  const timer = setInterval(async () => {
    if (isBusy || document.visibilityState !== 'visible') return;
    isBusy = true;
    try {
      await look();
    } catch {
      // What is shown stays; the line on top tells when there is no connection.
    }
    isBusy = false;
  }, ms);
  signal.addEventListener('abort', () => clearInterval(timer));
}

function push(list, value) {
  list.push(value);
  if (list.length > SAMPLES) list.shift();
}

function figures(orders, isAll, state) {
  const now = Date.now();
  const perMinute = new Array(MINUTES).fill(0);
  for (const { createdAt } of orders) {
    const ago = Math.floor((now - new Date(createdAt)) / 60_000);
    if (ago >= 0 && ago < MINUTES) perMinute[MINUTES - 1 - ago] += 1;
  }
  const hour = perMinute.reduce((sum, value) => sum + value, 0);
  const last = perMinute.slice(-5).reduce((sum, value) => sum + value, 0) / 5;
  const valued = orders.filter(({ status }) => !['REJECTED', 'CANCELLED'].includes(status));
  const value = valued.reduce((sum, { total }) => sum + total.amount, 0);
  const currency = orders[0]?.total.currency;
  const hours = new Date(now).getHours() + 1;
  const perHour = new Array(24).fill(0);
  const valuePerHour = new Array(24).fill(0);
  for (const { createdAt } of orders) perHour[new Date(createdAt).getHours()] += 1;
  for (const { createdAt, total } of valued) valuePerHour[new Date(createdAt).getHours()] += total.amount;
  const hourOf = (at) => `${at}:00 to ${at + 1}:00`;
  const least = isAll ? '' : '≥ ';
  const rejected = orders.filter(({ status }) => status === 'REJECTED').length;
  const depth = history.depth.at(-1) ?? 0;
  const ages = state.queues.map(({ oldestAgeMs }) => oldestAgeMs).filter((age) => age !== null);
  const dead = state.queues.reduce((sum, queue) => sum + queue.dead, 0);
  const minuteOf = (at) => atShortClock(now - (MINUTES - 1 - at) * 60_000);
  const known = (list) => list.filter((time) => time !== null).at(-1) ?? null;
  const [p50, p99] = [known(history.p50), known(history.p99)];
  return [
    tile('Orders', least + count(orders.length), {
      detail: rejected > 0 ? `${counted(rejected, 'was', 'were')} rejected` : 'since midnight', href: to('orders'),
      chart: bars(perHour, `Orders in each of the ${hours} hours of today, ${orders.length} in all`, { title: (n, at) => `${hourOf(at)}: ${counted(n, 'order')}` }),
    }),
    tile('Value', currency ? least + price({ amount: value, currency }) : '–', {
      detail: valued.length > 0 ? `${price({ amount: Math.round(value / valued.length), currency })} an order` : 'without rejected and cancelled',
      chart: bars(valuePerHour, `Value of the orders in each of the ${hours} hours of today`, { title: (amount, at) => (currency ? `${hourOf(at)}: ${price({ amount, currency })}` : hourOf(at)) }),
    }),
    tile('Orders per minute', last.toLocaleString(undefined, { maximumFractionDigits: 1 }), {
      detail: `over 5 minutes; ${count(hour)} in the last hour`,
      chart: bars(perMinute, `Orders in each of the last 60 minutes, ${hour} in all`, { title: (n, at) => `${minuteOf(at)}: ${counted(n, 'order')}` }),
    }),
    tile('Messages waiting', count(depth), {
      detail: ages.length > 0 ? `oldest for ${duration(Math.max(...ages))}` : 'nothing waits', href: to('queues'),
      chart: lines([{ values: history.depth, kind: 'main' }], `Messages waiting over the last ${history.depth.length} looks, now ${depth}`),
    }),
    tile('Dead letters', count(dead), {
      kind: dead > 0 ? 'bad-text' : '', detail: dead > 0 ? 'they need a look' : 'none', href: to('queues'),
      chart: lines([{ values: history.dead, kind: 'main' }], `Dead letters over the last ${history.dead.length} looks, now ${dead}`),
    }),
    tile('Response time', p50 === null ? '–' : duration(p50), {
      detail: !state.metrics ? 'not told here' : p99 === null ? 'no requests yet' : `median; 99 of 100 within ${duration(p99)}`,
      chart: state.metrics && lines([{ values: history.p50, kind: 'main' }, { values: history.p99, kind: 'other' }], `Median response time now ${p50 === null ? 'unknown' : duration(p50)}`),
    }),
  ];
}

function latestOrders(orders) {
  if (orders.length === 0) return h('p', { class: 'card soft' }, 'No orders yet. They show up here as they are placed.');
  return h('ul', { class: 'card list' }, orders.map((order) => h('li', null, h('a', { href: to('o', order.id), class: 'list-row' },
    h('span', { class: 'fine number' }, since(order.createdAt)), h('span', { class: 'name' }, order.customer),
    h('span', { class: 'price' }, price(order.total)), statusChip(order.status, STATUS[order.status])))));
}

function stockAlerts(entries) {
  const stock = entries.filter(({ facts }) => facts?.about === 'product');
  if (stock.length === 0) return h('p', { class: 'card soft' }, 'No product ran out or came back lately.');
  return h('ul', { class: 'card list' }, stock.map(({ facts, at }) => h('li', null, h('a', { class: 'list-row', href: to('products', facts.productId) },
    h('span', { class: 'name' }, facts.productName ?? facts.productId), h('span', { class: 'fine' }, since(at)),
    facts.available > 0 ? chip(`${facts.available} back`, 'good') : chip('Sold out', 'bad')))));
}

function busyQueues(queues) {
  const busy = queues.filter((queue) => queue.waiting + queue.inFlight + queue.delayed + queue.dead > 0);
  if (busy.length === 0) return h('p', { class: 'card soft row' }, icon('check'), h('span', null, `All ${queues.length} queues are empty.`));
  return h('ul', { class: 'card list' }, busy.map((queue) => h('li', null, h('a', { class: 'list-row', href: to('queues', queue.name) },
    h('span', { class: 'name' }, queue.name),
    queue.waiting + queue.inFlight > 0 && chip(`${count(queue.waiting + queue.inFlight)} waiting`),
    queue.delayed > 0 && chip(`${count(queue.delayed)} again later`, 'warn'),
    queue.dead > 0 && chip(`${count(queue.dead)} dead`, 'bad')))));
}
