import { createLogger } from './json-logger.js';
import { withLogFields } from './log-fields.js';

/** Everything written to stdout and stderr during `work`, split at every character that any reader may take for a line end. */
function linesOf(work: () => void): string[] {
  let text = '';
  const streams = [process.stdout, process.stderr];
  const originals = streams.map((stream) => stream.write.bind(stream));
  const capture = (chunk: unknown) => {
    text += String(chunk);
    return true;
  };
  for (const stream of streams) stream.write = capture;
  try {
    work();
  } finally {
    streams.forEach((stream, at) => (stream.write = originals[at]!));
  }
  return text.split(/[\n\r\u0085\u2028\u2029]/).slice(0, -1);
}

const parsed = (work: () => void) => linesOf(work).map((line) => JSON.parse(line) as Record<string, unknown>);

describe('createLogger', () => {
  it('writes one JSON line with service, level, time, context and fields', () => {
    const [line, ...more] = parsed(() => createLogger('api', 'info').log('stored', { count: 3 }, 'Writer'));
    expect(more).toEqual([]);
    expect(line).toMatchObject({ service: 'api', level: 'info', message: 'stored', context: 'Writer', count: 3, pid: process.pid });
    expect(line!.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  });

  it.each([
    ['error', ['error']],
    ['warn', ['error', 'warn']],
    ['info', ['error', 'warn', 'info']],
    ['debug', ['error', 'warn', 'info', 'debug']],
  ] as const)('at level %s writes %j', (level, expected) => {
    const logger = createLogger('api', level);
    const lines = parsed(() => {
      logger.error('x');
      logger.warn('x');
      logger.log('x');
      logger.debug('x');
    });
    expect(lines.map((line) => line.level)).toEqual(expected);
  });

  it('writes an error with its code and its causes', () => {
    const cause = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
    const error = Object.assign(new Error('no commit', { cause }), { code: 'COMMIT_FAILED' });
    const expected = { message: 'no commit', code: 'COMMIT_FAILED', cause: { message: 'connect ECONNREFUSED', code: 'ECONNREFUSED' } };
    const [second, third, named, alone] = parsed(() => {
      createLogger('api', 'info').error('commit', error);
      createLogger('api', 'info').warn('commit', { reason: error });
      createLogger('api', 'info').warn('commit', { error, delayMs: 5 });
      createLogger('api', 'info').error(error);
    });
    expect(second).toMatchObject({ message: 'commit', error: expected });
    expect(third).toMatchObject({ message: 'commit', reason: expected });
    expect(named).toMatchObject({ error: expected, delayMs: 5 });
    expect(alone).toMatchObject({ message: 'no commit', error: expected });
  });

  it.each(['a\n{"level":"fatal"}', 'a\r\nb', 'a\u2028b', 'a\u0085b', 'a\u001b[2Jb', 'a\u009b2Jb', '\u202egnp.exe', '"}{"'])(
    'keeps %j on one line, inert and intact',
    (hostile) => {
      const work = () => createLogger('api', 'info').log(hostile, { client: hostile, nested: { [hostile]: 1 } }, hostile);
      const [line, ...more] = linesOf(work);
      expect(more).toEqual([]);
      // eslint-disable-next-line no-control-regex
      expect(line).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
      expect(JSON.parse(line!)).toMatchObject({ message: hostile, client: hostile, context: hostile });
    },
  );

  it('does not let a field replace the line’s own', () => {
    const [line] = parsed(() => createLogger('api', 'info').log('x', { service: 'forged', level: 'fatal', message: 'forged', time: 0 }));
    expect(line).toMatchObject({ service: 'api', level: 'info', message: 'x' });
  });

  it('puts several values of one call into one line', () => {
    const lines = parsed(() => createLogger('api', 'info').log('x', 1, ['y'], { z: 1 }));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ message: 'x', more: [1, ['y']], z: 1 });
  });

  it('adds the fields of the work under way', () => {
    const logger = createLogger('api', 'info');
    const lines = parsed(() => {
      withLogFields({ requestId: 'r1' }, () => {
        logger.log('a');
        withLogFields({ batchId: 'b1' }, () => logger.log('b'));
      });
      logger.log('c');
    });
    expect(lines.map(({ requestId, batchId }) => [requestId, batchId])).toEqual([
      ['r1', undefined],
      ['r1', 'b1'],
      [undefined, undefined],
    ]);
  });

  it('demotes what Nest tells of its modules and routes', () => {
    expect(linesOf(() => createLogger('api', 'info').log('Mapped {/livez, GET} route', 'RouterExplorer'))).toEqual([]);
  });
});
