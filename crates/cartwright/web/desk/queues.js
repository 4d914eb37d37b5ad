// Queues and what died in them: looked into, put back, or thrown away with a reason.

import { get, once } from '../lib/api.js';
import { h, put } from '../lib/dom.js';
import { atMoment, count, counted, duration, since } from '../lib/format.js';
import { heading, to } from '../lib/router.js';
import { ask, button, chip, empty, field, pager, toast } from '../lib/ui.js';
import { table } from './table.js';
import { repeat } from './today.js';

const LOOK_MS = 2000;
/** Most dead letters one request names. */
const MOST_AT_ONCE = 40;

/** The view of all queues, or of one. */
export async function queues([name], signal) {
  if (name) return one(name, signal);
  const rows = table('Queues', [
    ['Queue', (queue) => h('a', { href: to('queues', queue.name) }, queue.name)],
    ['Waiting', ({ waiting }) => count(waiting), 'right'],
    ['At work', ({ inFlight }) => count(inFlight), 'right'],
    ['Again later', ({ delayed }) => (delayed > 0 ? chip(count(delayed), 'warn') : '0'), 'right'],
    ['Oldest', ({ oldestAgeMs }) => (oldestAgeMs === null ? '–' : duration(oldestAgeMs)), 'right'],
    ['Processed', ({ sinceStart }) => (sinceStart ? count(sinceStart.processed) : '–'), 'right'],
    ['Failed tries', ({ sinceStart }) => (sinceStart ? count(sinceStart.failed) : '–'), 'right'],
    ['Dead letters', (queue) => (queue.dead > 0 ? h('a', { href: to('queues', queue.name) }, chip(count(queue.dead), 'bad')) : '0'), 'right'],
  ]);
  let shown = '';
  const look = async () => {
    const { data } = await get('/v1/queues', { signal });
    // Rows in which nothing moved stay, so that the focus in them does.
    if (JSON.stringify(data.items) !== shown && !rows.body.contains(document.activeElement)) rows.replace(data.items);
    shown = JSON.stringify(data.items);
  };
  await look();
  repeat(look, LOOK_MS, signal);
  return { title: 'Queues', view: h('div', { class: 'stack wide' }, heading('Queues'), h('p', { class: 'soft' }, 'Figures since the server started, live.'), rows.element) };
}

async function one(name, signal) {
  const path = `/v1/queues/${encodeURIComponent(name)}`;
  const figures = h('div', { class: 'row', 'aria-live': 'off' });
  const letters = h('div', { class: 'stack' });
  const chosen = new Set();
  let dead = -1;

  const look = async () => {
    const { data } = await get(path, { signal });
    put(figures, chip(`${count(data.waiting)} waiting`), chip(`${count(data.inFlight)} at work`), chip(`${count(data.delayed)} again later`, data.delayed > 0 ? 'warn' : ''),
      chip(counted(data.dead, 'dead letter'), data.dead > 0 ? 'bad' : 'good'), data.sinceStart && h('span', { class: 'fine' }, `${count(data.sinceStart.processed)} processed since the server started`));
    if (data.dead !== dead && chosen.size === 0 && !letters.querySelector('details[open]')) {
      dead = data.dead;
      await read();
    }
  };
  const read = async () => {
    chosen.clear();
    const list = h('ul', { class: 'stack tight' });
    const { element: more, next } = pager(`${path}/dead-letters`, (items) => list.append(...items.map(letter)), { limit: 20, signal });
    await next();
    if (list.children.length === 0) {
      put(letters, empty('check', 'No dead letters', 'Every message of this queue was processed or is on its way.'));
      return;
    }
    put(letters, bar(), list, more);
  };
  const said = h('span', { class: 'soft', 'aria-live': 'polite' });
  const tellChosen = () => put(said, chosen.size > 0 ? `${count(chosen.size)} chosen` : 'None chosen: the buttons mean all');
  const bar = () => {
    tellChosen();
    return h('div', { class: 'row bar', 'data-group': 'letters' }, said, button('Redrive', { symbol: 'again', kind: 'primary', act: redrive }), button('Discard', { symbol: 'bin', kind: 'danger', act: discard }));
  };
  const which = () => (chosen.size > 0 ? { ids: [...chosen].slice(0, MOST_AT_ONCE) } : { all: true });
  const amount = () => (chosen.size > 0 ? counted(Math.min(chosen.size, MOST_AT_ONCE), 'dead letter') : 'all dead letters');
  const after = async (word, { data }) => {
    toast(`${word} ${counted(data.count, 'message')}${data.more ? '; there are more' : ''}.`);
    dead = -1;
    chosen.clear();
    await read();
    await look();
  };
  const redrive = async () => {
    if (chosen.size === 0 && !await ask(`Redrive ${amount()}?`, h('p', null, `They go back to the end of ${name}, as if they had never been received.`), { yes: 'Redrive' })) return;
    await after('Put back', await once(`redrive:${name}`, `${path}/dead-letters/redrive`, which()));
  };
  const discard = async () => {
    const reason = field('Why?', { maxlength: 500, required: true, hint: 'Kept in the log and in the event that tells of it' });
    if (!await ask(`Discard ${amount()}?`, h('div', { class: 'stack' }, h('p', null, 'They are gone for good.'), reason.element), { yes: 'Discard', kind: 'danger', check: () => (reason.value ? '' : 'Say why.') })) return;
    await after('Removed', await once(`discard:${name}`, `${path}/dead-letters/discard`, { ...which(), reason: reason.value }));
  };
  const letter = ({ id, reason, receives, enqueuedAt, diedAt, event }) => {
    const about = event?.['detail-type'] ?? 'Message';
    const box = h('input', { type: 'checkbox', 'aria-label': `Choose ${about} that died ${since(diedAt)}`, on: { change: ({ target }) => {
      if (target.checked) chosen.add(id);
      else chosen.delete(id);
      tellChosen();
    } } });
    const order = event?.detail?.orderId;
    return h('li', { class: 'card letter' }, box, h('div', { class: 'stack tight' },
      h('p', { class: 'row between' }, h('strong', null, about), h('span', { class: 'fine' }, `died ${since(diedAt)}`)),
      h('p', { class: 'bad-text' }, reason),
      h('p', { class: 'fine' }, `${counted(receives, 'try', 'tries')} · put in ${atMoment(enqueuedAt)}`, order && [' · ', h('a', { href: to('o', order) }, 'Order')],
        event?.correlationId && [' · request ', h('span', { class: 'mono' }, event.correlationId)]),
      h('details', null, h('summary', null, 'Message'), h('pre', { tabindex: 0, 'aria-label': 'Message' }, typeof event === 'string' ? event : JSON.stringify(event, null, 2)))));
  };
  await look();
  repeat(look, LOOK_MS, signal);
  return { title: name, view: h('div', { class: 'stack wide' }, h('p', { class: 'crumbs' }, h('a', { href: to('queues') }, 'Queues')), heading(name), figures, letters) };
}
