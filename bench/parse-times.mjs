// How long the worst lines that a client can cause take to be read.
import { performance } from 'node:perf_hooks';
import { parseLogLine } from '../dist/apps/broker-watcher/src/log-lines/parse-log-line.js';

const ROUNDS = 20;
const LONG = 60_000;
const BRACKETS = 10_000;

/** What stands in place of an id or a topic, repeated: what the grammar looks for, so that no search is short. */
const FILLINGS = [
  ['brackets', '[', BRACKETS],
  ['brackets and ends', ' [1.2.3.4:5] disconnected', LONG / 25],
  ['characters', 'x', LONG],
  ['details', " (p2, c1, k60, u'", LONG / 17],
  [' as ', ' as ', LONG / 4],
  ['readings of a subscription', ' 1 ', LONG / 3],
  ['marks', ' disconnected: ', LONG / 15],
  ['blanks', ' ', LONG],
];
const AROUND = [
  ['N', 'New client connected from 1.2.3.4:5 as ', ' (p2, c1, k60).'],
  ['N', 'New client connected from 1.2.3.4:5 as ', " (p2, c1, k60, u'alice')."],
  ['N', 'Client ', ' disconnected.'],
  ['N', 'Client ', ' disconnected: Broken pipe.'],
  ['N', 'Client ', ' [1.2.3.4:5] disconnected: session taken over.'],
  ['I', 'Protocol error from ', ': Invalid.'],
  ['M/subscribe', 'x ', ' 1 t'],
  ['M/unsubscribe', 'x ', ' t'],
];

/** The slowest of all combinations in every dialect: ms of its median round, and which it was. */
export function slowestLine() {
  let slowest = { ms: 0, what: '' };
  for (const [name, piece, times] of FILLINGS) {
    for (const [leaf, begin, end] of AROUND) {
      const payload = Buffer.from(`1700000001: ${begin}${piece.repeat(times)}${end}`);
      for (const dialect of ['1.6', '2.0', '2.1']) {
        const ms = medianMs(() => parseLogLine(`$SYS/broker/log/${leaf}`, payload, dialect));
        if (ms > slowest.ms) slowest = { ms, what: `${name} in ${leaf}, read as ${dialect}` };
      }
    }
  }
  return slowest;
}

function medianMs(run) {
  const times = Array.from({ length: ROUNDS }, () => {
    const startedAt = performance.now();
    run();
    return performance.now() - startedAt;
  });
  return times.toSorted((a, b) => a - b)[ROUNDS / 2];
}
