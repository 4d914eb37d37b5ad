// Orders: one, whose status moves while one looks; and all of the visitor's.

import { get, once } from '../lib/api.js';
import { h, icon, put } from '../lib/dom.js';
import { STATUS, atMoment, counted, price, times } from '../lib/format.js';
import { watch } from '../lib/feed.js';
import { heading, to, go } from '../lib/router.js';
import { session } from '../lib/session.js';
import { ask, button, empty, pager, statusChip } from '../lib/ui.js';
import { art } from './art.js';
import { addToBasket } from './basket-model.js';
import { categoryOf } from './catalogue.js';
import { askWhose, knowWho } from './who.js';

const STEPS = [['PLACED', 'basket'], ['CONFIRMED', 'check'], ['PACKED', 'box'], ['SHIPPED', 'truck'], ['DELIVERED', 'home']];
const SENTENCES = {
  PLACED: ['Thank you', 'We have your order and are reserving what is in it.'],
  CONFIRMED: ['Your order is confirmed', 'Everything in it is reserved for you.'],
  REJECTED: ['We are sorry', 'Not everything in this order can be had, so nothing was reserved and nothing will be charged.'],
  PACKED: ['Your order is packed', 'It waits to be collected.'],
  SHIPPED: ['Your order is on its way', 'It has left our house.'],
  DELIVERED: ['Your order was delivered', 'Enjoy it.'],
  CANCELLED: ['This order was cancelled', 'Nothing will be sent, and what was reserved went back.'],
  RETURNED: ['This order came back', 'It has returned to us.'],
};
const LAST = ['REJECTED', 'CANCELLED', 'RETURNED'];

/** The view of an order. */
export async function order([id], signal, identified) {
  await identified;
  const path = `/v1/orders/${encodeURIComponent(id)}`;
  let { data, etag } = await get(path, { signal });
  const title = heading('');
  const sentence = h('p', { class: 'lead' });
  const live = h('div', { 'aria-live': 'polite' }, title, sentence);
  const progress = h('div');
  const actions = h('div', { class: 'row', 'data-group': 'order' });
  const reasons = h('div');
  const lines = h('div');
  const draw = () => {
    const [head, text] = SENTENCES[data.status];
    // Only what changed, so that screen readers say it once.
    if (title.textContent !== head) put(title, head);
    if (sentence.textContent !== text) put(sentence, text);
    put(progress, way(data.status));
    put(reasons, data.rejections?.length > 0 && rejected(data, identified));
    put(actions, data.nextStatuses.includes('CANCELLED') && button('Cancel order', { act: cancel }));
    put(lines, bought(data));
  };
  async function look() {
    try {
      const next = await get(path, { signal });
      if (next.etag === etag && next.data.status === data.status) return;
      ({ data, etag } = next);
      draw();
    } catch {
      // What is shown stays; the next look may succeed.
    }
  }
  async function cancel() {
    if (!await ask('Cancel this order?', h('p', null, 'Nothing will be sent, and what is reserved for you goes back on the shelf.'), { yes: 'Cancel the order', no: 'Keep it', kind: 'danger' })) return;
    ({ data, etag } = await once(`cancel:${id}`, `${path}/transitions`, { to: 'CANCELLED' }));
    draw();
    title.focus();
  }
  draw();
  watch(`order:${id}`, { onEvent: look, onPoll: look, pollMs: 1500, signal });
  const view = h('div', { class: 'order-page' },
    h('p', { class: 'crumbs' }, h('a', { href: to('orders') }, 'Your orders')),
    live, progress, reasons, lines, actions,
    h('p', { class: 'fine' }, 'Order ', h('span', { class: 'mono id' }, data.id), ` · placed ${atMoment(data.createdAt)}`));
  return { title: `Order ${STATUS[data.status]}`, view };
}

/** Where it stands, as a way with steps. */
function way(status) {
  if (LAST.includes(status)) return h('p', { class: 'row' }, statusChip(status, STATUS[status]));
  const at = STEPS.findIndex(([step]) => step === status);
  return h('ol', { class: 'way' }, STEPS.map(([step, symbol], number) => h('li', {
    class: number < at ? 'past' : number === at ? 'now' : '', 'aria-current': number === at && 'step',
  }, h('span', { class: 'dot' }, icon(number < at ? 'check' : symbol)), h('span', null, STATUS[step]),
  h('span', { class: 'unseen' }, number < at ? ', done' : number === at ? ', now' : ', to come'))));
}

function rejected(data, identified) {
  const nameOf = (id) => data.lines.find((line) => line.productId === id)?.name ?? 'A product';
  const why = (reason) => {
    if (reason.reason === 'outOfStock') return reason.available > 0 ? `only ${reason.available} left, you asked for ${reason.asked}` : 'sold out a moment ago';
    if (reason.reason === 'priceChanged') return `the price is ${price(reason.current)} now, not ${price(reason.ordered)}`;
    return 'no longer sold';
  };
  const left = data.lines.map((line) => {
    const reason = data.rejections.find(({ productId }) => productId === line.productId);
    const quantity = !reason || reason.reason === 'priceChanged' ? line.quantity : reason.reason === 'outOfStock' ? Math.min(line.quantity, reason.available) : 0;
    return { productId: line.productId, quantity };
  }).filter(({ quantity }) => quantity > 0);
  return h('div', { class: 'notice bad' }, icon('alert'), h('div', { class: 'stack tight' },
    h('ul', null, data.rejections.map((reason) => h('li', null, h('a', { href: to('p', reason.productId) }, nameOf(reason.productId)), ': ', why(reason)))),
    left.length > 0 && h('div', { class: 'row' }, button('Put the rest back into the basket', {
      kind: 'small', symbol: 'basket',
      act: async () => {
        if (!await knowWho(identified)) return;
        for (const { productId, quantity } of left) await addToBasket(productId, quantity);
        go('basket');
      },
    }))));
}

function bought(data) {
  const { firstName, lastName, email, address } = data.contact ?? {};
  const name = [firstName, lastName].filter(Boolean).join(' ');
  return h('div', { class: 'order-parts' },
    h('section', { class: 'card stack', 'aria-labelledby': 'bought' }, h('h2', { id: 'bought' }, 'What you ordered'),
      h('ul', { class: 'order-lines' }, data.lines.map((line) => h('li', null,
        h('div', { class: 'picture' }, art({ name: line.name, category: categoryOf(line.productId) })),
        h('div', null, h('a', { href: to('p', line.productId) }, line.name), h('p', { class: 'fine' }, `${line.quantity} × ${price(line.unitPrice)}`)),
        h('span', { class: 'price' }, price(times(line.unitPrice, line.quantity)))))),
      h('p', { class: 'row between total' }, h('span', null, `Total of ${counted(data.itemCount, 'piece')}`), h('strong', { class: 'price' }, price(data.total)))),
    (name || address) && h('section', { class: 'card stack tight', 'aria-labelledby': 'sent-to' }, h('h2', { id: 'sent-to' }, 'Where it goes'),
      h('p', { class: 'lines-of-text' }, [name, address, email].filter(Boolean).join('\n'))));
}

/** The view of the visitor's orders. */
export async function orders(_, signal, identified) {
  await identified;
  const title = 'Your orders';
  if (!session.user) return askWhose('orders', title, 'Whose orders?', 'Say who you are to see them.', identified);
  const list = h('ul', { class: 'rows card' });
  const path = `/v1/customers/${encodeURIComponent(session.user)}/orders`;
  const add = (items) => list.append(...items.map(row));
  const { element: more, next } = pager(path, add, { limit: 20, label: 'Show older ones', signal });
  await next();
  const none = empty('orders', 'No orders yet', 'What you order shows up here, with where it stands.', h('a', { class: 'button primary', href: to() }, 'Look around'));
  return { title, view: h('div', null, heading(title), list.children.length > 0 ? list : none, more) };
}

function row(order) {
  const names = order.lines.map((line) => line.name).join(', ') || `${counted(order.itemCount, 'piece')}`;
  return h('li', null, h('a', { class: 'order-row', href: to('o', order.id) },
    h('span', { class: 'when' }, atMoment(order.createdAt)),
    h('span', { class: 'names' }, names),
    h('span', { class: 'price' }, price(order.total)),
    statusChip(order.status, STATUS[order.status])));
}
