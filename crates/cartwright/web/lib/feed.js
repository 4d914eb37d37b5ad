// What happens, as it happens: /v1/feed, read as a stream so that it can carry a token; by asking again where there is none.

import { credentials, sleep, urlOf } from './api.js';

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 15_000;

/**
 * Calls `onEvent(entry)` for each entry of `topic`, and `onPoll()` whenever what is shown may be stale: when the stream comes
 * back, when the page is looked at again, and every `pollMs` where there is no stream. Ends with `signal`.
 */
export async function watch(topic, { onEvent, onPoll, pollMs = 3000, signal }) {
  const look = () => document.visibilityState === 'visible' && !signal.aborted && onPoll?.();
  document.addEventListener('visibilitychange', look, { signal });
  addEventListener('online', look, { signal });
  let last = '';
  let pause = FIRST_PAUSE_MS;
  while (!signal.aborted) {
    let streams = true;
    try {
      const headers = { accept: 'text/event-stream', ...credentials(), ...(last ? { 'last-event-id': last } : {}) };
      const response = await fetch(urlOf(`/v1/feed?topic=${encodeURIComponent(topic)}`), { headers, signal, cache: 'no-store' });
      const isStream = response.ok && (response.headers.get('content-type') ?? '').startsWith('text/event-stream');
      if (!isStream && response.status < 500 && response.status !== 429) streams = false;
      if (isStream) {
        look();
        pause = FIRST_PAUSE_MS;
        for await (const message of messages(response.body)) {
          if (message.id) last = message.id;
          onEvent?.(JSON.parse(message.data));
        }
      } else {
        await response.body?.cancel();
      }
    } catch {
      if (signal.aborted) return;
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    }
    if (!streams) return poll(look, pollMs, signal);
    await sleep(pause, signal);
    if (!signal.aborted) look();
  }
}

async function poll(look, pollMs, signal) {
  while (!signal.aborted) {
    await sleep(pollMs, signal);
    look();
  }
}

/** The messages of a stream of server-sent events. */
async function* messages(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) {
      const message = { id: '', data: [] };
      for (const line of block.split(/\r?\n/)) {
        const [, name, text] = /^([^:]*):? ?(.*)$/.exec(line);
        if (name === 'id') message.id = text;
        if (name === 'data') message.data.push(text);
      }
      if (message.data.length) yield { id: message.id, data: message.data.join('\n') };
    }
  }
}
