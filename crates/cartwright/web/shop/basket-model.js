// The visitor's basket: what the server says it holds, and what changes it.

import { Problem, get, once, send } from '../lib/api.js';
import { changes, session } from '../lib/session.js';

/** Tells of `change`. */
export const basketChanges = new EventTarget();

/** What it holds, as far as is known. */
export const basket = { user: '', items: [], total: null, isKnown: false };

/** How many pieces are in it. */
export function pieces() {
  return basket.items.reduce((sum, line) => sum + line.quantity, 0);
}

function show(view) {
  basket.user = session.user;
  basket.items = view?.items ?? [];
  basket.total = view?.total ?? null;
  basket.isKnown = true;
  // So that other tabs look again.
  localStorage.setItem(`basket:${session.user}`, view?.items.length > 0 ? view.updatedAt : '');
  basketChanges.dispatchEvent(new Event('change'));
}

/** Asks the server what is in it. */
export async function loadBasket() {
  const { user } = session;
  if (!user) return show(null);
  const { data } = await get(`/v1/baskets/${encodeURIComponent(user)}?orEmpty=true`);
  if (user === session.user) show(data);
}

/** Puts `quantity` pieces of a product into it. */
export async function addToBasket(productId, quantity) {
  const { user } = session;
  const path = `/v1/baskets/${encodeURIComponent(user)}/items`;
  const { data } = await once(`add:${productId}`, path, { productId, quantity });
  if (user === session.user) show(data);
}

function linePath(line) {
  return `/v1/baskets/${encodeURIComponent(session.user)}/items/${line.productId}`;
}

/** Makes `quantity` the number of a line. */
export async function setLine(line, quantity) {
  show((await send('PUT', linePath(line), { body: { quantity, color: line.color } })).data);
}

/** Takes a line out. */
export async function removeLine(line) {
  try {
    show((await send('DELETE', `${linePath(line)}?color=${encodeURIComponent(line.color)}`)).data);
  } catch (error) {
    if (!(error instanceof Problem && error.status === 404)) throw error;
    await loadBasket();
  }
}

/** It was checked out: there is none any more. */
export function basketIsGone() {
  show(null);
}

changes.addEventListener('change', () => {
  if (basket.user !== session.user) {
    basket.isKnown = false;
    loadBasket().catch(() => {});
  }
});
