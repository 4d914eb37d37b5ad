// Pictures for products that have none: drawn from their words, the same each time.

import { svg } from '../lib/dom.js';

/** Strokes on a field of 48 × 48. */
const DRAWN = {
  phone: ['M17 4h14a3 3 0 0 1 3 3v34a3 3 0 0 1-3 3H17a3 3 0 0 1-3-3V7a3 3 0 0 1 3-3z', 'M22 9h4', 'M23 39h2'],
  headphones: ['M10 28v-4a14 14 0 0 1 28 0v4', 'M8 28h6v10H8z', 'M34 28h6v10h-6z'],
  speaker: ['M16 6h16a2 2 0 0 1 2 2v32a2 2 0 0 1-2 2H16a2 2 0 0 1-2-2V8a2 2 0 0 1 2-2z', 'M24 11v2', 'M24 21a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15z', 'M24 27a1.5 1.5 0 1 0 0 3 1.5 1.5 0 0 0 0-3z'],
  plug: ['M18 6v9', 'M30 6v9', 'M12 15h24v6a12 12 0 0 1-24 0z', 'M24 33v9'],
  bag: ['M16 16v-4a8 8 0 0 1 16 0v4', 'M11 16h26l2 26H9z', 'M17 25h14'],
  watch: ['M24 8a16 16 0 1 0 0 32 16 16 0 0 0 0-32z', 'M24 15v9l6 5'],
  laptop: ['M12 10h24a2 2 0 0 1 2 2v18H10V12a2 2 0 0 1 2-2z', 'M4 36h40l-6-6H10z'],
  screen: ['M7 8h34a2 2 0 0 1 2 2v21a2 2 0 0 1-2 2H7a2 2 0 0 1-2-2V10a2 2 0 0 1 2-2z', 'M17 41h14', 'M24 33v8'],
  keyboard: ['M6 14h36a2 2 0 0 1 2 2v16a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2V16a2 2 0 0 1 2-2z', 'M11 20h1', 'M18 20h1', 'M25 20h1', 'M32 20h1', 'M37 20h1', 'M15 28h18'],
  mouse: ['M24 6a11 11 0 0 1 11 11v14a11 11 0 0 1-22 0V17A11 11 0 0 1 24 6z', 'M24 13v7'],
  printer: ['M13 18V6h22v12', 'M13 34H6V18h36v16h-7', 'M13 28h22v14H13z'],
  drive: ['M10 8h28a2 2 0 0 1 2 2v28a2 2 0 0 1-2 2H10a2 2 0 0 1-2-2V10a2 2 0 0 1 2-2z', 'M24 13a9 9 0 1 0 0 18 9 9 0 0 0 0-18z', 'M24 21v2', 'M14 35h4'],
  camera: ['M5 14h9l3-5h14l3 5h9v25H5z', 'M24 18a8 8 0 1 0 0 16 8 8 0 0 0 0-16z'],
  kettle: ['M14 20h20l4 20H10z', 'M18 20v-4a6 6 0 0 1 12 0v4', 'M13 26 6 21', 'M35 24c7-1 8 9 2 11'],
  knife: ['M8 36 34 10c6 4 6 10 2 14L20 33z', 'M14 31 6 42'],
  mug: ['M10 14h22v20a6 6 0 0 1-6 6H16a6 6 0 0 1-6-6z', 'M32 18h4a5 5 0 0 1 0 12h-4', 'M17 5v4', 'M25 5v4'],
  pan: ['M4 20h26v6a10 10 0 0 1-10 10h-6A10 10 0 0 1 4 26z', 'M30 23h14', 'M12 13v-4', 'M21 13V9'],
  bowl: ['M5 20h38a19 17 0 0 1-38 0z', 'M17 37v4h14v-4', 'M15 13l3-5', 'M24 13V7', 'M33 13l-3-5'],
  pot: ['M9 18h30v18a6 6 0 0 1-6 6H15a6 6 0 0 1-6-6z', 'M5 23h4', 'M39 23h4', 'M7 18c0-5 6-6 17-6s17 1 17 6z', 'M24 12V8'],
  lamp: ['M15 6h18l7 18H8z', 'M24 24v17', 'M15 42h18', 'M32 24v7'],
  chair: ['M12 5v21', 'M36 5v21', 'M12 11h24', 'M9 26h30v6H9z', 'M12 32v11', 'M36 32v11'],
  table: ['M4 14h40v6H4z', 'M9 20v22', 'M39 20v22', 'M9 31h30'],
  cloth: ['M8 8h32v28c-4 4-8-2-12 2s-8-2-12 1-6 1-8-1z', 'M8 16h32', 'M8 24h32'],
  plant: ['M15 26h18l-3 16H18z', 'M24 26V12', 'M24 16c-6 0-9-4-9-9 6 0 9 4 9 9z', 'M24 21c5 0 9-3 9-8-6 0-9 3-9 8z'],
  vase: ['M18 6h12l-2 8c6 4 8 10 8 15a12 12 0 0 1-6 13H18a12 12 0 0 1-6-13c0-5 2-11 8-15z', 'M13 25h22'],
  candle: ['M16 20h16v22H16z', 'M24 20v-4', 'M24 4c5 5 4 10 0 10s-5-5 0-10z'],
  card: ['M7 11h34a2 2 0 0 1 2 2v22a2 2 0 0 1-2 2H7a2 2 0 0 1-2-2V13a2 2 0 0 1 2-2z', 'M5 19h38', 'M11 30h10'],
  house: ['m7 22 17-15 17 15', 'M12 18v23h24V18', 'M20 41V29h8v12'],
  book: ['M24 12C19 8 12 7 6 8v29c6-1 13 0 18 4 5-4 12-5 18-4V8c-6-1-13 0-18 4z', 'M24 12v29'],
  tent: ['M24 8 5 40h38z', 'M24 8v14', 'M24 22 16 40', 'M24 22l8 18'],
  compass: ['M24 6a18 18 0 1 0 0 36 18 18 0 0 0 0-36z', 'm31 17-4 10-10 4 4-10z'],
  hills: ['M4 40 18 14l8 14 5-8 13 20z', 'M35 6a4 4 0 1 0 0 8 4 4 0 0 0 0-8z'],
  bottle: ['M20 4h8v7l4 6v24a2 2 0 0 1-2 2H18a2 2 0 0 1-2-2V17l4-6z', 'M16 24h16', 'M16 34h16'],
  boot: ['M10 8h12v16c4 4 12 4 17 8v8H10z', 'M10 34h29', 'M22 16h-5', 'M22 22h-5'],
  bike: ['M12 24a9 9 0 1 0 0 18 9 9 0 0 0 0-18z', 'M36 24a9 9 0 1 0 0 18 9 9 0 0 0 0-18z', 'm12 33 8-18h12l4 18', 'M20 15l8 18h8', 'M17 15h6'],
  shirt: ['M17 6 5 13l5 9 4-2v22h20V20l4 2 5-9-12-7c-3 5-11 5-14 0z'],
  trousers: ['M13 6h22l4 36H28l-4-22-4 22H9z', 'M13 13h22'],
  dress: ['M17 6v8l4 6-10 22h26L27 20l4-6V6', 'M17 10c4 5 10 5 14 0'],
  hat: ['M9 32a15 16 0 0 1 30 0', 'M4 32h40v6H4z', 'M24 16v-4'],
  sock: ['M17 6h14v20l7 7a6 6 0 0 1-8 9L17 30z', 'M17 13h14'],
  belt: ['M4 18h40v12H4z', 'M18 14h12v20H18z', 'M24 24h10'],
  coat: ['M17 6 7 12v30h34V12L31 6c-3 5-11 5-14 0z', 'M24 10v32', 'M13 27h5', 'M30 27h5'],
  bear: ['M24 14a12 12 0 1 0 0 24 12 12 0 0 0 0-24z', 'M14 9a5 5 0 1 0 1 9', 'M34 9a5 5 0 1 1-1 9', 'M20 24v1', 'M28 24v1', 'M20 30c2 3 6 3 8 0'],
  puzzle: ['M8 8h14v4a4 4 0 1 0 4 0V8h14v14h-4a4 4 0 1 0 0 5h4v13H8z'],
  kite: ['M24 4 38 20 24 36 10 20z', 'M24 4v32', 'M10 20h28', 'M24 36c6 3-4 5 2 8'],
  car: ['M5 16h26v16H5z', 'M31 22h7l5 6v4H31z', 'M13 32a4 4 0 1 0 0 8 4 4 0 0 0 0-8z', 'M35 32a4 4 0 1 0 0 8 4 4 0 0 0 0-8z'],
  block: ['M24 5 7 14v20l17 9 17-9V14z', 'm7 14 17 9 17-9', 'M24 23v20'],
  ball: ['M24 6a18 18 0 1 0 0 36 18 18 0 0 0 0-36z', 'M10 13c8 6 8 16 0 22', 'M38 13c-8 6-8 16 0 22'],
};
/** What is drawn for a product of a category: by the first word of the name that is known there; else what the category shows. */
const CATEGORIES = {
  phones: ['phone', { headphones: /headphone|earbud|headset/, speaker: /speaker/, plug: /charg|cable|adapter|power bank/, watch: /watch/, card: /\bsim\b|card/ }],
  computers: ['laptop', { screen: /monitor|display/, keyboard: /keyboard/, mouse: /mouse|trackball/, printer: /print|scan/, drive: /drive|ssd|storage/, plug: /cable|hub|adapter|charg|dock|surge/, camera: /webcam|camera/, bag: /sleeve|bag|backpack/, speaker: /speaker/, headphones: /headset|headphone/ }],
  kitchen: ['pot', { kettle: /kettle|teapot/, knife: /knife|knives|peeler|cleaver|shears/, mug: /mug|cup|tumbler|press|brewer|grinder/, pan: /\bpan\b|skillet|wok|griddle/, bowl: /bowl|colander|spinner|sieve|scale|platter/, cloth: /towel|apron|mitt/, bottle: /bottle|jar|carafe|mill/, watch: /timer|thermometer/ }],
  home: ['house', { lamp: /lamp|light|bulb/, chair: /chair|stool|sofa|bench/, table: /table|desk|shelf|shelves|bookcase|rack/, vase: /vase|jug/, plant: /plant|pot\b|flower/, cloth: /curtain|blanket|throw|towel|rug|quilt|sheet|pillow|cushion|duvet|mat\b/, candle: /candle|diffuser/, card: /card\b/, watch: /clock/, bag: /basket|bin\b|hamper/ }],
  books: ['book', {}],
  outdoors: ['hills', { tent: /tent|shelter|tarp|sleeping|hammock/, compass: /compass/, bag: /daypack|backpack|\bpack\b|duffel/, bottle: /bottle|flask|filter/, boot: /boot|shoe/, bike: /bike|bicycle|cycl/, lamp: /lantern|headlamp|light/, pan: /stove|cook/, chair: /chair/ }],
  clothing: ['shirt', { trousers: /jean|trouser|pant|shorts|legging|chino/, dress: /dress|skirt/, hat: /\bhat\b|\bcap\b|beanie/, sock: /sock|glove|mitten|scarf/, belt: /belt/, coat: /coat|jacket|parka|vest|hoodie|sweater|cardigan|fleece|robe/, boot: /boot|shoe|sneaker|sandal|slipper|clog/, bag: /bag|tote/ }],
  toys: ['bear', { puzzle: /puzzle|game|cards/, kite: /kite|glider/, car: /train|truck|\bcar\b|racer|bus|digger/, block: /block|brick|cube|dice|dough|castle/, ball: /ball|marble|yo-yo/, book: /book/ }],
};

/** What is drawn for a product, if anything fits. */
function drawn(name, category) {
  const words = name.toLowerCase();
  const known = CATEGORIES[category.toLowerCase()];
  const among = known ? [known] : Object.values(CATEGORIES);
  for (const [, byWord] of among) {
    const found = Object.entries(byWord).find(([, word]) => word.test(words));
    if (found) return DRAWN[found[0]];
  }
  return known && DRAWN[known[0]];
}
const TINTS = 8;

function hash(text) {
  let value = 0x811c9dc5;
  for (let at = 0; at < text.length; at += 1) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  // FNV leaves its low bits poorly mixed.
  value = Math.imul(value ^ (value >>> 15), 0x2c1b3c6d);
  return (value ^ (value >>> 13)) >>> 0;
}

/** The picture of a product. Its name is beside it, so that it says nothing to those who cannot see it. */
export function art({ name, category }) {
  const seed = hash(name);
  const known = Object.keys(CATEGORIES).indexOf(category.toLowerCase());
  const tint = known >= 0 ? known : hash(category || name) % TINTS;
  const glyph = drawn(name, category);
  return svg('svg', { viewBox: '0 0 240 180', class: `art tint-${tint}`, 'aria-hidden': 'true', focusable: 'false' },
    svg('rect', { width: 240, height: 180, class: 'art-field' }), ...ground(seed),
    glyph ? svg('g', { class: 'art-line', transform: 'translate(72 42) scale(2)' }, glyph.map((d) => svg('path', { d }))) : initials(name));
}

/** What is behind the thing: one of a few grounds, moved about. */
function ground(seed) {
  const x = 70 + (seed >>> 3) % 100;
  const y = 60 + (seed >>> 11) % 60;
  const grounds = [
    () => [svg('circle', { cx: x, cy: y, r: 68, class: 'art-shape' })],
    () => [svg('path', { d: 'M60 180V95a60 60 0 0 1 120 0v85z', class: 'art-shape' })],
    () => [svg('path', { d: `M0 ${y + 40} L240 ${y} V180 H0z`, class: 'art-shape' })],
    () => [svg('circle', { cx: 240 - x, cy: 180, r: 96, class: 'art-shape' }), svg('circle', { cx: x, cy: 34, r: 18, class: 'art-shape' })],
    () => [svg('rect', { x: 44, y: 26, width: 152, height: 128, rx: 20, class: 'art-shape' })],
    () => [svg('path', { d: `M0 130c60-40 ${x} 30 240-20v70H0z`, class: 'art-shape' })],
  ];
  return grounds[seed % grounds.length]();
}

function initials(name) {
  const letters = name.split(/\s+/).filter((word) => /^[\p{L}\p{N}]/u.test(word)).slice(0, 2).map((word) => [...word][0].toUpperCase());
  return svg('text', { x: 120, y: 112, class: 'art-letters', 'text-anchor': 'middle' }, letters.join('') || '·');
}
