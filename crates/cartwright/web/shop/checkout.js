// Checkout: where to send it, and one button that buys once.

import { Problem, once, pending } from '../lib/api.js';
import { h, put } from '../lib/dom.js';
import { price, times } from '../lib/format.js';
import { go, heading, to } from '../lib/router.js';
import { session } from '../lib/session.js';
import { button, empty, field, words } from '../lib/ui.js';
import { basket, basketIsGone, loadBasket } from './basket-model.js';
import { summary } from './basket.js';

const DRAFT = 'checkout-draft';
const INTENT = 'checkout';

/** The view of the checkout. */
export async function checkout(_, signal, identified) {
  await identified;
  const title = 'Checkout';
  if (await resumed()) return { title, view: h('p', { class: 'state' }, 'Done.') };
  if (session.user) await loadBasket();
  if (basket.items.length === 0) {
    const way = h('a', { class: 'button primary', href: to() }, 'Look around');
    return { title, view: h('div', null, heading(title), empty('basket', 'There is nothing to check out', 'Your basket is empty.', way)) };
  }
  return { title, view: page() };
}

/** Goes on with a checkout that was sent and not answered before the page was left. Whether there was one. */
async function resumed() {
  const kept = pending(INTENT);
  if (!kept) return false;
  try {
    const { data } = await once(INTENT, kept.path, JSON.parse(kept.body));
    arrive(data);
    return true;
  } catch (error) {
    if (error instanceof Problem) return false;
    throw error;
  }
}

function arrive({ orderId }) {
  sessionStorage.removeItem(DRAFT);
  basketIsGone();
  go('o', orderId);
}

function page() {
  const draft = JSON.parse(sessionStorage.getItem(DRAFT) ?? localStorage.getItem(`contact:${session.user}`) ?? '{}');
  const fields = {
    firstName: field('First name', { autocomplete: 'given-name', maxlength: 100, required: true }),
    lastName: field('Last name', { autocomplete: 'family-name', maxlength: 100, required: true }),
    email: field('E-mail', { type: 'email', autocomplete: 'email', maxlength: 254, hint: 'Only if you like to be told by e-mail', wide: true }),
    address: field('Address', { tag: 'textarea', autocomplete: 'street-address', maxlength: 500, required: true, rows: 3, wide: true }),
  };
  const values = () => Object.fromEntries(Object.entries(fields).map(([name, { value }]) => [name, value]));
  for (const [name, { input }] of Object.entries(fields)) input.value = draft[name] ?? '';
  const payments = ['On delivery', 'By invoice'].map((label, at) => h('label', { class: 'choice' },
    h('input', { type: 'radio', name: 'payment', value: String(at + 1), checked: (draft.payment ?? 1) === at + 1 }), h('span', null, label)));
  const keep = () => sessionStorage.setItem(DRAFT, JSON.stringify({ ...values(), payment: payment() }));
  const payment = () => Number(form.querySelector('input[name=payment]:checked').value);
  const says = h('div', { role: 'alert', class: 'says' });
  let expected = basket.total;
  const buy = button('Place order', { kind: 'primary block', type: 'submit', act: () => place(), failed: fail });
  const lines = h('ul', { class: 'stack tight' }, basket.items.map((line) => h('li', { class: 'row between nowrap' },
    h('span', null, `${line.quantity} × ${line.name}`), h('span', { class: 'price' }, price(times(line.unitPrice, line.quantity))))));
  const form = h('form', { class: 'basket', novalidate: true, on: { input: keep } },
    h('div', { class: 'stack' },
      h('fieldset', { class: 'card' }, h('legend', null, 'Where shall it go?'), h('div', { class: 'fields' }, Object.values(fields).map(({ element }) => element))),
      h('fieldset', { class: 'card' }, h('legend', null, 'How will you pay?'), h('div', { class: 'row' }, payments))),
    summary(lines, says, buy, h('p', { class: 'fine' }, 'Names and prices are those of the catalogue at this moment; should one have changed, you are asked first.')));

  function complete() {
    const messages = { firstName: 'Please tell us your first name.', lastName: 'Please tell us your last name.', address: 'Please tell us where to send it.' };
    let first;
    for (const [name, one] of Object.entries(fields)) {
      const wrong = messages[name] && !one.value ? messages[name]
        : name === 'email' && one.value && !one.input.checkValidity() ? 'This does not look like an e-mail address.' : '';
      one.blame(wrong);
      if (wrong) first ??= one.input;
    }
    first?.focus();
    return !first;
  }

  async function place() {
    put(says);
    if (!complete()) return;
    keep();
    const path = `/v1/baskets/${encodeURIComponent(session.user)}/checkout`;
    const body = { expectedTotal: expected, contact: values(), payment: { method: payment() } };
    const { data } = await once(INTENT, path, body);
    localStorage.setItem(`contact:${session.user}`, JSON.stringify(values()));
    arrive(data);
  }

  function fail(error) {
    if (error instanceof Problem && error.code === 'price_changed') {
      const { expectedTotal, currentTotal } = error.body;
      expected = currentTotal;
      put(says, h('div', { class: 'notice warn' }, h('span', null, 'A price has changed. It now comes to ',
        h('strong', null, price(currentTotal)), ` instead of ${price(expectedTotal)}. Place the order again to accept that.`)));
      put(form.querySelector('.summary .price.large'), price(currentTotal));
    } else if (error instanceof Problem && ['product_gone', 'basket_empty'].includes(error.code)) {
      put(says, h('div', { class: 'notice warn' }, h('span', null, error.message, ' ', h('a', { href: to('basket') }, 'See the basket'))));
      loadBasket().catch(() => {});
    } else {
      put(says, h('div', { class: 'notice bad' }, words(error)));
      for (const { name, detail } of error.fields ?? []) fields[name]?.blame(detail);
    }
  }
  return h('div', null, heading('Checkout'), form);
}
