import { appendFileSync, existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '@tallystick/testing';
import { ChildApp } from './child-app.js';

/** A child that notes each of its starts, and ends with the codes that stand in a file, one after another; without one it stays. */
function child(codes: number[], isEssential: boolean) {
  const dir = mkdtempSync(join(tmpdir(), 'child-'));
  const starts = join(dir, 'starts');
  writeFileSync(join(dir, 'codes'), JSON.stringify(codes));
  const main = join(dir, 'main.mjs');
  writeFileSync(
    main,
    `import { appendFileSync, readFileSync } from 'node:fs';
     appendFileSync(${JSON.stringify(starts)}, '.');
     const code = JSON.parse(readFileSync(${JSON.stringify(join(dir, 'codes'))}))[readFileSync(${JSON.stringify(starts)}).length - 1];
     if (code === undefined) setInterval(() => {}, 1000);
     else process.exit(code);`,
  );
  appendFileSync(starts, '');
  const said: string[] = [];
  const finals: string[] = [];
  const app = new ChildApp({
    name: 'watcher',
    main,
    env: process.env,
    logsDir: dir,
    say: (line) => said.push(line),
    isEssential,
    finalRetryMs: 20,
    onFinalExit: (problem) => finals.push(problem),
  });
  return { app, said, finals, starts: () => (existsSync(starts) ? readFileSync(starts).length : 0) };
}

describe('ChildApp', () => {
  it('starts again what ended for a reason that a restart mends, ever later', async () => {
    const { app, said, finals, starts } = child([70, 1], true);
    app.start();
    await until(() => starts() === 3);
    await app.stop();
    expect(said).toEqual([
      'watcher ended (exit code 70), starting it again in 0.25 s',
      'watcher ended (exit code 1), starting it again in 0.5 s',
    ]);
    expect(finals).toEqual([]);
  });

  it.each([65, 69, 76, 78])('tells at once when an essential one cannot run (%i), and leaves it', async (code) => {
    const { app, finals, starts } = child([code], true);
    app.start();
    await until(() => finals.length > 0);
    expect(finals).toEqual([`watcher cannot run (exit code ${code})`]);
    await app.stop();
    expect(starts()).toBe(1);
  });

  it('tries another one again until it runs', async () => {
    const { app, said, finals, starts } = child([76, 78], false);
    app.start();
    await until(() => starts() === 3);
    await app.stop();
    expect(said).toEqual([
      'watcher cannot run (exit code 76); everything else goes on. Trying it again in 0.02 s (1 of 5)',
      'watcher cannot run (exit code 78); everything else goes on. Trying it again in 0.02 s (2 of 5)',
    ]);
    expect(finals).toEqual([]);
  });

  it('gives another one up after five tries', async () => {
    const { app, finals, starts } = child([78, 78, 78, 78, 78, 78, 78], false);
    app.start();
    await until(() => finals.length > 0);
    await app.stop();
    expect([starts(), finals]).toEqual([6, ['watcher cannot run (exit code 78)']]);
  });
});
