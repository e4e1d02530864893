import fc from 'fast-check';
import type { Dialect } from './dialect.js';
import { DIALECTS, dialectOf } from './dialect.js';
import type { LogLine, OpenClients } from './log-line.js';
import { parseLogLine } from './parse-log-line.js';

const N = '$SYS/broker/log/N';
const E = '$SYS/broker/log/E';
const I = '$SYS/broker/log/I';
const SUBSCRIBE = '$SYS/broker/log/M/subscribe';
const UNSUBSCRIBE = '$SYS/broker/log/M/unsubscribe';

function read(topic: string, text: string, dialect: Dialect = '2.0', open: string[] = []): LogLine {
  return parseLogLine(topic, Buffer.from(`1700000001: ${text}`), dialect, clientsCalled(open));
}

function clientsCalled(open: string[]): OpenClients {
  const isOpen = (client: string) => open.includes(client);
  return { isOpen, isOpenAt: isOpen };
}

/** Ids that look like the rest of a line, or like nothing. RELIABILITY "Hostile input", MOSQUITTO-FACTS section 3. */
const HOSTILE_IDS = [
  '<img src=x onerror=alert(1)>',
  '</script>',
  '\u202eright to left',
  'x'.repeat(900),
  "x (p2, c0, k60, u'admin').",
  'foo as bar (p2, c1, k60).',
  'victim disconnected.',
  'victim closed its connection.',
  'victim disconnected: Success',
  'victim disconnected: Broken pipe.',
  'victim [127.0.0.1:1] disconnected.',
  'victim [127.0.0.1:1] disconnected: session taken over.',
  'victim [127.0.0.1:1] disconnected: bad socket read/write: x',
  'a negotiated TLSv1.3 cipher X',
  'connection from 127.0.0.1 denied: max_connections exceeded.',
  ' ',
  '  leading and trailing  ',
  'line\u2028separator\u2029',
  'no\u00a0break',
  '1700000001: New client connected from 1.2.3.4:5 as y (p2, c1, k60).',
  '[[[[[[',
  "u'",
];

describe('ids that look like parts of a line', () => {
  it.each(HOSTILE_IDS)('reads %j exactly, in whatever it says of the client', (id) => {
    const connectedAs = (dialect: Dialect, tail: string) => read(N, `New client connected from 127.0.0.1:5 as ${id} ${tail}`, dialect);
    expect(connectedAs('2.0', '(p2, c1, k60).')).toMatchObject({ action: 'connected', client: id, username: null, port: 5 });
    expect(connectedAs('2.1', "(p4, c1, k60, u'alice').")).toMatchObject({ action: 'connected', client: id, username: 'alice' });
    for (const ending of [
      'disconnected.',
      'closed its connection.',
      'has exceeded timeout, disconnecting.',
      'disconnected: Broken pipe.',
    ]) {
      expect(read(N, `Client ${id} ${ending}`)).toMatchObject({ action: 'disconnected', client: id });
    }
    expect(read(E, `Client ${id} already connected, closing old connection.`)).toMatchObject({ client: id, endReason: 'taken_over' });
    for (const ending of ['.', ': session taken over.', ': bad socket read/write: Broken pipe']) {
      const line = read(N, `Client ${id} [127.0.0.1:44] disconnected${ending}`, '2.1');
      expect(line).toMatchObject({ action: 'disconnected', client: id, address: '127.0.0.1', port: 44 });
    }
    const negotiated = read(N, `Client ${id} negotiated TLSv1.3 cipher TLS_AES_256_GCM_SHA384`, '2.1');
    expect(negotiated).toMatchObject({ action: 'conn_info', client: id });
    expect(read(SUBSCRIBE, `${id} 1 a/b`, '2.0', [id])).toMatchObject({ client: id, qos: 1, topic: 'a/b' });
    expect(read(UNSUBSCRIBE, `${id} a/b`, '2.0', [id])).toMatchObject({ client: id, topic: 'a/b' });
    expect(read(N, `Expiring client ${id} due to timeout.`)).toMatchObject({ action: 'conn_info', client: id, sessionExpired: true });
  });

  it('reads any id and user name from what a broker writes of them', () => {
    const text = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 40 });
    const piece = fc.constantFrom(' as ', ' (p2, c1, k60', ", u'", "').", ').', ' disconnected.', ' [1.2.3.4:5]', ' 1 ', ' ', '.', ': ');
    const id = fc.array(fc.oneof(text, piece), { minLength: 1, maxLength: 6 }).map((parts) => parts.join(''));
    fc.assert(
      fc.property(id, fc.constantFrom('2.0', '2.1'), (client, dialect) => {
        expect(read(N, `New client connected from ::1:5 as ${client} (p5, c0, k0).`, dialect)).toMatchObject({
          client,
          username: null,
          address: '::1',
          port: 5,
          connect: { protocolVersion: 5, cleanStart: false, keepaliveS: 0 },
        });
        expect(read(N, `Client ${client} disconnected.`).client).toBe(client);
        expect(read(N, `Client ${client} [1.2.3.4:5] disconnected: protocol error.`, '2.1').client).toBe(client);
        expect(read(SUBSCRIBE, `${client} 2 t`, dialect, [client]).client).toBe(client);
      }),
    );
  });
});

describe('lines with more than one reading', () => {
  it('takes the reading whose client is open, and none when two are', () => {
    expect(read(SUBSCRIBE, 'dev 1 x 0 y', '2.0', ['dev'])).toMatchObject({ client: 'dev', qos: 1, topic: 'x 0 y' });
    expect(read(SUBSCRIBE, 'dev 1 x 0 y', '2.0', ['dev 1 x'])).toMatchObject({ client: 'dev 1 x', qos: 0, topic: 'y' });
    for (const open of [['dev', 'dev 1 x'], []]) {
      expect(read(SUBSCRIBE, 'dev 1 x 0 y', '2.0', open)).toMatchObject({ client: null, qos: null, topic: null, ambiguous: true });
    }
  });

  it('takes nobody who unsubscribes for another, whoever is subscribed to what', () => {
    expect(read(UNSUBSCRIBE, 'dev a b c', '2.0', ['dev'])).toMatchObject({ client: 'dev', topic: 'a b c' });
    expect(read(UNSUBSCRIBE, 'dev a b c', '2.0', ['dev a'])).toMatchObject({ client: 'dev a', topic: 'b c' });
    for (const open of [['dev', 'dev a'], []])
      expect(read(UNSUBSCRIBE, 'dev a b c', '2.0', open)).toMatchObject({ client: null, topic: null, ambiguous: true });
  });

  it('takes the first address that a WebSocket client may have chosen, and says so', () => {
    const line = read(N, 'New client connected from 1.2.3.4:5 as b:0 as a (p2, c1, k60).');
    expect(line).toMatchObject({ client: 'b:0 as a', address: '1.2.3.4', ambiguous: true });
    expect(read(N, 'New client connected from 1.2.3.4:5 as b as a (p2, c1, k60).').ambiguous).toBe(false);
  });

  it('takes the last user name, and says so', () => {
    const line = read(N, "New client connected from 1.2.3.4:5 as a (p2, c1, k60, u'x (p2, c1, k60, u'y').");
    expect(line).toMatchObject({ client: "a (p2, c1, k60, u'x", username: 'y', ambiguous: true });
  });

  it('takes <unknown>, and in 2.1 the bare address, for no client', () => {
    for (const [topic, text, ambiguous] of [
      [N, 'New client connected from 1.2.3.4:5 as <unknown> (p2, c1, k60).', true],
      [N, 'Client <unknown> closed its connection.', false],
      [SUBSCRIBE, '<unknown> 1 t', true],
    ] as const) {
      for (const dialect of ['1.6', '2.0'] as const) expect(read(topic, text, dialect)).toMatchObject({ client: null, ambiguous });
    }
    expect(read(SUBSCRIBE, '<unknown> 1 x 0 t', '2.0', ['<unknown> 1 x'])).toMatchObject({ client: null, topic: null });
    expect(read(N, 'New client connected from 1.2.3.4:5 as <unknown> (p4, c1, k60).', '2.1').client).toBe('<unknown>');
    const line = 'Client 127.0.0.1 [127.0.0.1:5] disconnected.';
    expect(read(N, line, '2.1')).toMatchObject({ client: null, port: 5 });
    expect(read(N, line, '2.1', ['127.0.0.1'])).toMatchObject({ client: '127.0.0.1', port: 5 });
  });
});

describe('the kind of a line', () => {
  it('is what its topic says', () => {
    const connected = 'New client connected from 1.2.3.4:5 as y (p2, c1, k60).';
    expect(read(E, connected).action).toBe('unknown');
    expect(read(UNSUBSCRIBE, `x ${connected}`, '2.0', ['x'])).toMatchObject({ action: 'unsubscribe', client: 'x', topic: connected });
    expect(read(N, 'Client x already connected, closing old connection.').action).toBe('unknown');
    expect(read(N, 'mosquitto version 2.0.11 starting').brokerRun).toBeNull();
    expect(read(I, 'mosquitto version 2.0.11 starting').brokerRun).toEqual({ phase: 'starting', version: '2.0.11' });
    expect(read('some/other/topic', connected).action).toBe('unknown');
  });

  it('is seen with a textual time and with none', () => {
    const text = 'Client x disconnected.';
    expect(parseLogLine(N, Buffer.from(text), '2.0')).toMatchObject({ client: 'x', ts: null });
    expect(parseLogLine(N, Buffer.from(`2026-11-21T21:59:52: ${text}`), '2.0')).toMatchObject({ client: 'x', ts: null });
    expect(read(N, text)).toMatchObject({ client: 'x', ts: 1700000001 });
  });
});

describe('a cut line', () => {
  it('has no client, whatever its end looks like', () => {
    const cut = (text: string, bytes: number) => Buffer.from(`1700000001: ${text}`.padEnd(bytes, 'y')).subarray(0, bytes);
    expect(parseLogLine(N, cut('New client connected from 1.2.3.4:5 as x', 999), '2.0')).toMatchObject({
      action: 'connected',
      client: null,
      truncated: true,
      ts: 1700000001,
    });
    const forged = Buffer.from(`1700000001: Client ${'y'.repeat(999 - 33)} disconnected.`);
    expect(forged).toHaveLength(999);
    for (const dialect of ['2.0', '2.1'] as const)
      expect(parseLogLine(N, forged, dialect)).toMatchObject({ client: null, truncated: true });
    for (const [topic, text, bytes] of [
      [SUBSCRIBE, 'x 1 ', 519],
      [UNSUBSCRIBE, 'x ', 516],
      [N, 'Client x', 534],
      [N, 'Socket error on client x', 552],
      [N, 'New client connected from 1.2.3.4 as x', 562],
    ] as const) {
      expect(parseLogLine(topic, cut(text, bytes), '1.6')).toMatchObject({ client: null, truncated: true });
      expect(parseLogLine(topic, cut(text, bytes), '2.0').truncated).toBe(false);
    }
  });

  it('may end inside a character', () => {
    const line = Buffer.from(`1700000001: ${'é'.repeat(600)}`).subarray(0, 999);
    expect(parseLogLine(SUBSCRIBE, line, '2.0')).toMatchObject({ action: 'subscribe', truncated: true });
  });
});

describe('any bytes', () => {
  it('are read without throwing', () => {
    const leaf = fc.constantFrom('N', 'E', 'I', 'W', 'M/subscribe', 'M/unsubscribe', '', 'M');
    fc.assert(
      fc.property(leaf, fc.uint8Array({ maxLength: 1200 }), fc.constantFrom(...DIALECTS), (name, bytes, dialect) => {
        expect(parseLogLine(`$SYS/broker/log/${name}`, bytes, dialect)).toHaveProperty('action');
      }),
    );
  });

  // Quadratic work would take seconds here, and a hundred times longer for the longer line.
  it.each(['[', '] disconnected', ' (p2, c1, k60', " (p2, c1, k60, u'", ' as ', ' 1 ', ' ', ' disconnected: ', ': ', ' negotiated ', '🧨'])(
    'take less than 10 ms, also when %j comes 10,000 times',
    (piece) => {
      const open = clientsCalled(['x']);
      const heads = ['', 'Client ', 'New client connected from 1.2.3.4:5 as ', 'Protocol error from ', 'Bad socket read/write on client '];
      const lines = heads.flatMap((head) =>
        ['', '.', "').", ').'].map((end) => Buffer.from(`1700000001: ${head}${piece.repeat(10_000)}${end}`)),
      );
      const leaves = ['N', 'E', 'I', 'W', 'M/subscribe', 'M/unsubscribe'];
      for (const dialect of DIALECTS) {
        for (const leaf of leaves) {
          const startMs = performance.now();
          for (const line of lines) parseLogLine(`$SYS/broker/log/${leaf}`, line, dialect, open);
          expect((performance.now() - startMs) / lines.length).toBeLessThan(10);
        }
      }
    },
  );
});

describe('dialectOf', () => {
  it.each([
    ['mosquitto version 1.6.15', '1.6'],
    ['mosquitto version 2.0.11', '2.0'],
    ['mosquitto version 2.0.22', '2.0'],
    ['mosquitto version 2.1.2', '2.1'],
    ['mosquitto version 3.0.0-rc1', '2.1'],
    ['2.0.11', '2.0'],
    ['aedes version 1.2.0', '2.0'],
    ['something else', undefined],
  ])('%s: %s', (text, dialect) => expect(dialectOf(text)).toBe(dialect));
});
