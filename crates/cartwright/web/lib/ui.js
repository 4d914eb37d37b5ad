// What both pages use to talk to people: messages, waiting, trouble, questions, and buttons that do a thing once.

import { Problem, Unreachable, connection, get } from './api.js';
import { h, icon, put } from './dom.js';

/** How long after an action further clicks are taken for the same one. */
const SETTLE_MS = 500;
const TOAST_MS = 6000;

/** Says something in passing, aloud too. */
export function toast(text, { kind = 'info', link } = {}) {
  const place = document.getElementById('toasts');
  const message = h('div', { class: `toast ${kind}` }, h('span', null, text), link);
  place.append(message);
  while (place.children.length > 3) place.firstChild.remove();
  setTimeout(() => message.remove(), TOAST_MS);
}

/** While something is on its way. */
export function loading(text = 'Loading…') {
  return h('div', { class: 'state', role: 'status' }, h('span', { class: 'spinner' }), text);
}

/** Where there is nothing. */
export function empty(symbol, title, text, ...actions) {
  return h('div', { class: 'state' }, icon(symbol), h('h2', null, title), text && h('p', null, text),
    actions.length > 0 && h('div', { class: 'row' }, actions));
}

/** What went wrong, and a way to try again. */
export function trouble(error, retry) {
  const away = error instanceof Unreachable;
  const missing = error instanceof Problem && error.status === 404;
  const forbidden = error instanceof Problem && [401, 403].includes(error.status);
  const title = away ? 'No connection' : missing ? 'Nothing here' : forbidden ? 'Not for this key' : 'That did not work';
  if (!(error instanceof Problem) && !away) console.error(error);
  return h('div', { class: 'state', role: 'alert' }, icon(away ? 'cloud' : forbidden ? 'lock' : 'alert'),
    h('h1', { tabindex: -1, class: 'small' }, title),
    h('p', null, away ? 'The shop cannot be reached. What you did is kept.' : error.message),
    error instanceof Problem && error.body.requestId && h('p', { class: 'fine' }, `Request ${error.body.requestId}`),
    retry && button('Try again', { symbol: 'again', act: retry }));
}

/** Words for an error, with its bad fields. */
export function words(error) {
  const fields = error instanceof Problem ? error.fields.map(({ name, detail }) => `${name}: ${detail}`) : [];
  return fields.length > 0 ? fields.join('; ') : error.message;
}

/** Clicks this near to each other are those of one double click, also when there is another button by then. */
const NEAR_PX = 16;

let last = { group: null, until: 0, x: 0, y: 0 };

/**
 * A button. While `act` is at work, it and those with it in one `data-group` do nothing more; nor does, for a moment after, what
 * is clicked in the same place. What `act` throws is said in passing, unless `failed` takes it.
 */
export function button(label, { act, symbol, kind = '', failed, done, title, disabled, type = 'button', name } = {}) {
  const text = h('span', null, label);
  const element = h('button', { type, class: `button ${kind}`, title, disabled, 'aria-label': name }, symbol && icon(symbol), text);
  if (act) element.addEventListener('click', (event) => run(element, event, act, { failed, done, text, label }));
  return element;
}

async function run(element, event, act, { failed, done, text, label }) {
  event.preventDefault();
  const group = element.closest('[data-group]')?.dataset.group ?? element;
  const isNear = Math.hypot(event.clientX - last.x, event.clientY - last.y) < NEAR_PX;
  const isAgain = last.group === group && performance.now() < last.until && (isNear || last.until === Infinity);
  if (isAgain || element.getAttribute('aria-busy') === 'true') return;
  last = { group, until: Infinity, x: event.clientX, y: event.clientY };
  element.setAttribute('aria-busy', 'true');
  try {
    await act(event);
    if (done) {
      text.textContent = done;
      element.classList.add('done');
      setTimeout(() => {
        text.textContent = label;
        element.classList.remove('done');
      }, 1600);
    }
  } catch (error) {
    if (failed) failed(error);
    else {
      if (!(error instanceof Problem || error instanceof Unreachable)) console.error(error);
      toast(words(error), { kind: 'bad' });
    }
  } finally {
    element.removeAttribute('aria-busy');
    last.until = performance.now() + SETTLE_MS;
  }
}

/**
 * A list of `path` that is read page by page, so many things at once. `add` shows those of a page; `next` reads one, and tells what
 * was in it; `element` has the button for what comes after.
 */
export function pager(path, add, { limit, label = 'Show more', signal }) {
  const element = h('div', { class: 'more' });
  const joint = path.includes('?') ? '&' : '?';
  let cursor = '';
  const next = async () => {
    const { data } = await get(`${path}${joint}limit=${limit}${cursor && `&cursor=${encodeURIComponent(cursor)}`}`, { signal });
    add(data.items);
    cursor = data.nextCursor ?? '';
    put(element, cursor && button(label, { act: next }));
    return data.items;
  };
  return { element, next };
}

/** Asks, in a dialog over the page. `body` may hold fields. Returns whether the answer was yes. */
export function ask(title, body, { yes = 'Yes', no = 'Cancel', kind = 'primary', check } = {}) {
  return new Promise((resolve) => {
    const says = h('p', { class: 'bad-text', role: 'alert' });
    const form = h('form', { method: 'dialog' }, h('h2', { id: 'dialog-title' }, title), body, says,
      h('div', { class: 'row end' },
        h('button', { type: 'button', class: 'button', on: { click: () => dialog.close('no') } }, no),
        h('button', { type: 'submit', class: `button ${kind}` }, yes)));
    const dialog = h('dialog', { 'aria-labelledby': 'dialog-title' }, form);
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      const wrong = await check?.();
      if (wrong) put(says, wrong);
      else dialog.close('yes');
    });
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue === 'yes');
    });
    document.body.append(dialog);
    dialog.showModal();
    dialog.querySelector('input, textarea, select')?.focus();
  });
}

let fieldCount = 0;

/** A field with its label, a hint, and room for what is wrong with it. */
export function field(label, { hint, tag = 'input', options, wide, ...props } = {}) {
  const id = `field-${++fieldCount}`;
  const described = [hint && `${id}-hint`, `${id}-wrong`].filter(Boolean).join(' ');
  const input = h(tag, { id, 'aria-describedby': described, ...props }, options);
  const wrong = h('span', { class: 'bad-text', id: `${id}-wrong` });
  const element = h('div', { class: `field ${wide ? 'wide' : ''}` }, h('label', { for: id }, label), input,
    hint && h('span', { class: 'fine', id: `${id}-hint` }, hint), wrong);
  input.addEventListener('input', () => {
    wrong.replaceChildren();
    input.removeAttribute('aria-invalid');
  });
  return {
    element,
    input,
    get value() {
      return input.value.trim();
    },
    /** Says what is wrong with it; nothing, when nothing is. */
    blame(text) {
      put(wrong, text ?? '');
      if (text) input.setAttribute('aria-invalid', 'true');
      else input.removeAttribute('aria-invalid');
    },
  };
}

/** A word about where something stands. */
export function chip(text, kind) {
  return h('span', { class: `chip ${kind ?? ''}` }, text);
}

const STATUS_KINDS = { DELIVERED: 'good', CONFIRMED: 'good', REJECTED: 'bad', CANCELLED: 'dim', RETURNED: 'dim', PLACED: 'warn' };

/** The chip of an order's status. */
export function statusChip(status, name) {
  return chip(name, STATUS_KINDS[status] ?? '');
}

/** Shows a line across the page while there is no connection. */
export function tellWhenOffline() {
  const line = document.getElementById('offline');
  const show = (away) => {
    line.hidden = !away;
  };
  connection.addEventListener('offline', () => show(true));
  connection.addEventListener('online', () => show(false));
  addEventListener('offline', () => show(true));
  addEventListener('online', () => show(false));
  show(!navigator.onLine);
}
