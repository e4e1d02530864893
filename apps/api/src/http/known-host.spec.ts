import type { Request, Response } from 'express';
import { knownHost } from './known-host.js';

function takes(listensOn: string, allowedHosts: string[], host: string | undefined): boolean {
  const request = { get: () => host } as unknown as Request;
  let taken = false;
  try {
    knownHost(listensOn, allowedHosts)(request, {} as Response, () => (taken = true));
  } catch (error) {
    expect(error).toMatchObject({ code: 'UNKNOWN_HOST', status: 421 });
  }
  return taken;
}

describe('knownHost', () => {
  it.each(['localhost', 'localhost:3000', '127.0.0.1:3000', '127.1.2.3', '[::1]:3000', 'LOCALHOST'])(
    'takes %s where only this machine listens',
    (host) => {
      expect(takes('127.0.0.1', [], host)).toBe(true);
    },
  );

  it.each(['evil.example', 'evil.example:3000', 'localhost.evil.example', '127.0.0.1.evil.example', '10.0.0.1', '', undefined])(
    'refuses %s there',
    (host) => {
      expect(takes('127.0.0.1', [], host)).toBe(false);
    },
  );

  it('takes listed names, and any name when it listens for everybody without a list', () => {
    expect(takes('127.0.0.1', ['tally.example'], 'tally.example:443')).toBe(true);
    expect(takes('0.0.0.0', [], 'anything.example')).toBe(true);
    expect(takes('0.0.0.0', ['tally.example'], 'anything.example')).toBe(false);
    expect(takes('192.168.1.5', ['tally.example'], '192.168.1.5:3000')).toBe(true);
  });
});
