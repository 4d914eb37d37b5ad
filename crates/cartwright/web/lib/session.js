// Who is here: a role, when the shop has access control; and the user name whose basket and orders these are.

import { Problem, connection, find, send, useToken } from './api.js';

const TOKEN = 'token';
const USER = 'user';
const RANKS = ['anyone', 'customer', 'staff', 'admin'];

/** Tells of `change`. */
export const changes = new EventTarget();

/** What is known. `accessControl` is null until the server was asked. */
export const session = { accessControl: null, role: 'anyone', user: localStorage.getItem(USER) ?? '', name: '' };

useToken(sessionStorage.getItem(TOKEN) ?? '');

/** Asks the server who this is. A server without access control lets everyone do everything. */
export async function identify() {
  let me;
  try {
    me = (await find('/v1/me'))?.data ?? { accessControl: false, role: 'admin' };
  } catch (error) {
    if (!(error instanceof Problem && error.status === 401)) throw error;
    forgetToken();
    me = { accessControl: true, role: 'anyone' };
  }
  session.accessControl = me.accessControl;
  session.role = me.role;
  session.name = me.name ?? '';
  if (me.username) session.user = me.username;
  else if (me.accessControl && !may('staff')) session.user = '';
  changes.dispatchEvent(new Event('change'));
  return session;
}

/** Whether the role is at least this. */
export function may(role) {
  return RANKS.indexOf(session.role) >= RANKS.indexOf(role);
}

/** Whether the user name is the visitor's to choose: it is not, when a token says it. */
export function mayChooseUser() {
  return session.accessControl === false || may('staff');
}

/** Tries a token, and keeps it for this tab when the server knows it. Returns what is wrong with it, or nothing. */
export async function signIn(token) {
  useToken(token);
  try {
    const me = (await send('GET', '/v1/me')).data;
    if (me.role === 'anyone') throw new Problem(401, { detail: 'The server does not know this key.' });
    sessionStorage.setItem(TOKEN, token);
    await identify();
    return '';
  } catch (error) {
    useToken(sessionStorage.getItem(TOKEN) ?? '');
    if (error instanceof Problem && error.status === 401) return 'The server does not know this key, or it has expired.';
    return error.message;
  }
}

/** Forgets the token and, with it, who this is. */
export async function signOut() {
  forgetToken();
  session.user = '';
  localStorage.removeItem(USER);
  await identify();
}

function forgetToken() {
  sessionStorage.removeItem(TOKEN);
  useToken('');
}

/** Shops under this name from now on. */
export function chooseUser(name) {
  session.user = name;
  localStorage.setItem(USER, name);
  changes.dispatchEvent(new Event('change'));
}

connection.addEventListener('unauthenticated', () => {
  if (!sessionStorage.getItem(TOKEN)) return;
  forgetToken();
  identify().catch(() => {});
});
