// What /metrics tells, in the text form of Prometheus.

import { credentials, urlOf } from '../lib/api.js';

const BUCKETS = 'cartwright_http_request_duration_seconds_bucket';

/** How many requests took how long since the server started: upper bounds in seconds and counts. Null where that is not told. */
export async function requestTimes(signal) {
  const response = await fetch(urlOf('/metrics'), { headers: credentials(), signal, cache: 'no-store' });
  if (!response.ok) return null;
  return sums(await response.text());
}

/** Adds up the buckets of all routes and methods. */
export function sums(text) {
  const buckets = new Map();
  for (const line of text.split('\n')) {
    if (!line.startsWith(BUCKETS)) continue;
    const bound = /[{,]le="([^"]+)"/.exec(line)?.[1];
    const value = Number(line.slice(line.lastIndexOf(' ') + 1));
    if (bound === undefined || !Number.isFinite(value)) continue;
    const limit = bound === '+Inf' ? Infinity : Number(bound);
    buckets.set(limit, (buckets.get(limit) ?? 0) + value);
  }
  return buckets.size > 0 ? [...buckets].sort(([a], [b]) => a - b) : null;
}

/** The time in milliseconds that a share of the requests between two looks took at most, within its bucket; null without any. */
export function quantile(before, after, share) {
  const old = new Map(before ?? []);
  const counts = after.map(([bound, count]) => [bound, count - (old.get(bound) ?? 0)]);
  const total = counts.at(-1)?.[1] ?? 0;
  if (total <= 0) return null;
  const wanted = total * share;
  let [lower, below] = [0, 0];
  for (const [bound, count] of counts) {
    if (count >= wanted) {
      if (bound === Infinity) return lower * 1000;
      return (lower + ((bound - lower) * (wanted - below)) / Math.max(1e-9, count - below)) * 1000;
    }
    [lower, below] = [bound, count];
  }
  return lower * 1000;
}
