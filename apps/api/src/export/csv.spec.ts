import { csvRecord } from './csv.js';

describe('csvRecord', () => {
  // RFC 4180 section 2.
  it.each([
    [['aaa', 'bbb', 'ccc'], 'aaa,bbb,ccc\r\n'],
    [['', ''], ',\r\n'],
    [['a"b', 'a,b'], '"a""b","a,b"\r\n'],
    [['a\nb', 'a\r\nb', ' a '], '"a\nb","a\r\nb", a \r\n'],
  ])('%j', (cells, record) => {
    expect(csvRecord(cells)).toBe(record);
  });

  it.each(['=1+1', `=HYPERLINK("http://x")`, '+cmd', '-cmd|x', '@SUM(A1)', '\t=1', '\r=1', '-', '+', '-1+2', '--1', '1e', '-0x10', '+1-1'])(
    'takes the sting out of %j, unless it is a number',
    (text) => {
      const [cell] = /^'|^"'/.exec(csvRecord([text])) ?? [];
      expect([text, cell !== undefined]).toEqual([text, /^[=+\-@\t\r]/.test(text)]);
    },
  );

  it.each(['0', '-5', '+3', '-1.5', '1e+21', '-2.5e-7', 'text', 'a=b', `'quoted`])('leaves %j as it is', (text) => {
    expect(csvRecord([text])).toBe(`${text}\r\n`);
  });
});
