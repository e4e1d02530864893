// On what was measured, and with what.
import { spawnSync } from 'node:child_process';
import { closeSync, fdatasyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { findMosquitto } from '../dist/libs/embedded/src/index.js';
import { median } from './report.mjs';
import { withClient } from './servers.mjs';

const SYNCS = 50;
const SYNC_BYTES = 8192;

export async function describeMachine({ dir, postgres }) {
  const version = postgres && (await withClient(postgres.url, (client) => client.query('SHOW server_version')));
  return {
    date: new Date().toISOString().slice(0, 16).replace('T', ' ') + ' UTC',
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    /** What others had running when the benchmark began. */
    loadBefore: loadavg()[0],
    /** Median ms of writing 8 KiB through to the disk that holds the data: what a commit cannot be faster than. */
    syncMs: medianSyncMs(dir),
    versions: {
      node: process.version,
      ...(version && { postgresql: version.rows[0].server_version }),
      mosquitto: /version (\S+)/.exec(spawnSync(findMosquitto(), ['-h'], { encoding: 'utf8' }).stdout)?.[1] ?? 'unknown',
      mqtt: JSON.parse(readFileSync('node_modules/mqtt/package.json', 'utf8')).version,
    },
  };
}

function medianSyncMs(dir) {
  const file = openSync(join(dir, 'sync-probe'), 'w');
  const times = Array.from({ length: SYNCS }, () => {
    const startedAt = performance.now();
    writeSync(file, Buffer.alloc(SYNC_BYTES), 0, SYNC_BYTES, 0);
    fdatasyncSync(file);
    return performance.now() - startedAt;
  });
  closeSync(file);
  return median(times);
}
