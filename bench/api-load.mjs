// One question under load, with what an answer costs.
import { performance } from 'node:perf_hooks';
import { machineCpuSeconds, memoryOf, processCpuSeconds, serverCpuSeconds } from './cpu-and-memory.mjs';
import { loadWith } from './http-load.mjs';

/** Not counted: PostgreSQL reads from the disk, Node compiles what it has not run yet. */
const WARM_UP_S = 1;

/** Requests/s, ms and CPU of a question that is asked for `seconds` over `connections` at once. Throws when an answer is no success. */
export async function loadRun({ api, postgresPid }, { id, kind, ask, method, key, paths }, { seconds, connections }) {
  const { hostname, port, host } = new URL(api.origin);
  const head = `Host: ${host}\r\nAuthorization: ${api.headers(key).authorization}\r\n${method === 'POST' ? 'Content-Length: 0\r\n' : ''}\r\n`;
  const requests = paths.map((path) => `${method} /api/v1/${path} HTTP/1.1\r\n${head}`);
  let [before, startedAtMs] = [];
  const onWarm = () => ([before, startedAtMs] = [cpuSeconds(api, postgresPid), performance.now()]);
  const { times, bytes } = await loadWith(requests, { host: hostname, port, connections, warmUpS: WARM_UP_S, seconds, onWarm });
  const [after, tookS] = [cpuSeconds(api, postgresPid), (performance.now() - startedAtMs) / 1000];
  const sorted = Float64Array.from(times).sort();
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  const ofWhom = ['api', 'postgres', 'load'];
  const spentS = (who) => after[who] - before[who];
  const cpuMs = Object.fromEntries(ofWhom.map((who) => [who, (1000 * spentS(who)) / times.length]));
  const othersCores = Math.max(0, spentS('machine') - ofWhom.reduce((sum, who) => sum + spentS(who), 0)) / tookS;
  return {
    ...{ id, kind, ask, requests: times.length, perS: times.length / tookS, bytes: bytes / times.length },
    ...{ p50Ms: at(0.5), p99Ms: at(0.99), maxMs: sorted.at(-1), cpuMs, othersCores, rssBytes: memoryOf(api.app.pid)?.now },
  };
}

/** So far. The load generator is this process. */
function cpuSeconds({ app }, postgresPid) {
  return {
    ...{ api: processCpuSeconds([app.pid]), postgres: serverCpuSeconds(postgresPid), load: processCpuSeconds([process.pid]) },
    machine: machineCpuSeconds(),
  };
}
