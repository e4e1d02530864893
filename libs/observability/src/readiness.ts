import { Inject, Injectable, type InjectionToken, type OnModuleInit } from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import { Lifecycle } from './lifecycle.js';
import { READINESS_CHECKS } from './tokens.js';

export type CheckResult = { ready: true; detail?: Record<string, unknown> } | { ready: false; reason: string };

/** One thing the process needs to do its work. May throw or hang: both count as not ready. */
export interface ReadinessCheck {
  readonly name: string;
  check(): Promise<CheckResult> | CheckResult;
}

export interface NamedResult {
  name: string;
  result: CheckResult;
}

/** A check that has not answered after this long is not ready. */
export const CHECK_TIMEOUT_MS = 1000;

/** Runs the app's readiness checks; each runs once at a time, however many probes ask. */
@Injectable()
export class Readiness implements OnModuleInit {
  private checks: ReadinessCheck[] = [];
  private readonly running = new Map<ReadinessCheck, Promise<CheckResult>>();

  constructor(
    private readonly lifecycle: Lifecycle,
    private readonly moduleRef: ModuleRef,
    @Inject(READINESS_CHECKS) private readonly tokens: readonly InjectionToken[],
  ) {}

  onModuleInit(): void {
    // From anywhere in the app: the modules that provide the checks need not be imported here.
    this.checks = this.tokens.map((token) => this.moduleRef.get<ReadinessCheck>(token, { strict: false }));
  }

  async results(): Promise<NamedResult[]> {
    const { phase } = this.lifecycle;
    const lifecycle: CheckResult = phase === 'started' ? { ready: true } : { ready: false, reason: phase };
    const checked = this.checks.map(async (check) => ({ name: check.name, result: await this.run(check) }));
    return [{ name: 'lifecycle', result: lifecycle }, ...(await Promise.all(checked))];
  }

  private async run(check: ReadinessCheck): Promise<CheckResult> {
    // A hung check is waited for again, not started again: probes every second must not pile up connections.
    let running = this.running.get(check);
    if (!running) {
      running = settled(check).finally(() => this.running.delete(check));
      this.running.set(check, running);
    }
    return withTimeout(running);
  }
}

async function settled(check: ReadinessCheck): Promise<CheckResult> {
  try {
    return await check.check();
  } catch (error) {
    return { ready: false, reason: reasonOf(error) };
  }
}

/** A refused connection to a name with several addresses is an AggregateError with an empty message. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'failed';
  const code = (error as { code?: unknown }).code;
  return error.message || (typeof code === 'string' ? code : error.name);
}

async function withTimeout(result: Promise<CheckResult>): Promise<CheckResult> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<CheckResult>((resolve) => {
    timer = setTimeout(() => resolve({ ready: false, reason: `no answer within ${CHECK_TIMEOUT_MS} ms` }), CHECK_TIMEOUT_MS);
  });
  return Promise.race([result, timeout]).finally(() => clearTimeout(timer));
}
