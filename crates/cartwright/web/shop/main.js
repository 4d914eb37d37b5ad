// The storefront: its frame, and which view belongs to which address.

import { h, icon, put } from '../lib/dom.js';
import { heading, go, parts, route, to } from '../lib/router.js';
import { changes, identify, session } from '../lib/session.js';
import { pending, resume } from '../lib/api.js';
import { empty, tellWhenOffline } from '../lib/ui.js';
import { account } from './account.js';
import { basketChanges, loadBasket, pieces } from './basket-model.js';
import { basketPage } from './basket.js';
import { checkout } from './checkout.js';
import { list } from './home.js';
import { inbox, inboxChanges, inboxPage, listen, tellInPassing } from './inbox.js';
import { order, orders } from './order.js';
import { product } from './product.js';

const SEARCH_PAUSE_MS = 250;

const identified = identify().catch(() => session);

const views = {
  '': (_, signal) => list({}, signal, identified),
  c: ([category], signal) => list({ category }, signal, identified),
  search: ([search], signal) => list(search ? { search } : {}, signal, identified),
  p: (rest, signal) => product(rest, signal, identified),
  basket: (rest, signal) => basketPage(rest, signal, identified),
  checkout: (rest, signal) => checkout(rest, signal, identified),
  o: (rest, signal) => order(rest, signal, identified),
  orders: (rest, signal) => orders(rest, signal, identified),
  inbox: (rest, signal) => inboxPage(rest, signal, identified),
  you: (rest, signal) => account(rest, signal, identified),
  missing: () => ({
    title: 'Nothing here',
    view: h('div', null, heading('Nothing here'), empty('search', 'There is no such page', '', h('a', { class: 'button', href: to() }, 'All products'))),
  }),
};

const LINKS = [
  { name: 'Shop', symbol: 'shop', address: to(), views: ['', 'c', 'p', 'search'], phone: true },
  { name: 'Orders', symbol: 'orders', address: to('orders'), views: ['orders', 'o'] },
  { name: 'Inbox', symbol: 'inbox', address: to('inbox'), views: ['inbox'], badge: () => inbox.unread, of: 'unread' },
  { name: 'Basket', symbol: 'basket', address: to('basket'), views: ['basket', 'checkout'], badge: pieces, of: 'pieces' },
  { name: 'You', symbol: 'person', address: to('you'), views: ['you'] },
];

function drawNavigation() {
  const [name = ''] = parts();
  put(document.getElementById('nav'), h('ul', null, LINKS.map((link) => {
    const number = link.badge?.() ?? 0;
    return h('li', { class: link.phone ? 'phone-only' : '' }, h('a', { href: link.address, 'aria-current': link.views.includes(name) && 'page' },
      icon(link.symbol),
      h('span', { class: 'label' }, link.name),
      number > 0 && h('span', { class: 'badge' }, number > 99 ? '99+' : String(number), h('span', { class: 'unseen' }, ` ${link.of}`))));
  })));
}

function watchSearch() {
  const form = document.getElementById('search');
  const input = form.querySelector('input');
  let timer;
  const find = () => {
    clearTimeout(timer);
    const words = input.value.trim();
    const [name] = parts();
    if (words) {
      // While one types, the address changes without filling the history.
      if (name === 'search') history.replaceState(null, '', to('search', words));
      else history.pushState(null, '', to('search', words));
      dispatchEvent(new HashChangeEvent('hashchange'));
      input.focus();
    } else if (name === 'search') {
      go();
      input.focus();
    }
  };
  input.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(find, SEARCH_PAUSE_MS);
  });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    find();
    document.querySelector('main h1')?.focus({ preventScroll: true });
  });
  const show = () => {
    const [name, words = ''] = parts();
    if (document.activeElement !== input) input.value = name === 'search' ? words : '';
  };
  addEventListener('hashchange', show);
  show();
}

tellWhenOffline();
tellInPassing();
drawNavigation();
watchSearch();
addEventListener('hashchange', drawNavigation);
basketChanges.addEventListener('change', drawNavigation);
inboxChanges.addEventListener('change', drawNavigation);
addEventListener('storage', ({ key }) => key === `basket:${session.user}` && loadBasket().catch(() => {}));
changes.addEventListener('change', listen);
identified.then(() => {
  listen();
  resume('add:').then((resumed) => resumed > 0 && loadBasket()).catch(() => {});
});
if (pending('checkout') && parts()[0] !== 'checkout') go('checkout');
route(document.getElementById('main'), views, 'Cartwright');
