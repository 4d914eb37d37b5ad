// Money, times and numbers, in the browser's language.

const language = navigator.language || 'en';
const money = new Map();
const number = new Intl.NumberFormat(language);
const day = new Intl.DateTimeFormat(language, { dateStyle: 'medium' });
const moment = new Intl.DateTimeFormat(language, { dateStyle: 'medium', timeStyle: 'short' });
const clock = new Intl.DateTimeFormat(language, { timeStyle: 'medium' });
const shortClock = new Intl.DateTimeFormat(language, { timeStyle: 'short' });
const ago = new Intl.RelativeTimeFormat(language, { numeric: 'auto' });

function moneyFormat(currency) {
  if (!money.has(currency)) money.set(currency, new Intl.NumberFormat(language, { style: 'currency', currency }));
  return money.get(currency);
}

/** `{ amount, currency }` in minor units, as people write it. */
export function price({ amount, currency }) {
  const format = moneyFormat(currency);
  const places = format.resolvedOptions().maximumFractionDigits;
  const digits = String(Math.abs(amount)).padStart(places + 1, '0');
  const whole = digits.slice(0, digits.length - places);
  // A text, not a number: no amount is rounded.
  return format.format(`${amount < 0 ? '-' : ''}${whole}${places ? `.${digits.slice(-places)}` : ''}`);
}

/** An amount times a count. */
export function times({ amount, currency }, count) {
  return { amount: amount * count, currency };
}

/** A number with the separators of the language. */
export function count(value) {
  return number.format(value);
}

/** `one` or `many` of them: "1 order", "7 orders". */
export function counted(value, one, many = `${one}s`) {
  return `${number.format(value)} ${value === 1 ? one : many}`;
}

export const onDay = (time) => day.format(new Date(time));
export const atMoment = (time) => moment.format(new Date(time));
export const atClock = (time) => clock.format(new Date(time));
export const atShortClock = (time) => shortClock.format(new Date(time));

/** How long ago, roughly; the date, when that is long. */
export function since(time) {
  const seconds = Math.round((new Date(time) - Date.now()) / 1000);
  if (seconds > -50) return 'just now';
  if (seconds > -3600) return ago.format(Math.round(seconds / 60), 'minute');
  if (seconds > -86_400) return ago.format(Math.round(seconds / 3600), 'hour');
  if (seconds > -7 * 86_400) return ago.format(Math.round(seconds / 86_400), 'day');
  return onDay(time);
}

/** A duration in the unit that suits it. */
export function duration(ms) {
  if (ms < 1) return '< 1 ms';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 86_400_000) return `${(ms / 3_600_000).toFixed(1)} h`;
  return `${Math.round(ms / 86_400_000)} d`;
}

/** What people call each status of an order. */
export const STATUS = {
  PLACED: 'Placed',
  CONFIRMED: 'Confirmed',
  REJECTED: 'Rejected',
  PACKED: 'Packed',
  SHIPPED: 'Shipped',
  DELIVERED: 'Delivered',
  CANCELLED: 'Cancelled',
  RETURNED: 'Returned',
};
