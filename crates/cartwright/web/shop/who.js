// Makes sure that it is known whose basket is meant: by a key, where there is access control; else by a name one chooses.

import { h } from '../lib/dom.js';
import { go, heading } from '../lib/router.js';
import { chooseUser, mayChooseUser, session, signIn } from '../lib/session.js';
import { ask, button, empty, field } from '../lib/ui.js';

/** As the server has it. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$/;
const RULE = 'Letters, digits and . _ - @ +, at most 64';

/** What is wrong with a user name, or nothing. */
export function wrongName(name) {
  return NAME.test(name) ? '' : `A user name has ${RULE.toLowerCase()}, and begins with a letter or digit.`;
}

/** A field for a user name. */
export function nameField(value = '') {
  return field('User name', {
    hint: RULE, value, autocomplete: 'username', autocapitalize: 'none', spellcheck: 'false', maxlength: 64, required: true,
  });
}

/** A field for a key. */
export function keyField() {
  return field('API key or token', { type: 'password', autocomplete: 'off', spellcheck: 'false', required: true });
}

/** Asks who shops, unless that is known. Whether it is known now. */
export async function knowWho(identified) {
  await identified;
  if (session.user) return true;
  if (mayChooseUser()) {
    const name = nameField();
    const body = h('div', { class: 'stack' },
      h('p', { class: 'soft' }, 'A name keeps your basket and your orders. This shop asks for no password.'), name.element);
    const yes = await ask('Who is shopping?', body, { yes: 'Continue', check: () => wrongName(name.value) });
    if (yes) chooseUser(name.value);
    return yes;
  }
  const key = keyField();
  const body = h('div', { class: 'stack' }, h('p', { class: 'soft' }, 'Sign in to fill a basket.'), key.element);
  const yes = await ask('Sign in', body, { yes: 'Sign in', check: () => signIn(key.value) });
  return yes && Boolean(session.user);
}

/** What stands for a view of the visitor's own while it is not known who that is. */
export function askWhose(view, title, question, text, identified) {
  const act = async () => await knowWho(identified) && go(view);
  return { title, view: h('div', null, heading(title), empty(view, question, text, button('Say who', { kind: 'primary', act }))) };
}
