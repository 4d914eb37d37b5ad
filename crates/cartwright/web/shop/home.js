// Products: all, of a category, or found by words.

import { sleep } from '../lib/api.js';
import { h, icon, put } from '../lib/dom.js';
import { price } from '../lib/format.js';
import { heading, to } from '../lib/router.js';
import { button, chip, empty, toast, trouble, words } from '../lib/ui.js';
import { art } from './art.js';
import { addToBasket } from './basket-model.js';
import { listCategories, listProducts, stockOf } from './catalogue.js';
import { knowWho } from './who.js';

const PAGE = 24;
const MOST = 96;
const PATIENCE_MS = 150;

/** Lists that were seen, so that going back to one finds it as it was. */
const seen = new Map();

/** The view of `{ category }`, `{ search }` or `{}`. */
export async function list(what, signal, identified) {
  const title = what.category ?? (what.search ? `“${what.search}”` : 'All products');
  const key = JSON.stringify(what);
  const products = h('ul', { class: 'products' });
  const more = h('div', { class: 'more' });
  const view = h('div', null,
    chips(what.category, what.search),
    heading(title),
    products, more);
  const fresh = { items: [], next: '' };
  const state = seen.get(key) ?? fresh;
  seen.set(key, state);

  const draw = (items) => products.append(...items.map((product) => card(product, identified)));
  const fetchPage = async (limit) => {
    const { items, nextCursor } = await listProducts({ ...what, cursor: state.next, limit }, signal);
    state.items.push(...items);
    state.next = nextCursor ?? '';
    sessionStorage.setItem(`shown:${key}`, state.items.length);
    return items;
  };
  const drawMore = () => put(more, state.next && button('Show more', {
    act: async () => {
      const items = await fetchPage(PAGE);
      draw(items);
      drawMore();
      if (items.length > 0) products.children[products.children.length - items.length].querySelector('a').focus({ preventScroll: true });
    },
  }));

  if (state === fresh) {
    products.append(...Array.from({ length: 12 }, skeleton));
    const before = Number(sessionStorage.getItem(`shown:${key}`)) || PAGE;
    const first = fetchPage(Math.min(Math.max(before, PAGE), MOST)).then((items) => {
      put(products);
      draw(items);
      drawMore();
      if (items.length === 0) products.replaceWith(nothing(what));
    });
    first.catch((error) => {
      seen.delete(key);
      if (signal.aborted) return;
      products.replaceWith(trouble(error, () => dispatchEvent(new HashChangeEvent('hashchange'))));
    });
    // A list that comes at once is shown at once, without a flicker of what stands in for it.
    await Promise.race([first, sleep(PATIENCE_MS)]).catch(() => {});
  } else {
    draw(state.items);
    drawMore();
    refresh(state, what, products, identified, signal);
  }
  return { title, view };
}

/** Looks again for what was shown from memory, since stock and prices move. */
async function refresh(state, what, products, identified, signal) {
  try {
    const { items } = await listProducts({ ...what, limit: Math.min(Math.max(state.items.length, 1), MOST) }, signal);
    items.forEach((product, at) => {
      const old = state.items[at];
      if (old?.id !== product.id || JSON.stringify(old) === JSON.stringify(product)) return;
      state.items[at] = product;
      products.children[at]?.replaceWith(card(product, identified));
    });
  } catch {
    // What is shown stays; the next look may succeed.
  }
}

function nothing({ search }) {
  return search
    ? empty('search', 'Nothing found', 'Every word must begin a word of the name. Try fewer or shorter words.', h('a', { class: 'button', href: to() }, 'All products'))
    : empty('shop', 'No products yet', 'Whoever runs this shop can add them at the desk.');
}

function chips(category, search) {
  const holder = h('nav', { class: 'chips', 'aria-label': 'Categories' });
  const link = (name, address, isCurrent) => h('li', null, h('a', { href: address, class: 'pill', 'aria-current': isCurrent && 'page' }, name));
  const draw = (names) => put(holder, h('ul', null,
    link('All', to(), !category && !search), names.map((name) => link(name, to('c', name), name === category))));
  draw(category ? [category] : []);
  listCategories().then(draw).catch(() => {});
  return holder;
}

function skeleton() {
  return h('li', { class: 'product waiting', 'aria-hidden': 'true' }, h('div', { class: 'picture' }), h('div', { class: 'about' },
    h('span', { class: 'bar' }), h('span', { class: 'bar short' })));
}

/** A product among others. */
export function card(product, identified) {
  const stock = stockOf(product);
  const add = stock.soldOut
    ? h('a', { class: 'button small', href: to('p', product.id) }, icon('bell'), h('span', null, 'Tell me'), h('span', { class: 'unseen' }, ` when ${product.name} is back`))
    : button('Add', {
      symbol: 'plus', kind: 'small', name: `Add ${product.name} to the basket`, done: 'Added',
      act: async () => {
        if (!await knowWho(identified)) throw new Unchosen();
        await addToBasket(product.id, 1);
      },
      failed: (error) => error instanceof Unchosen || toast(words(error), { kind: 'bad' }),
    });
  return h('li', { class: `product ${stock.soldOut ? 'sold-out' : ''}` },
    h('div', { class: 'picture' }, art(product)),
    h('div', { class: 'about' },
      h('h2', null, h('a', { href: to('p', product.id) }, product.name)),
      h('div', { class: 'row between' },
        h('span', { class: 'price' }, price(product.price)),
        stock.kind === 'good' ? null : chip(stock.text, stock.kind)),
      add));
}

/** The visitor did not say who they are. */
class Unchosen extends Error {}
