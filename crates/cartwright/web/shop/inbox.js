// What the visitor was told: how orders go, and what is back in stock.

import { get, send } from '../lib/api.js';
import { watch } from '../lib/feed.js';
import { h } from '../lib/dom.js';
import { since } from '../lib/format.js';
import { heading, to } from '../lib/router.js';
import { session } from '../lib/session.js';
import { empty, pager, toast } from '../lib/ui.js';
import { askWhose } from './who.js';

/** Tells of `change`, and of `entry` with the entry as its detail. */
export const inboxChanges = new EventTarget();
/** How many entries are not read yet. */
export const inbox = { unread: 0 };

const path = (user) => `/v1/customers/${encodeURIComponent(user)}/inbox`;
let watching = { user: '', stop: new AbortController() };

/** Listens to what `session.user` is told, from now on. */
export function listen() {
  const { user } = session;
  if (watching.user === user) return;
  watching.stop.abort();
  watching = { user, stop: new AbortController() };
  inbox.unread = 0;
  inboxChanges.dispatchEvent(new Event('change'));
  if (!user) return;
  const { signal } = watching.stop;
  const count = async () => {
    try {
      const { data } = await get(`${path(user)}?limit=1`, { signal });
      inbox.unread = data.unread;
      inboxChanges.dispatchEvent(new Event('change'));
    } catch {
      // The number is a courtesy.
    }
  };
  const onEvent = (entry) => {
    inbox.unread += 1;
    inboxChanges.dispatchEvent(new Event('change'));
    inboxChanges.dispatchEvent(new CustomEvent('entry', { detail: entry }));
  };
  watch(`customer:${user}`, { onEvent, onPoll: count, pollMs: 15_000, signal });
}

/** Where an entry leads. */
export function placeOf({ facts }) {
  return facts?.about === 'order' ? to('o', facts.orderId) : facts?.about === 'product' ? to('p', facts.productId) : to('inbox');
}

/** The view of the inbox. */
export async function inboxPage(_, signal, identified) {
  await identified;
  const title = 'Inbox';
  if (!session.user) return askWhose('inbox', title, 'Whose inbox?', 'Say who you are to see it.', identified);
  const list = h('ul', { class: 'rows card' });
  const none = empty('inbox', 'Nothing yet', 'We tell you here how your orders go.');
  const tellWhetherEmpty = () => {
    none.hidden = list.children.length > 0;
    list.hidden = list.children.length === 0;
  };
  const add = (items) => {
    list.append(...items.map(row));
    tellWhetherEmpty();
  };
  const { element: more, next } = pager(path(session.user), add, { limit: 20, label: 'Show older ones', signal });
  const newest = await next();
  if (newest.some(({ read }) => !read)) await markRead(newest[0].sequence);
  const onEntry = ({ detail }) => {
    list.prepend(row(detail));
    tellWhetherEmpty();
    markRead(detail.sequence).catch(() => {});
  };
  inboxChanges.addEventListener('entry', onEntry, { signal });
  return { title, view: h('div', null, heading(title), list, none, more) };
}

async function markRead(upTo) {
  await send('PUT', `${path(session.user)}/read`, { body: { upTo } });
  inbox.unread = 0;
  inboxChanges.dispatchEvent(new Event('change'));
}

function row(entry) {
  const [first, ...rest] = entry.text.split('\n');
  return h('li', { class: entry.read ? '' : 'unread' }, h('a', { class: 'entry', href: placeOf(entry) },
    h('span', { class: 'row between' }, h('strong', null, entry.read ? null : h('span', { class: 'unseen' }, 'New: '), entry.subject), h('span', { class: 'fine' }, since(entry.at))),
    h('span', { class: 'soft' }, first),
    rest.length > 1 && h('span', { class: 'fine lines-of-text' }, rest.slice(1).join('\n'))));
}

/** Says in passing what came, unless one is looking at it. */
export function tellInPassing() {
  inboxChanges.addEventListener('entry', ({ detail }) => {
    const place = placeOf(detail);
    if (location.hash === place || location.hash === to('inbox')) return;
    toast(detail.subject, { link: h('a', { href: place }, 'Look') });
  });
}
