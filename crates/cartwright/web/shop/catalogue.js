// What the catalogue says, as the storefront needs it.

import { get } from '../lib/api.js';

/** At most so many pieces left are worth telling. */
const FEW = 5;
/** Where the categories of products seen are kept, and how many. */
const SEEN = 'categories-seen';
const MOST_SEEN = 300;

/** A page of products: of a category, of a search, or of all. `{ items, nextCursor }`. */
export async function listProducts({ category, search, cursor, limit }, signal) {
  const query = new URLSearchParams({ limit });
  if (category) query.set('category', category);
  if (search) query.set('search', search);
  if (cursor) query.set('cursor', cursor);
  const { data } = await get(`/v1/products?${query}`, { signal });
  data.items.forEach(remember);
  return data;
}

/** One product. */
export async function getProduct(id, signal) {
  const { data } = await get(`/v1/products/${encodeURIComponent(id)}`, { signal });
  remember(data);
  return data;
}

const categoriesSeen = new Map(Object.entries(JSON.parse(localStorage.getItem(SEEN) ?? '{}')));

function remember({ id, category }) {
  if (categoriesSeen.get(id) === category) return;
  categoriesSeen.delete(id);
  categoriesSeen.set(id, category);
  if (categoriesSeen.size > MOST_SEEN) categoriesSeen.delete(categoriesSeen.keys().next().value);
  localStorage.setItem(SEEN, JSON.stringify(Object.fromEntries(categoriesSeen)));
}

/** The category of a product that was seen here, for its picture. */
export function categoryOf(id) {
  return categoriesSeen.get(id) ?? '';
}

let categories;

/** The names of all categories that have products, in the order of the alphabet. */
export function listCategories() {
  categories ??= all('/v1/categories?limit=100').then((items) => items.map(({ name }) => name)).catch((error) => {
    categories = undefined;
    throw error;
  });
  return categories;
}

async function all(path) {
  const items = [];
  let cursor = '';
  do {
    const { data } = await get(path + (cursor && `&cursor=${encodeURIComponent(cursor)}`));
    items.push(...data.items);
    cursor = data.nextCursor ?? '';
  } while (cursor && items.length < 500);
  return items;
}

/** How a product's stock is told: `{ text, kind, soldOut }`. */
export function stockOf(product) {
  const available = product.stock?.available;
  if (available === undefined) return { text: 'Always available', kind: 'good', soldOut: false };
  if (available <= 0) return { text: 'Sold out', kind: 'dim', soldOut: true };
  if (available <= FEW) return { text: `${available} left`, kind: 'warn', soldOut: false };
  return { text: 'In stock', kind: 'good', soldOut: false };
}
