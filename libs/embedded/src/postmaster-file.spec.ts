import { parseMajor } from './postgres-binaries.js';
import { parsePostmasterFile } from './postmaster-file.js';

it('reads postmaster.pid at every stage of its making', () => {
  const whole = '17868\n/data/pg\n1795304028\n5432\n\n127.0.0.1\n  1234   0\nready   \n';
  expect(parsePostmasterFile(whole)).toEqual({ pid: 17868, port: 5432, status: 'ready' });
  expect(parsePostmasterFile('17868\n/data/pg\n')).toEqual({ pid: 17868, port: undefined, status: undefined });
  expect(parsePostmasterFile('-17868\n')).toMatchObject({ pid: 17868 });
  for (const damaged of ['', 'nonsense', '\n\n']) expect(parsePostmasterFile(damaged)).toBeUndefined();
});

it('reads the major version as packagers print it', () => {
  expect(parseMajor('postgres (PostgreSQL) 18.4')).toBe(18);
  expect(parseMajor('postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)')).toBe(15);
  expect(parseMajor('postgres (PostgreSQL) 19beta1')).toBe(19);
  expect(() => parseMajor('mysqld 9')).toThrow('not a version of PostgreSQL');
});
