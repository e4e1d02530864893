import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { Api } from './api.js';
import { fillMessages } from './rows.js';

const ROWS = 200_000;
const MOST_GROWTH_BYTES = 50e6;
/** Read without a break, then a break, again and again: the API has to wait for its client hundreds of times. */
const READ_AT_ONCE_BYTES = 512 * 1024;
const BREAK_MS = 10;

/** Linux alone tells what a process has in memory without asking a program for it. */
const onLinux = existsSync('/proc/self/status') ? describe : describe.skip;

onLinux('an export of many rows to a slow reader', () => {
  let api: Api;
  beforeAll(async () => {
    api = await Api.start();
    await fillMessages(api.sql, ROWS);
  }, 120_000);
  afterAll(() => api.stop());

  const rssBytes = () => 1024 * Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${api.app.pid}/status`, 'utf8'))![1]);

  async function begun(rest: string): Promise<IncomingMessage> {
    const request = get(`${api.app.url}/api/v1/export/messages?${rest}`, { headers: { Authorization: `Bearer ${api.key}` }, agent: false });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    expect(response.statusCode).toBe(200);
    return response;
  }

  it.each(['ndjson', 'csv'])(
    'as %s takes less than 50 MB of memory',
    async (format) => {
      // What Node compiles and opens for the first rows, it does once.
      for await (const chunk of await begun(`format=${format}&to=${new Date(Date.now() - ROWS + 10_000).toISOString()}`)) void chunk;
      const before = rssBytes();
      let most = before;
      let [lines, unread] = [0, 0];
      for await (const chunk of await begun(`format=${format}`)) {
        const bytes = chunk as Buffer;
        for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) lines++;
        if ((unread += bytes.length) < READ_AT_ONCE_BYTES) continue;
        unread = 0;
        most = Math.max(most, rssBytes());
        await new Promise((resolve) => setTimeout(resolve, BREAK_MS));
      }
      // One more: the head of CSV, the end of NDJSON.
      expect(lines).toBe(ROWS + 1);
      expect(most - before).toBeLessThan(MOST_GROWTH_BYTES);
    },
    120_000,
  );
});
