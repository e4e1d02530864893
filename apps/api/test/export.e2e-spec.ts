import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { until } from '@tallystick/testing';
import { Api, makeKey } from './api.js';
import { type BatchRow, fillMessages, insertBatch } from './rows.js';

type Row = Record<string, unknown>;

/** The fields of RFC 4180 section 2, record by record. */
function csvRecords(text: string): string[][] {
  const records: string[][] = [[]];
  for (const [, quoted, plain, end] of text.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)) {
    records.at(-1)!.push(quoted?.replaceAll('""', '"') ?? plain!);
    if (end !== ',') records.push([]);
  }
  expect(records.pop()).toEqual([]);
  return records;
}

/** The rows of an NDJSON export whose last line fits the bytes before it. */
function ndjsonRows(bytes: Buffer): Row[] {
  const lines = bytes.toString('utf8').split('\n');
  expect(lines.pop()).toBe('');
  const last = lines.pop()!;
  const before = bytes.subarray(0, bytes.length - Buffer.byteLength(last) - 1);
  expect(JSON.parse(last)).toEqual({ _end: { count: lines.length, sha256: createHash('sha256').update(before).digest('hex') } });
  return lines.map((line) => JSON.parse(line) as Row);
}

describe('export', () => {
  let api: Api;
  let batch: BatchRow;
  let ofB: BatchRow;
  const large = randomBytes(100_000);
  const payloads = ['{"kwh": 1.5}', large, 'not json \xff', '', randomBytes(5_000)];

  beforeAll(async () => {
    api = await Api.start();
    batch = await insertBatch(api.sql, { tenantId: 'tenant-a', deviceIds: ['one', 'two'], payloads });
    ofB = await insertBatch(api.sql, { tenantId: 'tenant-b', deviceIds: ['one'] });
    await insertBatch(api.sql, { tenantId: 'tenant-a', startAt: new Date(Date.now() - 3 * 86_400_000) });
  });
  afterAll(() => api.stop());

  const rowsOf = async (rest: string, key = api.key): Promise<Row[]> => {
    const response = await api.fetch(`/api/v1/export/${rest}`, { headers: { Authorization: `Bearer ${key}` } });
    expect([rest, response.status, response.headers.get('content-type')]).toEqual([rest, 200, 'application/x-ndjson']);
    return ndjsonRows(Buffer.from(await response.arrayBuffer()));
  };
  const csvOf = async (rest: string): Promise<string[][]> => {
    const { body, headers } = await api.ask<string>(`/api/v1/export/${rest}&format=csv`);
    expect(headers.get('content-type')).toBe('text/csv; charset=utf-8; header=present');
    return csvRecords(body);
  };

  describe('of messages', () => {
    it('has their exact bytes, oldest first, and an end that fits', async () => {
      const rows = await rowsOf('messages?tenantId=tenant-a');
      expect(rows).toHaveLength(5);
      for (const [at, message] of batch.messages.entries()) {
        const bytes = Buffer.from(rows[at]!['payload'] as string, 'base64');
        expect(bytes.equals(message.payload)).toBe(true);
        expect(rows[at]).toEqual({
          ...{ messageId: message.messageId, batchId: batch.batchId, leafIndex: at, tenantId: 'tenant-a', siteId: 'line1' },
          ...{ deviceId: message.deviceId, topic: message.topic, receivedAt: message.receivedAt.toISOString() },
          ...{ processedAt: expect.stringMatching(/Z$/) as string, deviceTimestamp: null, deviceSeq: null, deviceSignature: null },
          ...{ qos: 1, retained: false, packetId: 7, nonce: message.nonce.toString('hex') },
          ...{
            messageHash: createHash('sha256').update(bytes).digest('hex'),
            payloadSize: bytes.length,
            payload: bytes.toString('base64'),
          },
        });
      }
    });

    it('takes the filters of the list', async () => {
      const all = await rowsOf('messages');
      expect(all.map((row) => row['messageId'])).toEqual([...all.map((row) => row['messageId'] as string)].sort());
      expect(all).toHaveLength(8);
      const from = new Date(Date.now() - 4 * 86_400_000).toISOString();
      const before = batch.messages[2]!.receivedAt.toISOString();
      const counts = async (...queries: string[]) => {
        const seen: number[] = [];
        for (const query of queries) seen.push((await rowsOf(`messages?${query}`)).length);
        return seen;
      };
      expect(await counts(`from=${from}`, `from=${from}&to=${before}&tenantId=tenant-a`, `batchId=${batch.batchId}`)).toEqual([11, 5, 5]);
      expect(await counts('deviceId=one', 'deviceId=one&tenantId=tenant-a', 'deviceId=nobody', 'tenantId=nobody')).toEqual([6, 3, 0, 0]);
    });

    it.each([
      ['format=xml', 'INVALID_PARAMETER'],
      ['from=2020-01-01T00:00:00Z', 'INVALID_PARAMETER'],
      ['batchId=x', 'INVALID_UUID'],
      ['siteId=line1', 'INVALID_PARAMETER'],
      ['limit=5', 'INVALID_PARAMETER'],
      ['tenantid=tenant-a', 'INVALID_PARAMETER'],
    ])('is refused with %s', async (query, code) => {
      expect((await api.ask(`/api/v1/export/messages?${query}`)).body).toMatchObject({ status: 400, code });
    });

    it('is of the own tenant alone, whatever filter is given', async () => {
      const key = await makeKey(api.sql, { tenantId: 'tenant-a', scopes: ['export'] });
      const mine = new Set((await rowsOf('messages', key)).map((row) => row['tenantId']));
      expect([...mine]).toEqual(['tenant-a']);
      for (const theirs of ['tenantId=tenant-b', `batchId=${ofB.batchId}`]) expect(await rowsOf(`messages?${theirs}`, key)).toEqual([]);
      expect(await rowsOf('messages?deviceId=one', key)).toHaveLength(3);
    });

    it('is a download, also when it is only asked about', async () => {
      for (const method of ['GET', 'HEAD']) {
        const response = await api.fetch('/api/v1/export/messages?format=csv', { method });
        expect(response.headers.get('content-disposition')).toMatch(/^attachment; filename="?tallystick-messages-\d{8}T\d{6}Z\.csv"?$/);
        expect((await response.text()).length > 0).toBe(method === 'GET');
      }
    });
  });

  describe('of a broker', () => {
    const hostile = ['=HYPERLINK("http://evil.example","x")', '+cmd|x', '-1+2', '@SUM(A1)', '\t=1', '\r=1', '-5', 'a "b", c\r\nd'];
    beforeAll(async () => {
      const { sql } = api;
      await sql.query(`SELECT ensure_history_partitions(now() - interval '2 days', now())`);
      await sql.query(`INSERT INTO broker_state (broker, capabilities) VALUES ('local', '{}'), ('quiet', '{}')`);
      await sql.query(
        `INSERT INTO events (broker, ts, action, client, raw, received_at)
         SELECT 'local', now() - interval '1 hour' + n * interval '1 s', 'connected', client, client, now()
         FROM unnest($1::text[]) WITH ORDINALITY AS t (client, n)`,
        [hostile],
      );
      await sql.query(
        `INSERT INTO broker_metrics (broker, metric, value, ts)
         SELECT 'local', metric, n - 2.5, now() - n * interval '1 minute' FROM generate_series(1, 3) n, unnest('{uptime,"clients/connected"}'::text[]) metric`,
      );
    });

    it('has events and values in order, and takes the filters of the lists', async () => {
      const events = await rowsOf('events?broker=local');
      expect(events.map((row) => row['client'])).toEqual(hostile);
      expect(events[0]).toMatchObject({
        eventId: expect.stringMatching(/^\d+$/) as string,
        action: 'connected',
        truncated: false,
        lineCount: 1,
      });
      expect(await rowsOf('events?broker=local&action=subscribe')).toEqual([]);
      expect(await rowsOf(`events?broker=local&client=-5&from=${String(events[6]!['ts'])}`)).toEqual([events[6]]);
      expect(await rowsOf(`events?broker=local&to=${String(events[2]!['ts'])}`)).toEqual(events.slice(0, 2));
      const metrics = await rowsOf('metrics?broker=local');
      expect(metrics.map(({ metric, value }) => [metric, value])).toEqual([
        ...['clients/connected', 'uptime'].flatMap((metric) => [0.5, -0.5, -1.5].map((value) => [metric, value])),
      ]);
      expect(await rowsOf('metrics?broker=local&metric=uptime')).toEqual(metrics.slice(3));
      expect(await rowsOf('metrics?broker=quiet')).toEqual([]);
    });

    it('has no cells that a spreadsheet would run, and numbers as they are', async () => {
      const [head, ...records] = await csvOf('events?broker=local');
      const clients = records.map((record) => record[head!.indexOf('client')]);
      expect(clients).toEqual([...hostile.slice(0, 6).map((text) => `'${text}`), ...hostile.slice(6)]);
      expect((await csvOf('metrics?broker=local&metric=uptime')).map((record) => record.slice(0, 2))).toEqual([
        ...[
          ['metric', 'value'],
          ['uptime', '0.5'],
          ['uptime', '-0.5'],
          ['uptime', '-1.5'],
        ],
      ]);
      expect(await csvOf('metrics?broker=quiet')).toEqual([['metric', 'value', 'ts']]);
    });

    it.each(['events', 'metrics'])('%s: wants a broker that there is', async (what) => {
      expect((await api.ask(`/api/v1/export/${what}`)).body).toMatchObject({ code: 'INVALID_PARAMETER' });
      expect((await api.ask(`/api/v1/export/${what}?broker=nobody`)).body).toMatchObject({ status: 404, code: 'BROKER_NOT_FOUND' });
    });
  });
});

describe('an export under way', () => {
  let api: Api;
  // One export at a time.
  const start = () => Api.start({ DATABASE_POOL_SIZE: '4', STALL_LIMIT_S: '3' });
  beforeAll(async () => {
    api = await start();
    // More than all buffers between the API and a client that does not read.
    await fillMessages(api.sql, 40_000, { payloadBytes: 1_000 });
  });
  afterAll(() => api.stop());

  /** An export of which nothing but the beginning is read. */
  const begun = async (): Promise<IncomingMessage> => {
    const headers = { Authorization: `Bearer ${api.key}` };
    const request = get(`${api.app.url}/api/v1/export/messages`, { headers, agent: false });
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    expect(response.statusCode).toBe(200);
    return response;
  };
  /** Reads on to the end. */
  const rest = async (response: IncomingMessage): Promise<{ isWhole: boolean; text: string }> => {
    let text = '';
    try {
      for await (const chunk of response) text += String(chunk);
      return { isWhole: response.complete, text };
    } catch {
      return { isWhole: false, text };
    }
  };
  /** Of exports alone: the API has others, which begin and end on their own. */
  const transactions = async () => {
    const { rows } = await api.sql.query<{ pid: number }>(
      `SELECT pid FROM pg_stat_activity
       WHERE datname = current_database() AND application_name = 'tallystick-api' AND xact_start IS NOT NULL AND query LIKE 'FETCH %'`,
    );
    return rows.map(({ pid }) => pid);
  };
  const isOver = () => until(async () => (await transactions()).length === 0, { timeoutMs: 5_000 });

  it('is whole when it is read slowly', async () => {
    const response = await begun();
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    const { isWhole, text } = await rest(response);
    expect(isWhole).toBe(true);
    expect(ndjsonRows(Buffer.from(text))).toHaveLength(40_000);
    await isOver();
  });

  it('is one of so many at once; a further one is told when to come again', async () => {
    const response = await begun();
    const refused = await api.ask('/api/v1/export/messages');
    expect([refused.status, refused.body['code'], refused.headers.get('retry-after')]).toEqual([429, 'TOO_MANY_REQUESTS', '10']);
    // Other requests have their connections.
    expect((await api.ask('/api/v1/messages')).status).toBe(200);
    expect((await rest(response)).isWhole).toBe(true);
    expect((await rest(await begun())).isWhole).toBe(true);
  });

  it('ends with its client, and gives its connection back', async () => {
    const pids: number[] = [];
    for (let time = 0; time < 5; time++) {
      const response = await begun();
      pids.push(...(await transactions()));
      response.destroy();
      await isOver();
    }
    expect(pids).toHaveLength(5);
    expect((await rest(await begun())).isWhole).toBe(true);
    const { rows } = await api.sql.query(`SELECT pid FROM pg_stat_activity WHERE pid = ANY ($1)`, [pids]);
    expect(rows).toHaveLength(new Set(pids).size);
  });

  it('is cut off when its client stops to read', async () => {
    const response = await begun();
    expect(await transactions()).toHaveLength(1);
    const begunAt = Date.now();
    await until(async () => (await transactions()).length === 0, { timeoutMs: 10_000 });
    expect(Date.now() - begunAt).toBeGreaterThan(2_000);
    const { isWhole, text } = await rest(response);
    expect(isWhole).toBe(false);
    expect(text).not.toContain('_end');
    expect(JSON.stringify(api.app.logs)).toContain('export cut off');
  });

  it('breaks off without an end when the database does', async () => {
    const response = await begun();
    const [pid] = await transactions();
    await api.sql.query('SELECT pg_terminate_backend($1)', [pid]);
    const { isWhole, text } = await rest(response);
    expect(isWhole).toBe(false);
    expect(text).not.toContain('_end');
    expect((await rest(await begun())).isWhole).toBe(true);
  });

  it('is a problem and no file when it cannot begin', async () => {
    await api.sql.query('BEGIN');
    await api.sql.query('ALTER TABLE messages RENAME TO elsewhere');
    await api.sql.query('COMMIT');
    expect((await api.ask('/api/v1/export/messages')).body).toMatchObject({ status: 500, code: 'INTERNAL_ERROR' });
    await api.sql.query('ALTER TABLE elsewhere RENAME TO messages');
  });

  it('does not keep the API from stopping', async () => {
    const response = await begun();
    expect(await api.app.stop()).toBe(0);
    expect((await rest(response)).isWhole).toBe(false);
    api = await start();
  });
});
