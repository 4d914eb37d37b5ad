// Orders: found by customer, status and time; and one of them, with what may be done to it.

import { get, send, uuid } from '../lib/api.js';
import { watch } from '../lib/feed.js';
import { h, put } from '../lib/dom.js';
import { STATUS, atMoment, counted, price, times } from '../lib/format.js';
import { go, heading, to } from '../lib/router.js';
import { ask, button, field, statusChip, toast } from '../lib/ui.js';
import { pages, table } from './table.js';
import { timeline } from './timeline.js';

const FILTERS = ['status', 'customer', 'from', 'to'];

/** The view of the list. What it is narrowed to is in the address. */
export async function orders([text = ''], signal) {
  const filter = new URLSearchParams(text);
  const rows = table('Orders', [
    ['Placed', ({ id, createdAt }) => h('a', { href: to('o', id) }, atMoment(createdAt)), 'when'],
    ['Customer', ({ customer }) => h('a', { href: to('orders', `customer=${encodeURIComponent(customer)}`) }, customer)],
    ['What', ({ lines, itemCount }) => h('span', { class: 'clip' }, lines.map(({ name }) => name).join(', ') || counted(itemCount, 'piece'))],
    ['Total', ({ total }) => price(total), 'right'],
    ['Status', ({ status }) => statusChip(status, STATUS[status])],
  ]);
  const list = await pages(`/v1/orders?${asked(filter)}`, rows, ['No orders', text ? 'None is like that.' : 'They show up here as they are placed.'], signal);
  return { title: 'Orders', view: h('div', { class: 'stack wide' }, heading('Orders'), form(filter), list) };
}

/** The filter as the API has it: days become the moments they begin and end. */
function asked(filter) {
  const query = new URLSearchParams();
  for (const name of FILTERS) if (filter.get(name)) query.set(name, filter.get(name));
  const day = (name, time) => query.get(name)?.length === 10 && query.set(name, new Date(`${query.get(name)}T${time}`).toISOString());
  day('from', '00:00:00');
  day('to', '23:59:59.999');
  return query;
}

function form(filter) {
  const option = (value, name) => h('option', { value, selected: filter.get('status') === value }, name);
  const fields = {
    status: field('Status', { tag: 'select', options: [option('', 'Any'), ...Object.entries(STATUS).map(([value, name]) => option(value, name))] }),
    customer: field('Customer', { value: filter.get('customer') ?? '', autocapitalize: 'none', spellcheck: 'false', maxlength: 64 }),
    from: field('From', { type: 'date', value: filter.get('from')?.slice(0, 10) ?? '' }),
    to: field('To', { type: 'date', value: filter.get('to')?.slice(0, 10) ?? '' }),
  };
  const apply = (event) => {
    event.preventDefault();
    const query = new URLSearchParams();
    for (const name of FILTERS) if (fields[name].value) query.set(name, fields[name].value);
    if (query.size > 0) go('orders', query.toString());
    else go('orders');
  };
  return h('form', { class: 'filter', on: { submit: apply } }, FILTERS.map((name) => fields[name].element),
    h('button', { type: 'submit', class: 'button primary' }, 'Show'), filter.size > 0 && h('a', { class: 'button plain', href: to('orders') }, 'All'));
}

/** The view of one order. */
export async function order([id], signal) {
  const path = `/v1/orders/${encodeURIComponent(id)}`;
  let { data, etag } = await get(path, { signal });
  const status = h('div', { class: 'row', 'aria-live': 'polite' });
  const actions = h('div', { class: 'row', 'data-group': 'order' });
  const what = h('div');
  const story = h('section', { class: 'stack', 'aria-label': 'Timeline' });
  const draw = () => {
    put(status, statusChip(data.status, STATUS[data.status]), h('span', { class: 'soft' }, `since ${atMoment(data.updatedAt)}`));
    put(actions, data.nextStatuses.map((next) => button(WORDS[next], {
      kind: next === 'CANCELLED' ? 'danger' : next === 'RETURNED' ? '' : 'primary', act: () => move(next),
    })), data.nextStatuses.length === 0 && h('span', { class: 'soft' }, 'Nothing more can be done to it.'));
    put(what, facts(data));
  };
  const tell = async () => put(story, await timeline(id, signal));
  async function look() {
    try {
      const next = await get(path, { signal });
      if (next.etag !== etag || next.data.status !== data.status) {
        ({ data, etag } = next);
        draw();
      }
      await tell();
    } catch {
      // What is shown stays; the next look may succeed.
    }
  }
  async function move(next) {
    if (next === 'CANCELLED' && !await ask('Cancel this order?', h('p', null, 'What is reserved for it goes back into stock, and the customer is told.'), { yes: 'Cancel the order', no: 'Keep it', kind: 'danger' })) return;
    try {
      ({ data, etag } = await send('POST', `${path}/transitions`, { body: { to: next }, key: uuid(), etag }));
      toast(`The order is ${STATUS[data.status].toLowerCase()}.`);
    } catch (error) {
      await look();
      throw error;
    }
    draw();
    setTimeout(() => signal.aborted || tell().catch(() => {}), 400);
  }
  draw();
  await tell();
  watch(`order:${id}`, { onEvent: look, onPoll: look, pollMs: 2500, signal });
  return {
    title: 'Order',
    view: h('div', { class: 'stack wide' },
      h('p', { class: 'crumbs' }, h('a', { href: to('orders') }, 'Orders')),
      heading(`Order of ${data.customer}`), h('p', { class: 'mono soft id' }, data.id), status, actions, what, story),
  };
}

const WORDS = { CANCELLED: 'Cancel', PACKED: 'Mark packed', SHIPPED: 'Mark shipped', DELIVERED: 'Mark delivered', RETURNED: 'Mark returned' };

function facts(data) {
  const { firstName, lastName, email, address } = data.contact ?? {};
  const name = [firstName, lastName].filter(Boolean).join(' ');
  const nameOf = (id) => data.lines.find((line) => line.productId === id)?.name ?? id;
  return h('div', { class: 'columns' },
    h('section', { class: 'card stack tight' }, h('h2', null, 'Lines'),
      h('ul', { class: 'stack tight' }, data.lines.map((line) => h('li', { class: 'row between nowrap' },
        h('span', null, `${line.quantity} × `, h('a', { href: to('products', line.productId) }, line.name), line.color && ` (${line.color})`),
        h('span', { class: 'price' }, price(times(line.unitPrice, line.quantity)))))),
      h('p', { class: 'row between total' }, h('span', null, counted(data.itemCount, 'piece')), h('strong', { class: 'price' }, price(data.total)))),
    h('section', { class: 'card stack tight' }, h('h2', null, 'Customer'),
      h('p', null, h('a', { href: to('orders', `customer=${encodeURIComponent(data.customer)}`) }, data.customer)),
      (name || address || email) && h('p', { class: 'lines-of-text' }, [name, address, email].filter(Boolean).join('\n')),
      data.rejections?.length > 0 && h('div', { class: 'notice bad' }, h('ul', null, data.rejections.map((reason) => h('li', null,
        `${nameOf(reason.productId)}: ${reason.reason === 'outOfStock' ? `${reason.asked} asked, ${reason.available} available` : reason.reason === 'priceChanged' ? 'its price changed' : 'no longer in the catalogue'}`))))));
}
