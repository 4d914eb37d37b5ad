// Lists with columns, page by page.

import { h, put } from '../lib/dom.js';
import { empty, pager } from '../lib/ui.js';

/** A table: `columns` are `[name, cell]` or `[name, cell, class]`, `cell` makes of a thing what is shown. */
export function table(caption, columns, things = []) {
  const body = h('tbody', null);
  const element = h('div', { class: 'card table', tabindex: 0, role: 'region', 'aria-label': caption },
    h('table', null, h('caption', { class: 'unseen' }, caption),
      h('thead', null, h('tr', null, columns.map(([name, , kind]) => h('th', { scope: 'col', class: kind }, name || h('span', { class: 'unseen' }, 'Actions'))))), body));
  const row = (thing) => h('tr', null, columns.map(([, cell, kind]) => h('td', { class: kind }, cell(thing))));
  body.append(...things.map(row));
  return { element, body, row, add: (more) => body.append(...more.map(row)), replace: (all) => put(body, all.map(row)) };
}

/** A list of `path`, with a button for what comes after. `none` is shown when there is nothing. */
export async function pages(path, rows, none, signal) {
  const { element, next } = pager(path, rows.add, { limit: 50, signal });
  await next();
  const isEmpty = rows.body.children.length + element.children.length === 0;
  return h('div', null, isEmpty ? empty('list', ...none) : rows.element, element);
}
