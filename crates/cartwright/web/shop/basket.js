// The basket, and the way to the checkout.

import { h, icon, put } from '../lib/dom.js';
import { counted, price, times } from '../lib/format.js';
import { heading, to } from '../lib/router.js';
import { session } from '../lib/session.js';
import { button, empty, toast, words } from '../lib/ui.js';
import { art } from './art.js';
import { basket, basketChanges, loadBasket, pieces, removeLine, setLine } from './basket-model.js';
import { categoryOf, getProduct } from './catalogue.js';
import { stepper } from './product.js';

const SETTLE_MS = 350;

/** The view of the basket. */
export async function basketPage(_, signal, identified) {
  await identified;
  if (session.user) await loadBasket();
  const holder = h('div', { class: 'basket' });
  const rows = new Map();
  const draw = () => {
    if (basket.items.length === 0) {
      rows.clear();
      put(holder, empty('basket', 'Your basket is empty', 'What you add waits here, also tomorrow.', h('a', { class: 'button primary', href: to() }, 'Look around')));
      return;
    }
    for (const key of rows.keys()) if (!basket.items.some((line) => keyOf(line) === key)) rows.delete(key);
    const lines = basket.items.map((line) => {
      const key = keyOf(line);
      if (!rows.has(key)) rows.set(key, row(line));
      rows.get(key).show(line);
      return rows.get(key).element;
    });
    const list = holder.querySelector('.lines') ?? h('ul', { class: 'lines card' });
    // Rows stay where they are, so that the focus in one does.
    if (lines.length !== list.children.length || lines.some((line, at) => list.children[at] !== line)) put(list, lines);
    const sum = summary(h('a', { class: 'button primary block', href: to('checkout') }, 'Checkout'));
    if (list.parentNode !== holder) put(holder, list, sum);
    else holder.lastChild.replaceWith(sum);
  };
  draw();
  basketChanges.addEventListener('change', draw, { signal });
  return { title: 'Basket', view: h('div', null, heading('Basket'), holder) };
}

const keyOf = (line) => `${line.productId}/${line.color}`;

/** What it comes to, and what to do about it. */
export function summary(...actions) {
  return h('aside', { class: 'summary card stack', 'aria-label': 'Summary' },
    h('div', { class: 'row between' }, h('span', null, counted(pieces(), 'piece')), h('strong', { class: 'price large' }, price(basket.total))),
    actions);
}

function row(first) {
  let line = first;
  let timer;
  const total = h('strong', { class: 'price' });
  const stock = h('p', { class: 'warn-text fine' });
  const failed = async (error) => {
    toast(words(error), { kind: 'bad' });
    await loadBasket().catch(() => {});
    number.set(line.quantity);
  };
  const number = stepper(first.quantity, `Quantity of ${first.name}`, (quantity) => {
    put(total, price(times(line.unitPrice, quantity)));
    clearTimeout(timer);
    if (quantity !== line.quantity) timer = setTimeout(() => setLine(line, quantity).catch(failed), SETTLE_MS);
  });
  const element = h('li', { class: 'line' },
    h('div', { class: 'picture' }, art({ name: first.name, category: categoryOf(first.productId) })),
    h('div', { class: 'what' },
      h('h2', null, h('a', { href: to('p', first.productId) }, first.name)),
      h('p', { class: 'fine number' }, first.color && `${first.color} · `, `${price(first.unitPrice)} each`),
      stock),
    number.element, total,
    h('button', { type: 'button', class: 'button plain small', 'aria-label': `Remove ${first.name}`, on: { click: remove } }, icon('bin')));
  async function remove(event) {
    const at = event.currentTarget;
    if (at.getAttribute('aria-busy') === 'true') return;
    at.setAttribute('aria-busy', 'true');
    clearTimeout(timer);
    try {
      await removeLine(line);
      (document.querySelector('.line a') ?? document.querySelector('h1'))?.focus();
    } catch (error) {
      await failed(error);
    } finally {
      at.removeAttribute('aria-busy');
    }
  }
  let available = Infinity;
  const warn = () => put(stock, available < line.quantity && (available > 0 ? `Only ${available} left` : 'Sold out'));
  getProduct(first.productId).then((product) => {
    if (product.stock) available = product.stock.available;
    warn();
  }).catch(() => {});
  return {
    element,
    show(next) {
      line = next;
      number.set(next.quantity);
      put(total, price(times(next.unitPrice, next.quantity)));
      warn();
    },
  };
}
