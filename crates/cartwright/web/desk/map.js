// The map: which service emits which event, the queues it goes to, and who takes from those; with what goes through them now.

import { get } from '../lib/api.js';
import { h, svg } from '../lib/dom.js';
import { count, counted } from '../lib/format.js';
import { heading, to } from '../lib/router.js';
import { table } from './table.js';
import { eventMap, sized } from './timeline.js';
import { repeat } from './today.js';

const LOOK_MS = 2000;
const ROW = 30;
const QUEUE_ROW = 62;
const TITLE = 30;
const X = { event: 20, eventEnd: 250, queue: 420, queueEnd: 640, service: 830, width: 980 };

/** The view. */
export async function map(_, signal) {
  const { bus, events, queues } = await eventMap();
  const services = [...new Set(events.map(({ service }) => service))];
  let y = 16;
  const left = services.map((service) => {
    const its = events.filter((event) => event.service === service);
    const group = { service, y, rows: its.map((event, at) => ({ ...event, y: y + TITLE + at * ROW })) };
    y += TITLE + its.length * ROW + 14;
    return group;
  });
  const placed = new Map();
  left.forEach(({ rows }) => rows.forEach((row) => placed.set(row.event, row)));
  // Queues near the events that feed them, so that few arrows cross.
  const middleOf = (name) => {
    const feeding = events.filter((event) => event.queues.includes(name)).map(({ event }) => placed.get(event).y);
    return feeding.reduce((sum, at) => sum + at, 0) / Math.max(1, feeding.length);
  };
  const ordered = [...queues].sort((a, b) => middleOf(a.name) - middleOf(b.name));
  const height = Math.max(y, ordered.length * QUEUE_ROW + 32);
  const space = height / ordered.length;
  const boxes = new Map(ordered.map((queue, at) => [queue.name, { ...queue, y: space * (at + 0.5) }]));
  const consumers = [...new Set(ordered.map(({ consumer }) => consumer))];
  const mean = (consumer) => {
    const its = ordered.filter((queue) => queue.consumer === consumer).map(({ name }) => boxes.get(name).y);
    return its.reduce((sum, at) => sum + at, 0) / its.length;
  };
  consumers.sort((a, b) => mean(a) - mean(b));
  const right = new Map(consumers.map((consumer, at) => [consumer, { consumer, y: (height / consumers.length) * (at + 0.5) }]));

  const live = new Map();
  const curve = (x1, y1, x2, y2) => `M${x1} ${y1}C${x1 + (x2 - x1) * 0.5} ${y1} ${x2 - (x2 - x1) * 0.5} ${y2} ${x2} ${y2}`;
  const feeds = events.flatMap((event) => event.queues.map((name) => svg('path', {
    d: curve(X.eventEnd, placed.get(event.event).y + 11, X.queue, boxes.get(name).y), class: 'flow', 'data-event': event.event, 'data-queue': name,
  })));
  const takes = ordered.map((queue) => {
    const [box, service] = [boxes.get(queue.name), right.get(queue.consumer)];
    const text = svg('text', { x: X.queueEnd + 12, y: box.y + (service.y < box.y ? 17 : -9), class: 'flow-count' }, '');
    const path = svg('path', { d: curve(X.queueEnd, box.y, X.service, service.y), class: 'flow take', 'data-queue': queue.name });
    live.set(queue.name, { text, path });
    return [path, text];
  });
  const flows = [...feeds, ...takes.map(([path]) => path)];
  const drawing = sized(X.width, height, { class: 'picture map', role: 'group', 'aria-label': 'Map of services, events and queues' },
    feeds, takes.flat(),
    left.map(({ service, y: top, rows }) => [svg('text', { x: X.event, y: top + 17, class: 'map-service' }, service),
      rows.map((row) => {
        const node = svg('g', { class: 'map-event', transform: `translate(${X.event} ${row.y})` }, svg('rect', { width: X.eventEnd - X.event, height: 23, rx: 6 }), svg('text', { x: 10, y: 16 }, row.event));
        light(node, flows, ({ dataset }) => dataset.event === row.event);
        return node;
      })]).flat(2),
    ordered.map((queue) => {
      const box = boxes.get(queue.name);
      const figures = svg('text', { x: 12, y: 33, class: 'fine-text' }, '');
      live.get(queue.name).figures = figures;
      const node = svg('a', { href: to('queues', queue.name), class: 'map-queue', transform: `translate(${X.queue} ${box.y - 22})` },
        svg('rect', { width: X.queueEnd - X.queue, height: 44, rx: 9 }), svg('text', { x: 12, y: 17 }, queue.name), figures);
      live.get(queue.name).node = node;
      light(node, flows, ({ dataset }) => dataset.queue === queue.name);
      return node;
    }),
    [...right.values()].map(({ consumer, y: middle }) => svg('g', { class: 'map-consumer', transform: `translate(${X.service} ${middle - 18})` },
      svg('rect', { width: X.width - X.service - 10, height: 36, rx: 18 }), svg('text', { x: (X.width - X.service - 10) / 2, y: 23, 'text-anchor': 'middle' }, consumer))));
  let before = null;
  const look = async () => {
    const { data } = await get('/v1/queues', { signal });
    const now = performance.now();
    for (const queue of data.items) {
      const place = live.get(queue.name);
      if (!place) continue;
      const old = before?.items.find(({ name }) => name === queue.name);
      const done = queue.sinceStart?.processed;
      const rate = old?.sinceStart && done !== undefined ? (done - old.sinceStart.processed) / ((now - before.at) / 1000) : 0;
      place.text.textContent = done === undefined ? '' : `${count(done)}${rate > 0 ? ` · ${rate.toFixed(1)}/s` : ''}`;
      place.path.classList.toggle('moving', rate > 0 || queue.inFlight > 0);
      place.figures.textContent = `${count(queue.waiting + queue.inFlight)} waiting${queue.delayed ? ` · ${count(queue.delayed)} later` : ''}${queue.dead ? ` · ${count(queue.dead)} dead` : ''}`;
      place.node.classList.toggle('dead', queue.dead > 0);
    }
    before = { items: data.items, at: now };
  };
  await look();
  repeat(look, LOOK_MS, signal);
  const words = table('Events', [
    ['Event', ({ event }) => event], ['Emitted by', ({ service }) => service],
    ['Goes to', ({ queues: its }) => its.join(', ') || 'nowhere'],
    ['Consumed by', ({ queues: its }) => [...new Set(its.map((name) => boxes.get(name)?.consumer))].join(', ') || 'nobody'],
  ], events);
  return {
    title: 'Map',
    view: h('div', { class: 'stack wide' }, heading('Map'),
      h('p', { class: 'soft' }, `${counted(events.length, 'event')} on the bus ${bus}, ${counted(queues.length, 'queue')}. Numbers on the arrows: messages processed since the server started.`),
      h('div', { class: 'card scroll', tabindex: 0, role: 'region', 'aria-label': 'Map' }, drawing),
      h('details', { class: 'card' }, h('summary', null, 'The same in words'), words.element)),
  };
}

/** Brings out those of `flows` that are `node`'s while the pointer or the focus is on it. */
function light(node, flows, isIts) {
  const set = (on) => flows.filter(isIts).forEach((flow) => flow.classList.toggle('lit', on));
  node.addEventListener('pointerenter', () => set(true));
  node.addEventListener('pointerleave', () => set(false));
  node.addEventListener('focus', () => set(true));
  node.addEventListener('blur', () => set(false));
}
