// Builds what is seen. What is data becomes text nodes and attributes; nothing here, or anywhere in these pages, parses HTML.

const SVG = 'http://www.w3.org/2000/svg';

/** An element. `props`: `class`, `on` (listeners by event), properties such as `value`, and attributes. */
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** An element of a drawing. */
export function svg(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'on') {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === 'value' || name === 'checked' || name === 'selected') {
      element[name] = value;
    } else {
      element.setAttribute(name, value === true ? '' : String(value));
    }
  }
  element.append(...nodes(children));
  return element;
}

function nodes(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false && child !== '');
}

/** Puts `children` in place of what `element` holds. Returns `element`. */
export function put(element, ...children) {
  element.replaceChildren(...nodes(children));
  return element;
}

const ICONS = {
  shop: ['M3 9.5 4.5 4h15L21 9.5', 'M4.5 12v8h15v-8', 'M3 9.5a2.6 2.6 0 0 0 4.5 1.2 2.6 2.6 0 0 0 4.5 0 2.6 2.6 0 0 0 4.5 0A2.6 2.6 0 0 0 21 9.5z', 'M10 20v-5h4v5'],
  search: ['M10.5 4a6.5 6.5 0 1 0 0 13 6.5 6.5 0 0 0 0-13z', 'm15.5 15.5 5 5'],
  basket: ['M3 9.5h18l-2 10H5z', 'm8 9.5 3-6', 'm16 9.5-3-6', 'M9.5 13v3.5', 'M14.5 13v3.5'],
  orders: ['M6 3h12v18l-3-2-3 2-3-2-3 2z', 'M9 8h6', 'M9 12h6'],
  inbox: ['M4 5h16l1 9v5H3v-5z', 'M3 14h5l1.5 2.5h5L16 14h5'],
  person: ['M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8z', 'M4.5 20.5c.6-4 3.6-6 7.5-6s6.9 2 7.5 6'],
  plus: ['M12 5v14', 'M5 12h14'],
  minus: ['M5 12h14'],
  check: ['m5 12.5 4.5 4.5L19 7.5'],
  cross: ['m6 6 12 12', 'M18 6 6 18'],
  arrow: ['M5 12h14', 'm13 6 6 6-6 6'],
  back: ['M19 12H5', 'm11 6-6 6 6 6'],
  bell: ['M6 16V11a6 6 0 0 1 12 0v5l1.5 2h-15z', 'M10 20.5h4'],
  bin: ['M4 7h16', 'M9 7V4h6v3', 'm6 7 1 13h10l1-13', 'M10 11v5', 'M14 11v5'],
  truck: ['M2.5 6h11v10h-11z', 'M13.5 10h4l3.5 3.5V16h-7.5', 'M7 18.5a1.8 1.8 0 1 0 0-3.6 1.8 1.8 0 0 0 0 3.6z', 'M17 18.5a1.8 1.8 0 1 0 0-3.6 1.8 1.8 0 0 0 0 3.6z'],
  box: ['M12 3 4 7v10l8 4 8-4V7z', 'm4 7 8 4 8-4', 'M12 11v10'],
  home: ['m4 11 8-7 8 7', 'M6 10v10h12V10', 'M10 20v-6h4v6'],
  alert: ['M12 4 2.5 20h19z', 'M12 10v4.5', 'M12 17.2v.2'],
  wave: ['M2 12h4l2.5-7 4 14 3-9 1.5 2H22'],
  hook: ['M12 3v7a4 4 0 1 1-4 4', 'M18.5 14a6.5 6.5 0 0 1-13 0'],
  key: ['M8 11a4 4 0 1 0 0 8 4 4 0 0 0 0-8z', 'm11 12.5 8-8', 'm16 7.5 3 3'],
  list: ['M8 6h13', 'M8 12h13', 'M8 18h13', 'M3.5 6h.5', 'M3.5 12h.5', 'M3.5 18h.5'],
  map: ['M4 5h5v5H4z', 'M15 14h5v5h-5z', 'M9 7.5h4.5v9H15'],
  again: ['M20 12a8 8 0 1 1-2.4-5.7', 'M20 3.5v4h-4'],
  cloud: ['M7 18a4.5 4.5 0 0 1 0-9 6 6 0 0 1 11.5 1.5A3.8 3.8 0 0 1 18 18z', 'm3 3 18 18'],
  lock: ['M5 11h14v10H5z', 'M8 11V7a4 4 0 0 1 8 0v4'],
  moon: ['M20 14.5A8.5 8.5 0 1 1 9.5 4a7 7 0 0 0 10.5 10.5z'],
};

/** A small drawing beside words, which say the same. */
export function icon(name) {
  const props = { viewBox: '0 0 24 24', class: 'icon', 'aria-hidden': 'true', focusable: 'false' };
  return svg('svg', props, ICONS[name].map((d) => svg('path', { d })));
}
