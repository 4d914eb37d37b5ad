// An order's timeline as a picture: each request, what was committed, the queues it went through, the handlers, and who was
// told; with how long each took and what failed on the way. Lanes are services, time goes to the right.

import { get } from '../lib/api.js';
import { h, svg } from '../lib/dom.js';
import { STATUS, atClock, atMoment, duration } from '../lib/format.js';
import { chip } from '../lib/ui.js';

const BOX = { width: 158, height: 50, gap: 58 };
const LANE = 84;
const LEFT = 100;

let mapOfEvents;

/** Which events go to which queues, and who consumes those. */
export function eventMap() {
  mapOfEvents ??= get('/v1/events').then(({ data }) => data).catch((error) => {
    mapOfEvents = undefined;
    throw error;
  });
  return mapOfEvents;
}

/** The pictures of an order, one for each request, and the same in words. */
export async function timeline(id, signal) {
  const [entries, map] = await Promise.all([allEntries(id, signal), eventMap()]);
  const requests = new Map();
  for (const entry of entries) {
    if (!requests.has(entry.correlationId)) requests.set(entry.correlationId, []);
    requests.get(entry.correlationId).push(entry);
  }
  return [
    h('h2', null, 'What happened'),
    [...requests].map(([request, its]) => h('figure', { class: 'card story' },
      h('figcaption', { class: 'row between' }, h('span', null, 'Request ', h('span', { class: 'mono' }, request || '–')),
        h('span', { class: 'fine' }, `${atMoment(its[0].at)} · ${duration(spent(its[0].at, its.at(-1).at))} from the first to the last`)),
      h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': `Picture of request ${request}` }, picture(request, its, map)))),
    h('details', { class: 'card' }, h('summary', null, 'The same in words'), words(entries)),
  ];
}

async function allEntries(id, signal) {
  const entries = [];
  let cursor = '';
  do {
    const { data } = await get(`/v1/orders/${encodeURIComponent(id)}/timeline?limit=100${cursor && `&cursor=${encodeURIComponent(cursor)}`}`, { signal });
    entries.push(...data.items);
    cursor = data.nextCursor ?? '';
  } while (cursor && entries.length < 500);
  return entries;
}

const spent = (from, to) => Math.max(0, new Date(to) - new Date(from));
const serviceOf = (source) => (source === 'com.swn.basket.checkoutbasket' ? 'basket' : source.replace(/^cartwright\./, ''));

/** What stands in the picture, in the order of time: `{ lane, title, text, at, kind, from, label }`. */
function steps(request, entries, map) {
  const queueTo = (event, consumer) => map.events.find((one) => one.event === event)?.queues
    .find((name) => map.queues.find((queue) => queue.name === name)?.consumer === consumer);
  const all = [{ key: 'request', lane: 'request', title: 'Request', text: request, at: entries[0].at, kind: 'start' }];
  const failures = new Map();
  for (const entry of entries) {
    const service = serviceOf(entry.source);
    if (entry.failure) {
      const consumer = map.queues.find(({ name }) => name === entry.failure.queue)?.consumer ?? service;
      const key = `${entry.eventId}/${entry.failure.queue}/failed`;
      const known = failures.get(key);
      if (known) known.tries += 1;
      else failures.set(key, { key, lane: consumer, title: 'Failed', text: entry.failure.code, says: entry.failure.message, at: entry.at, kind: 'bad', from: entry.eventId, label: entry.failure.queue, tries: 1 });
      if (!known) all.push(failures.get(key));
    } else if (entry.notification) {
      all.push({ key: `${entry.eventId}/told`, lane: 'notifications', title: `Told ${entry.notification.audience}`, text: entry.notification.subject, at: entry.at, kind: 'told', from: entry.eventId, label: queueTo(entry.event, 'notifications') ?? 'NotificationQueue' });
    } else {
      const cause = entries.find((other) => other.eventId === entry.causationId && !other.notification && !other.failure);
      all.push({ key: entry.eventId, lane: service, title: entry.event, text: `committed ${atClock(entry.at)}`, at: entry.at, kind: entry.status ? 'status' : 'event', from: cause ? cause.eventId : 'request', label: cause ? queueTo(cause.event, service) ?? '' : 'commit' });
    }
  }
  return all;
}

function picture(request, entries, map) {
  const all = steps(request, entries, map);
  const lanes = ['request', ...new Set(all.map(({ lane }) => lane).filter((lane) => lane !== 'request' && lane !== 'notifications')), ...(all.some(({ lane }) => lane === 'notifications') ? ['notifications'] : [])];
  const places = new Map();
  const taken = lanes.map(() => -1);
  for (const step of all) {
    const cause = places.get(step.from);
    const lane = lanes.indexOf(step.lane);
    const column = Math.max(cause ? cause.column + 1 : 0, taken[lane] + 1);
    taken[lane] = column;
    places.set(step.key, { ...step, column, x: LEFT + column * (BOX.width + BOX.gap), y: 12 + lane * LANE });
  }
  const placed = [...places.values()];
  const width = Math.max(...placed.map(({ x }) => x)) + BOX.width + 16;
  const height = lanes.length * LANE;
  const says = all.map(({ title, text, label, lane }) => `${label ? `${label} to ` : ''}${lane}: ${title}, ${text}`).join('. ');
  return sized(width, height, { class: 'picture', role: 'img', 'aria-label': says },
    lanes.map((lane, at) => [
      at > 0 && svg('line', { x1: 0, x2: width, y1: at * LANE - 5, y2: at * LANE - 5, class: 'lane-line' }),
      svg('text', { x: 4, y: at * LANE + 12 + BOX.height / 2 + 4, class: 'lane-name' }, lane),
    ]).flat().filter(Boolean),
    placed.filter(({ from }) => places.has(from)).map((step) => arrow(places.get(step.from), step)),
    placed.map(box));
}

/** A drawing that shrinks with its place, as far as it can be read. */
export function sized(width, height, props, ...children) {
  const drawing = svg('svg', { viewBox: `0 0 ${width} ${height}`, width: '100%', ...props }, ...children);
  drawing.style.maxWidth = `${width}px`;
  drawing.style.minWidth = `${Math.round(width * 0.7)}px`;
  return drawing;
}

function arrow(from, step) {
  const [x1, y1, x2, y2] = [from.x + BOX.width, from.y + BOX.height / 2, step.x, step.y + BOX.height / 2];
  const bend = Math.min(40, (x2 - x1) / 2);
  const path = y1 === y2 ? `M${x1} ${y1}H${x2 - 6}` : `M${x1} ${y1}h6c${bend} 0 ${x2 - x1 - bend - 12} ${y2 - y1} ${x2 - x1 - 12} ${y2 - y1}`;
  const took = step.label === 'commit' ? '' : duration(spent(from.at, step.at));
  return svg('g', { class: `arrow ${step.kind}` }, svg('path', { d: path }), svg('path', { d: `M${x2 - 7} ${y2 - 4}l6 4-6 4`, class: 'tip' }),
    took && svg('text', { x: x2 - 12, y: y2 - 8, 'text-anchor': 'end' }, took),
    svg('title', null, [step.label, took].filter(Boolean).join(', ')));
}

function box(step) {
  const clip = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  return svg('g', { class: `step ${step.kind}`, transform: `translate(${step.x} ${step.y})` },
    svg('rect', { width: BOX.width, height: BOX.height, rx: 9 }),
    svg('text', { x: 12, y: 21, class: 'step-title' }, step.tries > 1 ? `${step.title} ${step.tries} times` : step.title),
    svg('text', { x: 12, y: 38, class: 'step-text' }, clip(step.kind === 'told' ? step.text.replace(/^Order \S+ /, '') : step.label && step.label !== 'commit' && step.kind !== 'bad' ? `by ${step.label}` : step.text, 26)),
    svg('title', null, [step.title, step.text, step.says, atMoment(step.at)].filter(Boolean).join('\n')));
}

function words(entries) {
  return h('ol', { class: 'stack tight words' }, entries.map((entry) => h('li', null,
    h('span', { class: 'fine number' }, atClock(entry.at)), ' ',
    entry.failure ? [h('strong', { class: 'bad-text' }, `${entry.failure.queue} failed: ${entry.failure.code}`), ` ${entry.failure.message}`]
      : entry.notification ? [h('strong', null, `Told ${entry.notification.audience}`), ` ${entry.notification.subject}`]
        : [h('strong', null, entry.event), ` by ${serviceOf(entry.source)} `, entry.status && chip(STATUS[entry.status])])));
}
