import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EmbeddedBroker, findMosquitto, startMosquitto } from '@tallystick/embedded';
import { onCleanUp } from './clean-up.js';

export interface TestBrokerOptions {
  /** lines added to the configuration of libs/embedded, e.g. `sys_interval 1` */
  configLines?: string[];
}

/** A real Mosquitto on a port of its own with a folder of its own. */
export class TestBroker {
  private constructor(
    private broker: EmbeddedBroker,
    private readonly dir: string,
    private readonly options: TestBrokerOptions,
  ) {}

  static async start(options: TestBrokerOptions): Promise<TestBroker> {
    const binary = findMosquitto();
    if (!binary) throw new Error('This spec needs Mosquitto. Run `node scripts/ensure-tools.mjs`.');
    const dir = mkdtempSync(join(tmpdir(), 'tallystick-broker-'));
    const started = await startMosquitto({ dir, port: 0, binary, ...options });
    const broker = new TestBroker(started, dir, options);
    onCleanUp(async () => {
      await broker.kill();
      rmSync(dir, { recursive: true, force: true });
    });
    return broker;
  }

  get url(): string {
    return this.broker.url;
  }

  get port(): number {
    return this.broker.port;
  }

  get pid(): number {
    return this.broker.pid!;
  }

  /** SIGTERM: connections end, sessions and messages are saved. */
  stop(): Promise<void> {
    return this.broker.stop();
  }

  /** SIGKILL: what was not saved (see autosave_interval) is lost. */
  kill(): Promise<void> {
    return this.broker.kill();
  }

  /** Stops the broker if it runs, and starts it again on the same port with what it had saved. */
  async restart(): Promise<void> {
    await this.broker.stop();
    this.broker = await startMosquitto({ dir: this.dir, port: this.port, ...this.options });
  }
}

/** Starts Mosquitto for a spec; it is ended after the spec's file in any case. */
export function startTestBroker(options: TestBrokerOptions = {}): Promise<TestBroker> {
  return TestBroker.start(options);
}
