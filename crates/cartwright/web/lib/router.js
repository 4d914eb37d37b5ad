// Which view is shown: the part of the address after `#`, so that a reload and the back button find it again.

import { h, put } from './dom.js';
import { loading, trouble } from './ui.js';

let current = { abort() {} };
const scrolls = new Map();
let shown = null;

/** The address of a view, its parts encoded. */
export function to(...parts) {
  return `#/${parts.map(encodeURIComponent).join('/')}`;
}

/** Goes there. */
export function go(...parts) {
  const address = to(...parts);
  if (location.hash === address) return dispatchEvent(new HashChangeEvent('hashchange'));
  location.hash = address;
}

/** The parts of the present address. */
export function parts() {
  return location.hash.replace(/^#\/?/, '').split('/').filter(Boolean).map((part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  });
}

/**
 * Shows in `main` what `views` has for the address: a function from the further parts and a signal, which ends when the view
 * is left, to `{ title, view }`, or a promise of it.
 */
export function route(main, views, shop) {
  history.scrollRestoration = 'manual';
  const show = async (event) => {
    if (location.hash && !location.hash.startsWith('#/')) return;
    const isFirst = shown === null;
    if (!isFirst) scrolls.set(shown, scrollY);
    current.abort();
    current = new AbortController();
    const { signal } = current;
    const address = location.hash || '#/';
    const isSame = shown === address;
    shown = address;
    const [name = '', ...rest] = parts();
    const view = views[name] ?? views.missing;
    const wait = setTimeout(() => signal.aborted || put(main, loading()), isFirst ? 0 : 120);
    main.setAttribute('aria-busy', 'true');
    let page;
    try {
      page = await view(rest, signal);
    } catch (error) {
      if (signal.aborted) return;
      page = { title: 'That did not work', view: trouble(error, show) };
    }
    clearTimeout(wait);
    if (signal.aborted) return;
    main.removeAttribute('aria-busy');
    document.title = `${page.title} · ${shop}`;
    put(main, page.view);
    if (isSame && !isFirst) return;
    scrollTo(0, event?.type === 'hashchange' ? scrolls.get(address) ?? 0 : 0);
    const isTyping = document.activeElement?.matches('input[type=search]');
    if (!isFirst && !isTyping) (main.querySelector('h1') ?? main).focus({ preventScroll: true });
  };
  addEventListener('hashchange', show);
  main.closest('body').querySelector('.skip')?.addEventListener('click', (event) => {
    event.preventDefault();
    main.focus();
  });
  return show();
}

/** The heading of a view, which gets the focus when the view is entered. */
export function heading(text, props) {
  return h('h1', { tabindex: -1, ...props }, text);
}
