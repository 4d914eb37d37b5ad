// Products: their stock, adjusted in the list; and one of them, with its ledger and what can be changed about it.

import { get, once, send } from '../lib/api.js';
import { h, put } from '../lib/dom.js';
import { atMoment, count, price } from '../lib/format.js';
import { go, heading, to } from '../lib/router.js';
import { ask, button, chip, field, toast, words } from '../lib/ui.js';
import { pages, table } from './table.js';

/** The view of the list, or of one product. */
export async function products([id, sought], signal) {
  if (id && id !== 'search') return one(id, signal);
  const rows = table('Products', [
    ['Product', ({ id: product, name }) => h('a', { href: to('products', product) }, name)],
    ['Category', ({ category }) => category],
    ['Price', (product) => price(product.price), 'right'],
    ['Stock', (product) => stockCell(product)],
  ]);
  const path = sought ? `/v1/products?search=${encodeURIComponent(sought)}` : '/v1/products';
  const none = sought ? ['Nothing found', 'Every word must begin a word of the name.'] : ['No products yet', 'Add the first one.'];
  const list = await pages(path, rows, none, signal);
  const words_ = field('Search', { type: 'search', value: sought ?? '', maxlength: 100 });
  const search = h('form', { class: 'filter', role: 'search', on: { submit: (event) => {
    event.preventDefault();
    if (words_.value) go('products', 'search', words_.value);
    else go('products');
  } } }, words_.element, h('button', { type: 'submit', class: 'button' }, 'Search'));
  return {
    title: 'Products',
    view: h('div', { class: 'stack wide' },
      h('div', { class: 'row between' }, heading('Products'), button('New product', { symbol: 'plus', kind: 'primary', act: create })), search, list),
  };
}

/** What there is of a product, and a field that books what came or went. */
function stockCell(product) {
  const holder = h('div', { class: 'stock-cell', 'data-group': `stock ${product.id}` });
  const draw = (stock) => {
    const by = h('input', { class: 'input', type: 'number', value: '1', min: 1, max: 1_000_000, 'aria-label': `Pieces of ${product.name}` });
    const book = (kind) => async () => {
      const quantity = Math.round(Number(by.value));
      if (!(quantity >= 1)) {
        by.focus();
        return;
      }
      await once(`stock:${product.id}`, `/v1/products/${product.id}/stock/movements`, { kind, quantity });
      draw((await get(`/v1/products/${product.id}/stock`)).data);
      holder.querySelector('input').value = String(quantity);
      toast(`${kind === 'received' ? 'Received' : 'Wrote off'} ${count(quantity)} × ${product.name}.`);
    };
    put(holder, stock ? [figures(stock), by,
      button('Receive', { kind: 'small', name: `Receive ${product.name}`, act: book('received') }),
      button('Write off', { kind: 'small plain', name: `Write off ${product.name}`, act: book('writtenOff') })]
      : [h('span', { class: 'soft' }, 'not tracked'), button('Count', { kind: 'small', name: `Count ${product.name}`, act: () => recount(product, null).then((next) => next && draw(next)) })]);
  };
  draw(product.stock);
  return holder;
}

function figures({ onHand, reserved, available }) {
  const kind = available === 0 ? 'bad' : available <= 5 ? 'warn' : 'good';
  return h('span', { class: 'row figures' }, chip(`${count(available)} available`, kind),
    h('span', { class: 'fine number' }, `${count(onHand)} on hand, ${count(reserved)} reserved`));
}

async function recount(product, stock) {
  const found = field('Pieces that were found', { type: 'number', min: 0, max: 1_000_000_000, value: String(stock?.onHand ?? 0) });
  const note = field('Remark', { maxlength: 500, hint: 'For the ledger; may be left out' });
  let answer = null;
  const check = async () => {
    try {
      const body = { onHand: Math.round(Number(found.value)), ...(note.value && { note: note.value }) };
      answer = (await send('PUT', `/v1/products/${product.id}/stock`, { body })).data;
      return '';
    } catch (error) {
      return words(error);
    }
  };
  await ask(`Count ${product.name}`, h('div', { class: 'stack' }, found.element, note.element), { yes: 'Set the stock', check });
  return answer;
}

const KINDS = { received: 'Received', writtenOff: 'Written off', counted: 'Counted', removed: 'Removed', reserved: 'Reserved', released: 'Released', shipped: 'Shipped' };
const signed = (value) => h('span', { class: `number ${value < 0 ? 'bad-text' : value > 0 ? 'good-text' : 'soft'}` }, value > 0 ? `+${count(value)}` : count(value));

async function one(id, signal) {
  const path = `/v1/products/${encodeURIComponent(id)}`;
  let { data, etag } = await get(path, { signal });
  const stock = h('section', { class: 'card stack' });
  const form = h('section', { class: 'card stack' });
  const ledger = h('section', { class: 'stack tight' });
  const tell = async () => {
    const rows = table('Stock ledger', [
      ['When', ({ at }) => atMoment(at), 'when'],
      ['What', ({ kind }) => KINDS[kind] ?? kind],
      ['On hand', ({ onHand }) => signed(onHand), 'right'],
      ['Available', ({ available }) => signed(available), 'right'],
      ['Why', ({ orderId, note }) => [orderId && h('a', { href: to('o', orderId) }, 'Order'), note]],
    ]);
    put(ledger, h('h2', null, 'Ledger'), await pages(`${path}/stock/movements`, rows, ['Nothing moved yet', ''], signal));
  };
  const again = async () => {
    ({ data, etag } = await get(path, { signal }));
    draw();
    await tell();
  };
  const draw = () => {
    const count_ = button('Count', { act: async () => await recount(data, data.stock) && again() });
    put(stock, h('h2', null, 'Stock'), data.stock ? stockCell(data) : h('p', { class: 'soft' }, 'Not tracked: always available.'), h('div', { class: 'row' }, count_));
    put(form, h('h2', null, 'In the catalogue'), editor(data, 'Save', async (body) => {
      ({ data, etag } = await send('PATCH', path, { body, etag }));
      toast('Saved.');
      draw();
    }), h('div', { class: 'row' }, button('Remove from the catalogue', { kind: 'danger small', act: async () => {
      if (!await ask('Remove this product?', h('p', null, 'Orders that hold it keep their lines. Its stock is closed.'), { yes: 'Remove', kind: 'danger' })) return;
      await send('DELETE', path, { etag });
      go('products');
    } })));
  };
  draw();
  await tell();
  return {
    title: data.name,
    view: h('div', { class: 'stack wide' }, h('p', { class: 'crumbs' }, h('a', { href: to('products') }, 'Products')), heading(data.name),
      h('div', { class: 'columns' }, form, stock), ledger),
  };
}

function editor(product, label, save) {
  const places = placesOf(product.price.currency);
  const fields = {
    name: field('Name', { value: product.name, maxlength: 200, required: true, wide: true }),
    category: field('Category', { value: product.category, maxlength: 100 }),
    price: field(`Price (${product.price.currency})`, { value: toMajor(product.price.amount, places), inputmode: 'decimal', required: true }),
    description: field('Description', { tag: 'textarea', maxlength: 4000, rows: 3, wide: true }),
  };
  fields.description.input.value = product.description;
  const go_ = button(label, {
    kind: 'primary', type: 'submit',
    act: async () => {
      const amount = toMinor(fields.price.value, places);
      fields.name.blame(fields.name.value ? '' : 'A product has a name.');
      fields.price.blame(amount === null ? 'This is not a price.' : '');
      if (!fields.name.value || amount === null) return;
      await save({ name: fields.name.value, category: fields.category.value, description: fields.description.value, price: { amount, currency: product.price.currency } });
    },
  });
  return h('form', { class: 'fields', novalidate: true }, Object.values(fields).map(({ element }) => element), h('div', { class: 'row wide' }, go_));
}

function placesOf(currency) {
  return new Intl.NumberFormat('en', { style: 'currency', currency }).resolvedOptions().maximumFractionDigits;
}

/** An amount in minor units as people type it; digits are moved, nothing is computed. */
function toMajor(amount, places) {
  const digits = String(amount).padStart(places + 1, '0');
  return places ? `${digits.slice(0, -places)}.${digits.slice(-places)}` : digits;
}

function toMinor(text, places) {
  const [, whole, fraction = ''] = /^(\d{1,12})(?:[.,](\d*))?$/.exec(text.trim()) ?? [];
  if (whole === undefined || fraction.length > places) return null;
  return Number(whole + fraction.padEnd(places, '0'));
}

async function create() {
  const { data } = await get('/v1/products?limit=1');
  const currency = data.items[0]?.price.currency ?? 'USD';
  const places = placesOf(currency);
  const fields = {
    name: field('Name', { maxlength: 200, required: true }),
    category: field('Category', { maxlength: 100 }),
    price: field('Price', { inputmode: 'decimal', hint: data.items[0] ? `In ${currency}` : `In ${currency}, or the currency the shop was started with`, required: true }),
    stock: field('Pieces on hand', { type: 'number', min: 0, hint: 'Leave it empty, and stock is not tracked' }),
  };
  const check = async () => {
    const amount = toMinor(fields.price.value, places);
    if (!fields.name.value || amount === null) return 'A product has a name and a price.';
    const stock = fields.stock.value === '' ? {} : { stock: Math.round(Number(fields.stock.value)) };
    try {
      const made = await once('create-product', '/v1/products', { name: fields.name.value, category: fields.category.value, price: { amount, currency }, ...stock });
      go('products', made.data.id);
      return '';
    } catch (error) {
      return words(error);
    }
  };
  await ask('New product', h('div', { class: 'stack' }, Object.values(fields).map(({ element }) => element)), { yes: 'Create', check });
}
