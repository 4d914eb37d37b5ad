// The only way to the server: requests under /v1, problems as errors, and what must be done once however often it is asked.

/** Where the API is: above the folder these files are in, so that a path before it (a stage on API Gateway) stays. */
const root = location.origin + new URL(import.meta.url).pathname.split('/web/')[0].replace(/\/desk$/, '') + '/';
const TIMEOUT_MS = 35_000;
const PAUSES_MS = [400, 1200, 3000];

/** Tells of `unauthenticated`, `offline` and `online`. */
export const connection = new EventTarget();

let token = '';

/** The token that every request carries from now on; empty for none. */
export function useToken(text) {
  token = text;
}

/** The headers that say who asks. */
export function credentials() {
  return token ? { authorization: `Bearer ${token}` } : {};
}

/** The URL of a path of the API. */
export function urlOf(path) {
  return root + path.replace(/^\//, '');
}

/** An answer that is not what was asked for: an RFC 9457 problem. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? body.message ?? `The server answered ${status}.`);
    this.status = status;
    this.code = body.code ?? '';
    this.body = body;
  }

  /** What is wrong with each bad field, in words, with the field's name. */
  get fields() {
    return (this.body.errors ?? []).map(({ pointer, detail }) => ({ name: pointer.split('/').pop(), detail }));
  }
}

/** No answer at all: the network or the server is away. */
export class Unreachable extends Error {
  constructor() {
    super('The shop cannot be reached.');
  }
}

/** Sends one request. Returns `{ data, etag, status }`. Throws [`Problem`] or [`Unreachable`]. */
export async function send(method, path, { body, key, etag, signal } = {}) {
  const headers = { accept: 'application/json', ...credentials() };
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (key) headers['idempotency-key'] = key;
  if (etag) headers['if-match'] = etag;
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  let response;
  let text;
  try {
    response = await fetch(urlOf(path), {
      method,
      headers,
      body: typeof body === 'string' || body === undefined ? body : JSON.stringify(body),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
      cache: 'no-cache',
      redirect: 'error',
    });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    connection.dispatchEvent(new Event('offline'));
    throw new Unreachable();
  }
  connection.dispatchEvent(new Event('online'));
  const data = parsed(text);
  if (response.ok) return { data, etag: response.headers.get('etag'), status: response.status };
  if (response.status === 401) connection.dispatchEvent(new Event('unauthenticated'));
  throw new Problem(response.status, data ?? {});
}

function parsed(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}

/** Reads; again after a pause when the server has too much to do or is away for a moment. */
export async function get(path, { signal } = {}) {
  for (const pause of PAUSES_MS) {
    try {
      return await send('GET', path, { signal });
    } catch (error) {
      if (!(error instanceof Problem && [429, 503].includes(error.status))) throw error;
      await sleep(pause, signal);
    }
  }
  return send('GET', path, { signal });
}

/** What is under a path, or null when there is nothing. */
export async function find(path, options) {
  try {
    return await get(path, options);
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return null;
    throw error;
  }
}

/** A pause that ends when `signal` does. */
export function sleep(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    }
    signal?.addEventListener('abort', done);
  });
}

/** A random UUID; `crypto.randomUUID` is not there on pages that come over plain HTTP. */
export function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

const flying = new Map();

/**
 * Posts what is to happen once. `intent` names what the person wants; until the server has answered, its `Idempotency-Key`
 * and body are kept for this tab, so that neither a second click nor a reload makes it happen twice.
 */
export function once(intent, path, body) {
  if (!flying.has(intent)) {
    flying.set(intent, carryOut(intent, path, JSON.stringify(body)).finally(() => flying.delete(intent)));
  }
  return flying.get(intent);
}

async function carryOut(intent, path, body) {
  const kept = pending(intent);
  const key = kept && kept.path === path && kept.body === body ? kept.key : uuid();
  sessionStorage.setItem(`intent:${intent}`, JSON.stringify({ path, body, key }));
  for (const pause of [...PAUSES_MS, null]) {
    try {
      const answer = await send('POST', path, { body, key });
      forget(intent);
      return answer;
    } catch (error) {
      const decided = error instanceof Problem && error.status < 500 && error.status !== 429
        && error.code !== 'idempotency_key_in_use';
      if (decided) forget(intent);
      if (decided || pause === null || (error instanceof Unreachable && !navigator.onLine)) throw error;
      await sleep(pause);
    }
  }
  throw new Unreachable();
}

/** What was asked for and not answered yet, if anything. */
export function pending(intent) {
  return parsed(sessionStorage.getItem(`intent:${intent}`) ?? '');
}

/** Gives up what was not answered. */
export function forget(intent) {
  sessionStorage.removeItem(`intent:${intent}`);
}

/** Goes on with everything of these intents that was not answered before the page was left. */
export async function resume(prefix) {
  const intents = Object.keys(sessionStorage).filter((name) => name.startsWith(`intent:${prefix}`)).map((name) => name.slice(7));
  const kept = intents.map((intent) => [intent, pending(intent)]).filter(([, one]) => one);
  await Promise.allSettled(kept.map(([intent, { path, body }]) => once(intent, path, JSON.parse(body))));
  return kept.length;
}
