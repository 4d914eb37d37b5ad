// Lists with columns, page by page.

import { get } from '../lib/api.js';
import { h, put } from '../lib/dom.js';
import { button, empty } from '../lib/ui.js';

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
  const more = h('div', { class: 'more' });
  let cursor = '';
  const joint = path.includes('?') ? '&' : '?';
  const page = async () => {
    const { data } = await get(`${path}${joint}limit=50${cursor && `&cursor=${encodeURIComponent(cursor)}`}`, { signal });
    rows.add(data.items);
    cursor = data.nextCursor ?? '';
    put(more, cursor && button('Show more', { act: page }));
    return data.items;
  };
  await page();
  const holder = h('div', null, rows.body.children.length > 0 || cursor ? rows.element : empty('list', ...none), more);
  return holder;
}
