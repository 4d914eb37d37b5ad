// The desk: its frame, who may see it, and which view belongs to which address.

import { h, icon, put } from '../lib/dom.js';
import { heading, parts, route, to } from '../lib/router.js';
import { changes, identify, may, session, signIn, signOut } from '../lib/session.js';
import { button, empty, field, tellWhenOffline } from '../lib/ui.js';
import { audit, keys } from './access.js';
import { map } from './map.js';
import { order, orders } from './orders.js';
import { products } from './products.js';
import { queues } from './queues.js';
import { today } from './today.js';
import { webhooks } from './webhooks.js';

const VIEWS = { '': today, orders, o: order, products, queues, webhooks, keys, audit, map };
const LINKS = [
  { name: 'Today', symbol: 'wave', address: to(), views: [''] },
  { name: 'Orders', symbol: 'orders', address: to('orders'), views: ['orders', 'o'] },
  { name: 'Products', symbol: 'box', address: to('products'), views: ['products'] },
  { name: 'Queues', symbol: 'list', address: to('queues'), views: ['queues'] },
  { name: 'Map', symbol: 'map', address: to('map'), views: ['map'] },
  { name: 'Webhooks', symbol: 'hook', address: to('webhooks'), views: ['webhooks'] },
  { name: 'API keys', symbol: 'key', address: to('keys'), views: ['keys'], role: 'admin' },
  { name: 'Audit', symbol: 'lock', address: to('audit'), views: ['audit'], role: 'admin' },
];

const identified = identify();

function drawFrame() {
  const [name = ''] = parts();
  put(document.getElementById('nav'), h('ul', null, LINKS.filter(({ role = 'staff' }) => may(role)).map((link) => h('li', null,
    h('a', { href: link.address, 'aria-current': link.views.includes(name) && 'page' }, icon(link.symbol), h('span', null, link.name))))));
  // On a phone the links are in one line that scrolls.
  document.querySelector('#nav [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
  const isIn = session.accessControl && session.role !== 'anyone';
  put(document.getElementById('who'), isIn && button('Sign out', { kind: 'small', act: signOut }),
    h('p', { class: 'fine row' }, h('a', { href: './' }, 'Storefront'), h('a', { href: 'docs' }, 'API')));
  put(document.getElementById('notice'),
    session.accessControl === false && h('p', { class: 'notice warn slim' }, icon('alert'), h('span', null, 'No access control is configured: open to this machine only.')),
    isIn && h('p', { class: 'notice slim' }, icon('lock'), h('span', null, `Signed in as ${[session.name, session.role].filter(Boolean).join(', ')}.`)));
}

/** The view, for those who may see it; else a way in. */
function guarded(view) {
  return async (rest, signal) => {
    await identified;
    return may('staff') ? view(rest, signal) : wayIn();
  };
}

function wayIn() {
  const title = 'Sign in';
  const key = field('API key or token', { type: 'password', autocomplete: 'off', spellcheck: 'false', required: true, hint: 'It stays in this tab, and is gone when that is closed' });
  const enter = button('Sign in', {
    kind: 'primary', type: 'submit',
    act: async () => {
      const wrong = key.value ? await signIn(key.value) : 'Paste the key you were given.';
      key.blame(wrong || (may('staff') ? '' : `This key has the role ${session.role}; the desk is for staff and admins.`));
      if (!may('staff')) return key.input.focus();
      dispatchEvent(new HashChangeEvent('hashchange'));
    },
  });
  return { title, view: h('form', { class: 'card stack narrow', novalidate: true }, heading('Sign in to the desk', { class: 'small' }), key.element, h('div', { class: 'row' }, enter)) };
}

const missing = () => ({ title: 'Nothing here', view: h('div', null, heading('Nothing here'), empty('search', 'There is no such page', '', h('a', { class: 'button', href: to() }, 'Today'))) });

tellWhenOffline();
addEventListener('hashchange', drawFrame);
let wasIn = false;
changes.addEventListener('change', () => {
  drawFrame();
  // Whoever signs out, or whose key ended, must not go on seeing what was there.
  if (wasIn && !may('staff')) dispatchEvent(new HashChangeEvent('hashchange'));
  wasIn = may('staff');
});
drawFrame();
const views = Object.fromEntries(Object.entries(VIEWS).map(([name, view]) => [name, guarded(view)]));
route(document.getElementById('main'), { ...views, missing }, 'Desk');
