// An export of everything, with what it does to the memory of the API.
import { once } from 'node:events';
import { get } from 'node:http';
import { performance } from 'node:perf_hooks';
import { clearInterval, setInterval } from 'node:timers';
import { setTimeout as sleep } from 'node:timers/promises';
import { memoryOf, processCpuSeconds } from './cpu-and-memory.mjs';

const SAMPLE_EVERY_MS = 50;
const NEWLINE = 10;
/** Records of these rows are one line each in either format. */
const HEAD_LINES = { ndjson: 0, csv: 1 };
const END_LINES = { ndjson: 1, csv: 0 };

/**
 * Rows/s, and by how much resident memory grew meanwhile at its highest. The API is to be one that has exported before, but no more than
 * a few rows. `bytesPerS`: a reader that takes no more than that for `slowS` and the rest as fast as it comes. Throws when rows are missing.
 */
export async function exportRun(api, { format, path, rows, bytesPerS, slowS = 0 }) {
  const before = { rss: memoryOf(api.app.pid)?.now, cpuS: processCpuSeconds([api.app.pid]), atMs: performance.now() };
  let peak = before.rss;
  const sampler = setInterval(() => (peak = Math.max(peak, memoryOf(api.app.pid)?.now ?? 0)), SAMPLE_EVERY_MS);
  try {
    const { lines, bytes } = await read(api, `${path}&format=${format}`, { bytesPerS, slowS });
    const found = lines - HEAD_LINES[format] - END_LINES[format];
    if (rows !== undefined && found !== rows) throw new Error(`export as ${format}: ${found} rows instead of ${rows}`);
    const seconds = (performance.now() - before.atMs) / 1000;
    return {
      ...{
        format,
        slowS,
        rows,
        bytes,
        seconds,
        perS: rows / seconds,
        grownBytes: before.rss === undefined ? undefined : peak - before.rss,
      },
      ...{ rssBytes: before.rss, cpuMicros: (1e6 * (processCpuSeconds([api.app.pid]) - before.cpuS)) / rows },
    };
  } finally {
    clearInterval(sampler);
  }
}

async function read({ origin, headers }, path, { bytesPerS, slowS }) {
  const request = get(`${origin}/api/v1/${path}`, { headers: headers('platform'), agent: false });
  const [response] = await once(request, 'response');
  if (response.statusCode !== 200) throw new Error(`${path}: ${response.statusCode}`);
  const startedAtMs = performance.now();
  let [lines, bytes] = [0, 0];
  for await (const chunk of response) {
    bytes += chunk.length;
    for (let at = chunk.indexOf(NEWLINE); at >= 0; at = chunk.indexOf(NEWLINE, at + 1)) lines++;
    const elapsedMs = performance.now() - startedAtMs;
    if (elapsedMs < slowS * 1000) await sleep(Math.max(0, (bytes / bytesPerS) * 1000 - elapsedMs));
  }
  return { lines, bytes };
}
