// Pictures for products that have none: drawn from their words, the same each time.

import { svg } from '../lib/dom.js';

/** What is drawn, by a word of the name; then, by the category. Strokes on a field of 48 × 48. */
const GLYPHS = [
  [/headphone|earbud|headset/, ['M10 28v-4a14 14 0 0 1 28 0v4', 'M8 28h6v10H8z', 'M34 28h6v10h-6z']],
  [/speaker|soundbar/, ['M14 6h20v36H14z', 'M24 11v2', 'M24 22a7 7 0 1 0 0 14 7 7 0 0 0 0-14z', 'M24 27a2 2 0 1 0 0 4 2 2 0 0 0 0-4z']],
  [/charg|cable|adapter|power|hub/, ['M18 6v9', 'M30 6v9', 'M12 15h24v6a12 12 0 0 1-24 0z', 'M24 33v9']],
  [/case|wallet|sleeve|bag|backpack|daypack|satchel|tote|duffel/, ['M16 16v-4a8 8 0 0 1 16 0v4', 'M9 16h30l2 26H7z', 'M16 24h16']],
  [/watch|clock|timer/, ['M24 8a16 16 0 1 0 0 32 16 16 0 0 0 0-32z', 'M24 15v9l6 5']],
  [/laptop|notebook computer|chromebook/, ['M10 10h28v20H10z', 'M4 38h40l-4-8H8z']],
  [/monitor|display|television/, ['M5 8h38v25H5z', 'M18 41h12', 'M24 33v8']],
  [/keyboard/, ['M4 14h40v20H4z', 'M10 20h2', 'M17 20h2', 'M24 20h2', 'M31 20h2', 'M37 20h1', 'M14 28h20']],
  [/mouse|trackball/, ['M24 6a11 11 0 0 1 11 11v14a11 11 0 0 1-22 0V17A11 11 0 0 1 24 6z', 'M24 13v7']],
  [/printer|scanner/, ['M13 18V6h22v12', 'M6 18h36v16h-7', 'M13 34H6', 'M13 28h22v14H13z']],
  [/drive|ssd|memory|storage/, ['M8 8h32v32H8z', 'M24 14a9 9 0 1 0 0 18 9 9 0 0 0 0-18z', 'M24 22v2', 'M14 36h4']],
  [/kettle|teapot/, ['M14 20h20l4 20H10z', 'M18 20v-4a6 6 0 0 1 12 0v4', 'M14 24 6 20', 'M34 24c7-1 8 8 3 12']],
  [/knife|knives|peeler|cleaver/, ['M8 36 34 10c6 4 6 10 2 14L20 33z', 'M14 30 6 42']],
  [/mug|cup|tumbler|glass|carafe|pitcher|bottle/, ['M10 12h22v22a6 6 0 0 1-6 6H16a6 6 0 0 1-6-6z', 'M32 17h4a5 5 0 0 1 0 12h-4', 'M16 4v4', 'M24 4v4']],
  [/pan|skillet|wok/, ['M4 20h26v6a10 10 0 0 1-10 10h-6A10 10 0 0 1 4 26z', 'M30 23h14', 'M10 13v-3', 'M18 13V8']],
  [/bowl|colander|spinner|sieve/, ['M5 20h38a19 17 0 0 1-38 0z', 'M17 37v4h14v-4', 'M14 13l3-5', 'M24 13V7', 'M34 13l-3-5']],
  [/lamp|light|lantern|bulb/, ['M15 6h18l7 18H8z', 'M24 24v16', 'M15 41h18', 'M31 24v6']],
  [/chair|stool|sofa|bench|armchair/, ['M12 5v21', 'M36 5v21', 'M12 11h24', 'M9 26h30v6H9z', 'M12 32v11', 'M36 32v11']],
  [/table|desk|shelf|shelves|bookcase/, ['M4 14h40v6H4z', 'M9 20v22', 'M39 20v22', 'M9 31h30']],
  [/curtain|blanket|throw|towel|rug|quilt|sheet|pillow|cushion/, ['M8 8h32v26c-4 4-8-2-12 2s-8-2-12 1-6 2-8-1z', 'M8 16h32', 'M8 24h32']],
  [/vase|plant|planter|pot\b|flower/, ['M17 24h14l3 10a6 6 0 0 1-6 8h-8a6 6 0 0 1-6-8z', 'M24 24V10', 'M24 14c-6 0-9-4-9-8 6 0 9 3 9 8z', 'M24 18c5 0 8-3 8-7-5 0-8 2-8 7z']],
  [/candle|diffuser/, ['M16 20h16v22H16z', 'M24 20v-4', 'M24 4c5 5 4 10 0 10s-5-5 0-10z']],
  [/gift card|card\b/, ['M5 11h38v26H5z', 'M5 19h38', 'M11 30h10']],
  [/tent|shelter|tarp/, ['M24 8 5 40h38z', 'M24 8v14', 'M24 22 16 40', 'M24 22l8 18']],
  [/compass/, ['M24 6a18 18 0 1 0 0 36 18 18 0 0 0 0-36z', 'm31 17-4 10-10 4 4-10z']],
  [/boot|shoe|sneaker|sandal|slipper|clog/, ['M10 8h12v16c4 4 12 4 17 8v8H10z', 'M10 34h29', 'M22 16h-5', 'M22 22h-5']],
  [/bike|bicycle|wheel/, ['M12 24a9 9 0 1 0 0 18 9 9 0 0 0 0-18z', 'M36 24a9 9 0 1 0 0 18 9 9 0 0 0 0-18z', 'm12 33 8-18h12l4 18', 'M20 15l8 18h8', 'M17 15h6']],
  [/jean|trouser|pant|short|legging/, ['M13 6h22l4 36H28l-4-22-4 22H9z', 'M13 13h22']],
  [/dress|skirt/, ['M17 6v8l4 6-10 22h26L27 20l4-6V6', 'M17 10c4 5 10 5 14 0']],
  [/hat|cap|beanie|helmet/, ['M8 32a16 16 0 0 1 32 0', 'M4 32h40v6H4z', 'M24 16v-4']],
  [/sock|glove|mitten|scarf/, ['M17 6h14v20l7 7a6 6 0 0 1-8 9L17 30z', 'M17 13h14']],
  [/belt/, ['M4 18h40v12H4z', 'M18 14h12v20H18z', 'M24 24h10']],
  [/coat|jacket|parka|vest|hoodie|sweater|cardigan|fleece/, ['M17 6 7 12v30h34V12L31 6c-3 5-11 5-14 0z', 'M24 10v32', 'M13 26h5', 'M30 26h5']],
  [/puzzle/, ['M8 8h14v5a4 4 0 1 0 4 0V8h14v14h-5a4 4 0 1 0 0 5h5v13H8z']],
  [/kite/, ['M24 4 38 20 24 36 10 20z', 'M24 4v32', 'M10 20h28', 'M24 36c6 3-4 5 2 8']],
  [/train|truck|car\b|racer|bus/, ['M5 16h26v16H5z', 'M31 22h7l5 6v4H31z', 'M13 32a4 4 0 1 0 0 8 4 4 0 0 0 0-8z', 'M35 32a4 4 0 1 0 0 8 4 4 0 0 0 0-8z']],
  [/block|brick|cube|dice/, ['M24 5 7 14v20l17 9 17-9V14z', 'm7 14 17 9 17-9', 'M24 23v20']],
  [/ball/, ['M24 6a18 18 0 1 0 0 36 18 18 0 0 0 0-36z', 'M10 13c8 6 8 16 0 22', 'M38 13c-8 6-8 16 0 22']],
];
const BY_CATEGORY = {
  phones: ['M14 4h20v40H14z', 'M21 8h6', 'M23 39h2'],
  computers: ['M10 10h28v20H10z', 'M4 38h40l-4-8H8z'],
  kitchen: ['M9 18h30v18a6 6 0 0 1-6 6H15a6 6 0 0 1-6-6z', 'M5 22h4', 'M39 22h4', 'M7 18c0-5 6-6 17-6s17 1 17 6z', 'M24 12V8'],
  home: ['m7 22 17-15 17 15', 'M12 18v23h24V18', 'M20 41V29h8v12'],
  books: ['M24 12C19 8 12 7 6 8v29c6-1 13 0 18 4 5-4 12-5 18-4V8c-6-1-13 0-18 4z', 'M24 12v29'],
  outdoors: ['M4 40 18 14l8 14 5-8 13 20z', 'M35 6a4 4 0 1 0 0 8 4 4 0 0 0 0-8z'],
  clothing: ['M17 6 5 13l5 9 4-2v22h20V20l4 2 5-9-12-7c-3 5-11 5-14 0z'],
  toys: ['M24 16a11 11 0 1 0 0 22 11 11 0 0 0 0-22z', 'M13 10a5 5 0 1 0 2 9', 'M35 10a5 5 0 1 1-2 9', 'M20 25v1', 'M28 25v1', 'M20 31c2 3 6 3 8 0'],
};
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
  const categories = Object.keys(BY_CATEGORY);
  const known = categories.indexOf(category.toLowerCase());
  const tint = known >= 0 ? known : hash(category || name) % TINTS;
  const words = name.toLowerCase();
  const isBook = category.toLowerCase() === 'books';
  const glyph = (!isBook && GLYPHS.find(([word]) => word.test(words))?.[1]) || BY_CATEGORY[category.toLowerCase()];
  const drawing = svg('svg', { viewBox: '0 0 240 180', class: `art tint-${tint}`, 'aria-hidden': 'true', focusable: 'false' },
    svg('rect', { width: 240, height: 180, class: 'art-field' }), ...ground(seed),
    glyph ? svg('g', { class: 'art-line', transform: 'translate(72 42) scale(2)' }, glyph.map((d) => svg('path', { d }))) : initials(name));
  return drawing;
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
