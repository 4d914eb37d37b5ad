// Who may do what: API keys; and who did what: the audit.

import { send } from '../lib/api.js';
import { h } from '../lib/dom.js';
import { atMoment, since } from '../lib/format.js';
import { go, heading } from '../lib/router.js';
import { session } from '../lib/session.js';
import { ask, button, chip, field, toast, words } from '../lib/ui.js';
import { pages, table } from './table.js';
import { showSecret } from './webhooks.js';

const KEYS = '/v1/api-keys';

/** The view of the API keys. */
export async function keys(_, signal) {
  const rows = table('API keys', [
    ['Name', ({ name }) => name],
    ['Role', ({ role }) => chip(role, role === 'admin' ? 'warn' : '')],
    ['User', ({ username }) => username ?? '–'],
    ['Made', ({ createdAt }) => since(createdAt)],
    ['Last used', ({ lastUsedAt }) => (lastUsedAt ? since(lastUsedAt) : 'never')],
    ['Ends', ({ expiresAt }) => (expiresAt ? atMoment(expiresAt) : 'never'), 'when'],
    ['', (key) => button('Revoke', { kind: 'small danger', name: `Revoke ${key.name}`, act: async () => {
      if (!await ask(`Revoke ${key.name}?`, h('p', null, 'Whoever uses it is shut out at once.'), { yes: 'Revoke', kind: 'danger' })) return;
      await send('DELETE', `${KEYS}/${key.id}`);
      toast(`${key.name} is revoked.`);
      go('keys');
    } })],
  ]);
  const list = await pages(KEYS, rows, ['No keys yet', 'A key lets a person or a program in, with a role.'], signal);
  return {
    title: 'API keys',
    view: h('div', { class: 'stack wide' }, h('div', { class: 'row between' }, heading('API keys'), button('New key', { symbol: 'plus', kind: 'primary', act: create })),
      session.accessControl === false && h('p', { class: 'soft' }, 'Keys are not asked for until access control is configured.'), list),
  };
}

async function create() {
  const name = field('Name', { required: true, maxlength: 100, hint: 'Whose or what it is' });
  const role = field('Role', { tag: 'select', options: [['customer', 'Customer: what is their own'], ['staff', 'Staff: the daily work'], ['admin', 'Admin: everything']].map(([value, text]) => h('option', { value }, text)) });
  const username = field('User name', { maxlength: 64, autocapitalize: 'none', spellcheck: 'false', hint: 'Of the customer it is for' });
  const ends = field('Ends', { type: 'date', hint: 'May be left out' });
  let made;
  const check = async () => {
    const body = { name: name.value, role: role.value, ...(username.value && { username: username.value }), ...(ends.value && { expiresAt: new Date(`${ends.value}T23:59:59`).toISOString() }) };
    try {
      made = (await send('POST', KEYS, { body })).data;
      return '';
    } catch (error) {
      return words(error);
    }
  };
  if (!await ask('New API key', h('div', { class: 'stack' }, name.element, role.element, username.element, ends.element), { yes: 'Create', check })) return;
  await showSecret(`The key of ${made.name}`, made.key);
  go('keys');
}

/** The view of the audit. */
export async function audit(_, signal) {
  const change = ({ before, after }) => (before !== undefined || after !== undefined) && h('details', null, h('summary', null, 'Change'),
    h('pre', { tabindex: 0, 'aria-label': 'Change' }, [before !== undefined && `before ${JSON.stringify(before, null, 2)}`, after !== undefined && `after ${JSON.stringify(after, null, 2)}`].filter(Boolean).join('\n')));
  const rows = table('Audit', [
    ['When', ({ at }) => atMoment(at), 'when'],
    ['Who', ({ actor, name, role }) => [h('span', { title: actor }, name || actor), ' ', chip(role)]],
    ['Did', ({ action }) => action],
    ['To', ({ target }) => h('span', { class: 'clip mono' }, target)],
    ['', change],
    ['Request', ({ requestId }) => h('span', { class: 'mono fine' }, requestId)],
  ]);
  const list = await pages('/v1/audit', rows, ['Nothing yet', 'What staff and admins change is written down here.'], signal);
  return { title: 'Audit', view: h('div', { class: 'stack wide' }, heading('Audit'), list) };
}
