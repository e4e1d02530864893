import fc from 'fast-check';
import { sysValue } from './sys-value.js';

const read = (metric: string, payload: string | Buffer) => sysValue(`$SYS/broker/${metric}`, Buffer.from(payload));

describe('sysValue', () => {
  it.each([
    ['clients/total', '12', 12],
    ['retained messages/count', '0', 0],
    ['load/messages/received/1min', '15.04', 15.04],
    ['uptime', '12 seconds', 12],
    ['clients/disconnected', '-2', -2],
    ['clients/disconnected', '2147483647', 2147483647],
    ['bytes/sent', '18446744073709551615', 18446744073709552000],
    ['x', '1e3', 1000],
    ['x', '-1e30', -1e30],
    ['x', '0.0', 0],
  ])('%s = %s is a number', (metric, payload, value) => expect(read(metric, payload)).toEqual({ kind: 'number', metric, value }));

  it.each([
    ['version', 'mosquitto version 2.0.11'],
    ['uptime', 'a while'],
    ['x', '12 seconds'],
    ['x', '0x10'],
    ['x', '1.5.2'],
    ['x', '1,5'],
    ['x', ' 1'],
  ])('%s = %j is a text', (metric, text) => expect(read(metric, text)).toEqual({ kind: 'text', metric, text }));

  it.each([
    ['x', 'nan'],
    ['x', '-inf'],
    ['x', 'Infinity'],
    ['x', '1e999'],
    ['x', '1.1e30'],
    ['x', '-2e300'],
    ['x', '1e-31'],
    ['x', ''],
    ['x', Buffer.from([0xff, 0xfe])],
    ['x', '1\0'],
    ['x', '1'.repeat(300)],
    ['clients/disconnected', '4294967295'],
    ['clients/inactive', '2147483648'],
    [`connection/${'x'.repeat(1_200)}/state`, '1'],
    [`connection/${'ä'.repeat(600)}/state`, '1'],
    ['connection/a\0b/state', '1'],
  ])('%s = %j is neither', (metric, payload) => expect(read(metric, payload).kind).toBe('invalid'));

  it('reads any bytes without throwing, and only finite numbers as such', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        const value = sysValue('$SYS/broker/x', bytes);
        if (value.kind === 'number') expect(Number.isFinite(value.value)).toBe(true);
      }),
    );
  });
});
