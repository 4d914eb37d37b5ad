// One product: what it is, what is left of it, and the way into the basket.

import { Problem, send } from '../lib/api.js';
import { h, icon, put } from '../lib/dom.js';
import { price } from '../lib/format.js';
import { heading, to } from '../lib/router.js';
import { session } from '../lib/session.js';
import { button, chip, toast } from '../lib/ui.js';
import { art } from './art.js';
import { addToBasket } from './basket-model.js';
import { getProduct, listProducts, stockOf } from './catalogue.js';
import { card } from './home.js';
import { knowWho } from './who.js';

const POLL_MS = 10_000;
const MOST = 1000;

/** The view of a product. */
export async function product([id], signal, identified) {
  let current = await getProduct(id, signal);
  const stock = h('div', { class: 'stack', 'aria-live': 'polite' });
  const cost = h('p', { class: 'price large' }, price(current.price));
  const quantity = stepper(1, 'Quantity', () => {});
  const draw = () => {
    put(cost, price(current.price));
    put(stock, buying(current, quantity, identified));
  };
  draw();
  const timer = setInterval(async () => {
    if (document.visibilityState !== 'visible') return;
    try {
      const next = await getProduct(id, signal);
      const changed = JSON.stringify([next.stock?.available, next.price]) !== JSON.stringify([current.stock?.available, current.price]);
      current = next;
      if (changed) draw();
    } catch {
      // What is shown stays; the next look may succeed.
    }
  }, POLL_MS);
  signal.addEventListener('abort', () => clearInterval(timer));
  const others = h('section', { class: 'others', 'aria-labelledby': 'others' });
  const view = h('div', null,
    h('nav', { class: 'crumbs', 'aria-label': 'Where you are' },
      h('a', { href: to() }, 'All products'),
      current.category && [h('span', { 'aria-hidden': 'true' }, '/'), h('a', { href: to('c', current.category) }, current.category)]),
    h('article', { class: 'product-page' },
      h('div', { class: 'picture' }, art(current)),
      h('div', { class: 'stack' },
        heading(current.name), cost,
        current.description && h('p', { class: 'description' }, current.description),
        stock)),
    others);
  if (current.category) fillOthers(others, current, identified, signal);
  return { title: current.name, view };
}

async function fillOthers(section, current, identified, signal) {
  try {
    const { items } = await listProducts({ category: current.category, limit: 9 }, signal);
    const others = items.filter(({ id }) => id !== current.id);
    // Not the same four beside every product.
    const from = current.name.length % Math.max(1, others.length - 3);
    const some = others.slice(from, from + 4);
    if (some.length === 0) return;
    put(section, h('h2', { id: 'others' }, `More in ${current.category}`),
      h('ul', { class: 'products' }, some.map((other) => card(other, identified))));
  } catch {
    // The product is what matters.
  }
}

function buying(current, quantity, identified) {
  const stock = stockOf(current);
  if (stock.soldOut) return soldOut(current, identified);
  const add = button('Add to basket', {
    symbol: 'basket', kind: 'primary', done: 'Added',
    act: async () => {
      if (!await knowWho(identified)) return;
      await addToBasket(current.id, quantity.value);
      toast(`${quantity.value} × ${current.name} is in your basket.`, { link: h('a', { href: to('basket') }, 'See basket') });
    },
  });
  return [h('p', null, chip(stock.text, stock.kind)), h('div', { class: 'row' }, quantity.element, add)];
}

function soldOut(current, identified) {
  const kept = () => `watching:${session.user}:${current.id}`;
  const holder = h('div', { class: 'stack' });
  const draw = () => {
    const isWatching = session.user && localStorage.getItem(kept()) === 'yes';
    put(holder,
      h('p', null, chip('Sold out', 'dim')),
      isWatching
        ? h('p', { class: 'notice' }, icon('bell'), h('span', null, 'We will tell you in your inbox when it is back.'))
        : h('p', { class: 'soft' }, 'Back soon, we hope. Shall we tell you?'),
      isWatching
        ? button('No longer', { act: () => watch('DELETE') })
        : button('Tell me when it is back', { symbol: 'bell', kind: 'primary', act: () => watch('PUT') }));
  };
  const watch = async (method) => {
    if (!await knowWho(identified)) return;
    try {
      await send(method, `/v1/products/${current.id}/watchers/${encodeURIComponent(session.user)}`);
    } catch (error) {
      if (!(method === 'DELETE' && error instanceof Problem && error.status === 404)) throw error;
    }
    localStorage.setItem(kept(), method === 'PUT' ? 'yes' : 'no');
    draw();
  };
  draw();
  return holder;
}

/** A number with buttons beside it. `changed` is called with each new number that was settled on. */
export function stepper(start, label, changed, { most = MOST } = {}) {
  const input = h('input', { type: 'number', inputmode: 'numeric', min: 1, max: most, value: String(start), 'aria-label': label });
  let value = start;
  const set = (next) => {
    const settled = Math.min(Math.max(Math.round(next) || 1, 1), most);
    input.value = String(settled);
    if (settled === value) return;
    value = settled;
    changed(settled);
  };
  input.addEventListener('change', () => set(Number(input.value)));
  const step = (by, symbol, name) => h('button', { type: 'button', 'aria-label': name, on: { click: () => set(value + by) } }, icon(symbol));
  const element = h('div', { class: 'stepper', role: 'group', 'aria-label': label }, step(-1, 'minus', 'One fewer'), input, step(1, 'plus', 'One more'));
  return { element, get value() { return value; }, set };
}
