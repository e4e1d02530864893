// Connections that ask again as soon as they have an answer. Read by hand: what the load generator computes, the API lacks.
import { connect } from 'node:net';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';

const HEAD_END = '\r\n\r\n';
/** What all connections read into, one after another: a buffer for each read would be the generator's work for the garbage collector. */
const READ = Buffer.alloc(65_536);
/** An answer that takes longer is an error. */
const PATIENCE_MS = 30_000;

/**
 * Asks for `seconds` over `connections` at once, each on from another of the requests, and waits for the last answers: ms of each, and
 * bytes of all. What was asked in the `warmUpS` before that is not counted: Node takes in one new connection between two rounds of answers,
 * so the last of many would be told as slow answers. `onWarm` is called then. Throws when an answer is no success or does not come.
 * @param {string[]} requests as they are written to the socket
 */
export async function loadWith(requests, { host, port, connections, warmUpS, seconds, onWarm }) {
  const startsAtMs = performance.now() + 1000 * warmUpS;
  const load = { host, port, requests, startsAtMs, endsAtMs: startsAtMs + 1000 * seconds, times: [], bytes: 0 };
  const warm = sleep(1000 * warmUpS).then(onWarm);
  const late = sleep(1000 * (warmUpS + seconds) + PATIENCE_MS, undefined, { ref: false }).then(() => {
    throw new Error(`no answer within ${PATIENCE_MS / 1000} s`);
  });
  const sockets = [];
  try {
    const all = Array.from({ length: connections }, (_, at) => askAgain(load, Math.floor((at * requests.length) / connections), sockets));
    await Promise.race([Promise.all([warm, ...all]), late]);
  } finally {
    for (const socket of sockets) socket.destroy();
  }
  return { times: load.times, bytes: load.bytes };
}

function askAgain(load, first, sockets) {
  return new Promise((resolve, reject) => {
    const onread = { buffer: READ, callback: (count) => (take(READ.subarray(0, count)), true) };
    const socket = connect({ host: load.host, port: load.port, noDelay: true, onread });
    sockets.push(socket);
    let next = first;
    let askedAtMs;
    /** Bytes of the answer that are still to come; undefined before its head is whole. */
    let missing;
    let head = '';
    const ask = () => {
      askedAtMs = performance.now();
      if (askedAtMs >= load.endsAtMs) return resolve();
      socket.write(load.requests[next++ % load.requests.length]);
    };
    socket.on('connect', ask);
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('the API closed the connection')));
    const take = (chunk) => {
      if (askedAtMs >= load.startsAtMs) load.bytes += chunk.length;
      if (missing === undefined) {
        head += chunk.latin1Slice();
        const endsAt = head.indexOf(HEAD_END);
        if (endsAt < 0) return;
        const [, status, length] = /^HTTP\/1\.1 (\d+)[^]*\r\ncontent-length: (\d+)\r\n/i.exec(head) ?? [];
        if (status?.[0] !== '2') return reject(new Error(`answered: ${head.slice(0, 2_000)}`));
        missing = Number(length) - (head.length - endsAt - HEAD_END.length);
      } else missing -= chunk.length;
      if (missing > 0) return;
      [missing, head] = [undefined, ''];
      if (askedAtMs >= load.startsAtMs) load.times.push(performance.now() - askedAtMs);
      ask();
    };
  });
}
