// Small drawings of numbers. Each says in words what it shows.

import { h, svg } from '../lib/dom.js';

const WIDTH = 240;
const HEIGHT = 56;

/** Bars, one for each value. `says` is what is seen, in words. */
export function bars(values, says, { title = () => '' } = {}) {
  const most = Math.max(1, ...values);
  const step = WIDTH / values.length;
  return drawing(says, values.map((value, at) => svg('rect', {
    x: (at * step + step * 0.12).toFixed(2), width: (step * 0.76).toFixed(2), rx: 1,
    y: (HEIGHT - 2 - (value / most) * (HEIGHT - 6)).toFixed(2), height: Math.max(value > 0 ? 2 : 1, (value / most) * (HEIGHT - 6)).toFixed(2),
    class: value > 0 ? 'bar-some' : 'bar-none',
  }, svg('title', null, title(value, at)))));
}

/** One or more lines over the same time, each `{ values, kind }`; null where nothing is known. */
export function lines(series, says) {
  const most = Math.max(1e-9, ...series.flatMap(({ values }) => values.filter((value) => value !== null)));
  const y = (value) => (HEIGHT - 3 - (value / most) * (HEIGHT - 8)).toFixed(2);
  return drawing(says, series.map(({ values, kind }) => {
    const step = WIDTH / Math.max(1, values.length - 1);
    const points = values.map((value, at) => (value === null ? null : `${(at * step).toFixed(2)},${y(value)}`)).filter(Boolean);
    return [
      points.length > 1 && kind === 'main' && svg('polygon', { points: `${points[0].split(',')[0]},${HEIGHT} ${points.join(' ')} ${points.at(-1).split(',')[0]},${HEIGHT}`, class: 'line-area' }),
      svg('polyline', { points: points.join(' '), class: `line-${kind}` }),
    ];
  }));
}

function drawing(says, ...children) {
  return svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', class: 'chart', role: 'img', 'aria-label': says }, children.flat(3).filter(Boolean));
}

/** A figure with its name, and a drawing of how it went. */
export function tile(name, figure, { detail, chart, kind, href } = {}) {
  const body = [h('p', { class: 'tile-name' }, name), h('p', { class: `tile-figure ${kind ?? ''}` }, figure), h('p', { class: 'fine tile-detail' }, detail ?? '\u00a0'), chart];
  return href ? h('a', { class: 'card tile', href }, body) : h('div', { class: 'card tile' }, body);
}
