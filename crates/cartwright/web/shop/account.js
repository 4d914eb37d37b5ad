// Who one is here.

import { h, put } from '../lib/dom.js';
import { heading } from '../lib/router.js';
import { changes, chooseUser, mayChooseUser, session, signIn, signOut } from '../lib/session.js';
import { button, toast } from '../lib/ui.js';
import { loadBasket } from './basket-model.js';
import { keyField, nameField, wrongName } from './who.js';

/** The view of the account. */
export async function account(_, signal, identified) {
  await identified;
  const holder = h('div', { class: 'stack narrow' });
  const draw = () => put(holder,
    session.accessControl && (session.role === 'anyone' ? signingIn() : signedIn()),
    mayChooseUser() && choosing());
  draw();
  changes.addEventListener('change', draw, { signal });
  return { title: 'You', view: h('div', null, heading('You'), holder) };
}

function signingIn() {
  const key = keyField();
  const enter = button('Sign in', {
    kind: 'primary', type: 'submit',
    act: async () => {
      const wrong = key.value ? await signIn(key.value) : 'Paste the key you were given.';
      key.blame(wrong);
      if (wrong) key.input.focus();
    },
  });
  return h('form', { class: 'card stack', novalidate: true }, h('h2', null, 'Sign in'),
    h('p', { class: 'soft' }, 'The key stays in this tab and is gone when it is closed.'), key.element, h('div', { class: 'row' }, enter));
}

function signedIn() {
  return h('section', { class: 'card stack' }, h('h2', null, 'Signed in'),
    h('p', null, session.name && `${session.name}, `, `as ${session.role}`, session.user && `, shopping as ${session.user}`),
    h('div', { class: 'row' }, button('Sign out', { act: signOut })));
}

function choosing() {
  const name = nameField(session.user);
  const enter = button(session.user ? 'Change' : 'Continue', {
    kind: 'primary', type: 'submit',
    act: async () => {
      const wrong = wrongName(name.value);
      name.blame(wrong);
      if (wrong) return name.input.focus();
      chooseUser(name.value);
      await loadBasket();
      toast(`You are shopping as ${name.value}.`);
    },
  });
  return h('form', { class: 'card stack', novalidate: true }, h('h2', null, session.user ? `Shopping as ${session.user}` : 'Who is shopping?'),
    h('p', { class: 'soft' }, 'Baskets, orders and the inbox belong to a user name.', session.accessControl === false && ' No access control is configured, so anyone on this machine may use any name.'),
    name.element, h('div', { class: 'row' }, enter));
}
