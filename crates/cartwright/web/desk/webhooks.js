// Webhooks: who is told what over HTTP, and how each delivery went.

import { get, once, send } from '../lib/api.js';
import { h, put } from '../lib/dom.js';
import { atMoment, counted, duration, since } from '../lib/format.js';
import { go, heading, to } from '../lib/router.js';
import { ask, button, chip, empty, field, toast, words } from '../lib/ui.js';
import { pages, table } from './table.js';
import { eventMap } from './timeline.js';
import { repeat } from './today.js';

const PATH = '/v1/subscriptions';
const LOOK_MS = 1500;
const DELIVERY = { delivered: 'Delivered', failed: 'Failed', pending: 'On its way' };

/** The view of all webhooks, or of one with its deliveries. */
export async function webhooks([id], signal) {
  if (id) return one(id, signal);
  const rows = table('Webhooks', [
    ['URL', (hook) => h('a', { href: to('webhooks', hook.id), class: 'clip' }, hook.url)],
    ['Events', ({ events }) => (events.length > 0 ? events.join(', ') : 'all')],
    ['Since', ({ createdAt }) => atMoment(createdAt), 'when'],
    ['Status', statusOf],
  ]);
  const list = await pages(PATH, rows, ['No webhooks', 'A webhook is told by HTTP what happens in the shop, signed so that it can be checked.'], signal);
  return {
    title: 'Webhooks',
    view: h('div', { class: 'stack wide' }, h('div', { class: 'row between' }, heading('Webhooks'), button('New webhook', { symbol: 'plus', kind: 'primary', act: create })), list),
  };
}

function statusOf({ status, disabledReason }) {
  return status === 'active' ? chip('Active', 'good') : [chip('Off', 'warn'), disabledReason && h('span', { class: 'fine' }, ` ${disabledReason}`)];
}

async function create() {
  const { events } = await eventMap();
  const url = field('URL', { type: 'url', placeholder: 'https://', required: true, maxlength: 2000 });
  const description = field('Description', { maxlength: 200 });
  const told = events.filter(({ queues }) => queues.includes('NotificationQueue')).map(({ event }) => event);
  const boxes = told.map((event) => h('label', { class: 'box' }, h('input', { type: 'checkbox', value: event }), event));
  let made;
  const check = async () => {
    const some = boxes.map((box) => box.querySelector('input')).filter(({ checked }) => checked).map(({ value }) => value);
    try {
      made = (await once('create-webhook', PATH, { url: url.value, events: some, ...(description.value && { description: description.value }) })).data;
      return '';
    } catch (error) {
      return words(error);
    }
  };
  const body = h('div', { class: 'stack' }, url.element, description.element,
    h('fieldset', { class: 'boxes' }, h('legend', null, 'Events; none for all'), boxes));
  if (!await ask('New webhook', body, { yes: 'Create', check })) return;
  await showSecret('The secret of this webhook', made.secret);
  go('webhooks', made.id);
}

/** Shows a secret that the server tells once. */
export function showSecret(title, secret) {
  const code = h('code', { class: 'secret', tabindex: 0 }, secret);
  const copy = button('Copy', { act: () => navigator.clipboard.writeText(secret), done: 'Copied' });
  return ask(title, h('div', { class: 'stack' }, h('p', null, 'It is shown this once. Keep it where only those who need it can see it.'), code, navigator.clipboard && h('div', null, copy)), { yes: 'I have kept it', no: 'Close' });
}

async function one(id, signal) {
  const path = `${PATH}/${encodeURIComponent(id)}`;
  let { data, etag } = await get(path, { signal });
  const about = h('div', { class: 'card stack' });
  const deliveries = h('section', { class: 'stack tight' });
  const change = async (body) => {
    ({ data, etag } = await send('PATCH', path, { body, etag }));
    draw();
  };
  const draw = () => put(about,
    h('dl', { class: 'facts' }, h('dt', null, 'Status'), h('dd', null, statusOf(data)), h('dt', null, 'Events'), h('dd', null, data.events.length > 0 ? data.events.join(', ') : 'all'),
      data.description && [h('dt', null, 'Description'), h('dd', null, data.description)], h('dt', null, 'Since'), h('dd', null, atMoment(data.createdAt))),
    h('div', { class: 'row', 'data-group': 'webhook' },
      button('Send a test', { kind: 'primary', act: async () => {
        await once(`test:${id}`, `${path}/test`);
        toast('A test is on its way.');
        await tell();
      } }),
      button(data.status === 'active' ? 'Switch off' : 'Switch on', { act: () => change({ status: data.status === 'active' ? 'disabled' : 'active' }) }),
      button('New secret', { act: async () => {
        if (!await ask('Make a new secret?', h('p', null, 'Deliveries are signed with it from now on.'), { yes: 'Make it' })) return;
        const { data: answer } = await once(`rotate:${id}`, `${path}/secret`);
        await showSecret('The new secret', answer.secret);
        ({ data, etag } = await get(path, { signal }));
      } }),
      button('Delete', { kind: 'danger', act: async () => {
        if (!await ask('Delete this webhook?', h('p', null, data.url), { yes: 'Delete', kind: 'danger' })) return;
        await send('DELETE', path, { etag });
        go('webhooks');
      } })));
  let isUnderWay = false;
  const tell = async () => {
    const rows = table('Deliveries', [
      ['When', ({ createdAt }) => since(createdAt)],
      ['Event', ({ event }) => event],
      ['Status', ({ status }) => h('span', { 'data-pending': status === 'pending' }, chip(DELIVERY[status] ?? status, { delivered: 'good', failed: 'bad' }[status] ?? 'warn'))],
      ['Tries', ({ attempts }) => attemptsOf(attempts)],
      ['', (delivery) => delivery.status !== 'pending' && button('Again', { kind: 'small', symbol: 'again', name: `Deliver ${delivery.event} again`, act: async () => {
        await once(`redeliver:${delivery.id}`, `/v1/deliveries/${delivery.id}/redeliver`);
        toast('It is on its way again.');
        await tell();
      } })],
    ]);
    const list = await pages(`/v1/deliveries?subscription=${encodeURIComponent(id)}`, rows, ['Nothing was delivered yet', 'Send a test.'], signal);
    isUnderWay = list.querySelector('[data-pending]') !== null;
    put(deliveries, h('h2', null, 'Deliveries'), list);
  };
  draw();
  await tell();
  repeat(() => isUnderWay && tell(), LOOK_MS, signal);
  return { title: 'Webhook', view: h('div', { class: 'stack wide' }, h('p', { class: 'crumbs' }, h('a', { href: to('webhooks') }, 'Webhooks')), heading(data.url, { class: 'small' }), about, deliveries) };
}

function attemptsOf(attempts) {
  if (attempts.length === 0) return '–';
  const last = attempts.at(-1);
  return h('details', null, h('summary', null, `${counted(attempts.length, 'try', 'tries')}, last: ${last.status ?? last.error}`),
    h('ol', { class: 'fine' }, attempts.map((attempt) => h('li', null, `${atMoment(attempt.at)}: ${attempt.status ?? attempt.error} in ${duration(attempt.durationMs)}`))));
}
