import { READER_ROLE } from '@tallystick/persistence';
import type { PoolClient } from 'pg';
import { databaseUnavailable } from './database-errors.js';
import { exchange, type Statement } from './exchange.js';

/** Whose rows are seen: one tenant's, all of the platform, or none. Row-level security holds whatever a query says. */
export interface Sight {
  tenantId: string | null;
  isPlatform: boolean;
}

/**
 * When a statement is planned: for its values each time it is run, which leaves out partitions that they exclude, or `once` on each
 * connection for any values. That spares the planning of all partitions, and is for what has one good plan. `once, in order`: that
 * plan reads an index in the order that is asked for, up to the limit; for any times, PostgreSQL would expect few rows and sort them.
 */
export type Planning = 'each time' | 'once' | 'once, in order';

/** One statement of a read; rows have the columns that the statement names. Those that are asked for at once go in one message. */
export type Reader = (<Row>(sql: string, parameters?: readonly unknown[], planning?: Planning) => Promise<Row[]>) & {
  /** What a query narrows itself to, besides row-level security; null: nothing. */
  readonly tenantId: string | null;
};

/** A statement that takes longer is given up, by the server and, should that not answer, by us. */
export const STATEMENT_LIMIT_MS = 10_000;

const SIGHT = `
  SELECT set_config('role', '${READER_ROLE}', true), set_config('statement_timeout', '${STATEMENT_LIMIT_MS}', true),
    set_config('app.tenant', $1, true), set_config('app.platform', $2, true), set_config('transaction_read_only', $3, true),
    ${planningSettings('$4', '$5')}`;
/** Sets for the rest of a transaction how statements are planned; its values are PLANNING_SETTINGS. */
export const PLAN = `SELECT ${planningSettings('$1', '$2')}`;

/** `sorts`: whether a plan may sort rows and read them in the order of the table, if there is another way. */
function planningSettings(mode: string, sorts: string): string {
  return `set_config('plan_cache_mode', ${mode}, true), set_config('enable_sort', ${sorts}, true), set_config('enable_bitmapscan', ${sorts}, true)`;
}
export const PLANNING_SETTINGS: Record<Planning, [mode: string, sorts: string]> = {
  'each time': ['force_custom_plan', 'on'],
  once: ['force_generic_plan', 'on'],
  'once, in order': ['force_generic_plan', 'off'],
};

interface Asked extends Statement {
  planning: Planning;
  resolve: (rows: unknown[]) => void;
  reject: (error: unknown) => void;
}

export interface TransactionKind {
  /** Undefined: of one statement. */
  begin?: string;
  isReadOnly: boolean;
}

/**
 * One transaction on a connection, which it gives back at its end. It begins with its first statement, in the same message: role, tenant and
 * time limit are set for it alone, and a statement is not run unless they are. Without `begin` that statement is all of it.
 */
export class Transaction {
  /** Of the last statement; undefined: nothing has begun. */
  private planning: Planning | undefined;
  private broken: Error | undefined;
  /** What is sent when whoever asks has nothing more to ask for now, and the message before has been answered. */
  private asked: Asked[] = [];
  private underWay: Promise<void> = Promise.resolve();
  /** What is asked for from then on would be none of this transaction, and have other rights. */
  private hasEnded = false;

  constructor(
    private readonly client: PoolClient,
    private readonly sight: Sight,
    private readonly kind: TransactionKind,
  ) {
    // A connection that breaks between two statements says so as an event; unheard, it would end the process.
    client.on('error', this.onBroken);
  }

  /** Does the work. When that fails, nothing is left of it, and the connection is given back. */
  async run<T>(work: (read: Reader) => Promise<T>): Promise<T> {
    const read = <Row>(text: string, values?: readonly unknown[], planning: Planning = 'each time') =>
      new Promise<Row[]>((resolve, reject) => {
        const count = this.asked.push({ text, values, planning, resolve: resolve as Asked['resolve'], reject });
        if (count === 1) queueMicrotask(() => void (this.underWay = this.underWay.then(() => this.ask())));
      });
    try {
      return await work(Object.assign(read, { tenantId: this.sight.tenantId }));
    } catch (error) {
      await this.rollBack(error as Error);
      throw error;
    }
  }

  /** Sends what was asked for. When one statement fails, none of them has an answer. */
  private async ask(): Promise<void> {
    const asked = this.asked;
    this.asked = [];
    try {
      if (this.hasEnded) throw new Error('the transaction has ended');
      const statements: Statement[] = [];
      const places = asked.map((one) => statements.push(...this.before(one.planning), one) - 1);
      const rows = await this.send(statements, asked.length);
      for (const [at, { resolve }] of asked.entries()) resolve(rows[places[at]!]!);
    } catch (error) {
      for (const { reject } of asked) reject(error);
    }
  }

  /** Ends it and gives the connection back. The commit point of a write. */
  async commit(): Promise<void> {
    this.hasEnded = true;
    try {
      if (this.planning) await this.send([{ text: 'COMMIT' }]);
    } catch (error) {
      await this.rollBack(error as Error);
      throw error;
    }
    this.release();
  }

  /** Gives the connection back, to be used again unless it is in doubt. */
  release(): void {
    this.hasEnded = true;
    this.client.off('error', this.onBroken);
    this.client.release(this.broken);
  }

  private readonly onBroken = (error: unknown) => (this.broken = error as Error);

  private async rollBack(error: Error): Promise<void> {
    this.hasEnded = true;
    // A connection in doubt is thrown away: a ROLLBACK over it might never be answered.
    if (databaseUnavailable(error)) this.onBroken(error);
    else if (this.planning && this.kind.begin !== undefined) await this.send([{ text: 'ROLLBACK' }]).catch(this.onBroken);
    this.release();
  }

  /** What goes before a statement. */
  private before(planning: Planning): Statement[] {
    const { begin, isReadOnly } = this.kind;
    const [last, settings] = [this.planning, PLANNING_SETTINGS[planning]];
    this.planning = planning;
    if (last !== undefined) {
      if (begin === undefined) throw new Error('a second statement would not be in the transaction of the first');
      return last === planning ? [] : [{ text: PLAN, values: settings }];
    }
    const { tenantId, isPlatform } = this.sight;
    const sight = { text: SIGHT, values: [tenantId ?? '', isPlatform ? 'on' : 'off', isReadOnly ? 'on' : 'off', ...settings] };
    return begin === undefined ? [sight] : [{ text: begin }, sight];
  }

  /** The server's limit holds for each statement, so it may take `asked` of them that long; what goes before them takes no time. */
  private send(statements: readonly Statement[], asked = 1): Promise<unknown[][]> {
    return exchange(this.client, statements, asked * STATEMENT_LIMIT_MS + 1000);
  }
}
