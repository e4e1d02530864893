import pg from 'pg';
import type { Connection, FieldDef, PoolClient, Submittable } from 'pg';
import { prepareValue } from 'pg/lib/utils.js';

export interface Statement {
  text: string;
  values?: readonly unknown[];
}

/**
 * On each connection; many times what one exchange has. Pages of messages name their days, of which a client may ask for any: the texts asked
 * for least recently are closed, since each keeps a plan in the server's memory.
 */
const MOST_PREPARED = 100;

interface Column {
  name: string;
  parse: (text: string) => unknown;
}

interface Prepared {
  name: string;
  /** Undefined: whether it is prepared is not known. */
  columns: Column[] | undefined;
}

/** What a connection has prepared. */
class PreparedStatements {
  /** By their text, in the order of their last use. */
  private readonly statements = new Map<string, Prepared>();
  private made = 0;

  /** Of a query; what is none costs nothing to plan, and is not prepared. `onForgotten` hears of one that gave its place up. */
  of(text: string, onForgotten: (name: string) => void): Prepared | undefined {
    if (!/^\s*(SELECT|WITH)\b/.test(text)) return undefined;
    const statement = this.statements.get(text) ?? { name: `api_${++this.made}`, columns: undefined };
    this.statements.delete(text);
    this.statements.set(text, statement);
    if (this.statements.size > MOST_PREPARED) {
      const [oldest, { name }] = this.statements.entries().next().value!;
      this.statements.delete(oldest);
      onForgotten(name);
    }
    return statement;
  }
}

const preparedOn = new WeakMap<Connection, PreparedStatements>();

/**
 * Sends statements in one message and resolves with the rows of each. When one fails, those behind it are not run. Outside of BEGIN and
 * COMMIT they are a transaction of their own. Rejects after `limitMs` without an answer; then the connection must be thrown away.
 */
export function exchange(client: PoolClient, statements: readonly Statement[], limitMs: number): Promise<unknown[][]> {
  return new Promise((resolve, reject) => {
    client.query(new Exchange(statements, limitMs, (error, rows) => (error ? reject(error) : resolve(rows!))));
  });
}

/**
 * PostgreSQL's extended query protocol (55.2.3) with a single Sync behind all statements; pg would send one behind each and wait for its
 * answer. Queries are prepared at their first use on a connection, and described then alone.
 */
class Exchange implements Submittable {
  private at = 0;
  /** Of each statement, as far as it is prepared. */
  private prepared: (Prepared | undefined)[] = [];
  private readonly columns: (Column[] | undefined)[] = [];
  private readonly rows: unknown[][];

  constructor(
    private readonly statements: readonly Statement[],
    /** Read by pg, which calls `callback` with an error when the time is up. */
    readonly query_timeout: number,
    /** Called by pg too, and replaced by it. */
    public callback: (error: Error | undefined, rows?: unknown[][]) => void,
  ) {
    this.rows = statements.map(() => []);
  }

  submit(connection: Connection): void {
    // Before anything is sent: a value that cannot be written must not leave half of an exchange behind.
    const bound = this.statements.map(({ values = [] }) => values.map((value) => prepareValue(value)));
    const prepared = preparedOf(connection);
    connection.stream.cork();
    // Before all others: the server skips what is behind a statement that fails.
    const close = (name: string) => connection.close({ type: 'S', name }, false);
    this.prepared = this.statements.map(({ text }) => prepared.of(text, close));
    for (const [at, { text }] of this.statements.entries()) {
      const { name, columns } = this.prepared[at] ?? { name: '', columns: undefined };
      this.columns[at] = columns;
      if (!columns) {
        // Left from an exchange that failed behind it, it would be there already; there is no harm in closing none.
        if (name !== '') close(name);
        connection.parse({ name, text, types: [] }, false);
      }
      connection.bind({ statement: name, values: bound[at] }, false);
      if (!columns) connection.describe({ type: 'P' }, false);
      connection.execute(null, false);
    }
    connection.sync();
    connection.stream.uncork();
  }

  handleRowDescription({ fields }: { fields: FieldDef[] }): void {
    this.columns[this.at] = fields.map(({ name, dataTypeID }) => ({
      name,
      parse: pg.types.getTypeParser(dataTypeID, 'text') as Column['parse'],
    }));
  }

  handleDataRow({ fields }: { fields: (string | null)[] }): void {
    const row: Record<string, unknown> = {};
    const columns = this.columns[this.at]!;
    for (let at = 0; at < columns.length; at++) {
      const { name, parse } = columns[at]!;
      const text = fields[at]!;
      row[name] = text === null ? null : parse(text);
    }
    this.rows[this.at]!.push(row);
  }

  handleCommandComplete(): void {
    this.at += 1;
  }

  handleReadyForQuery(): void {
    for (const [at, statement] of this.prepared.entries()) if (statement) statement.columns = this.columns[at] ?? [];
    this.callback(undefined, this.rows);
  }

  handleError(error: Error): void {
    // Whether it was prepared is not known; or it was, and the tables have changed since.
    for (const statement of this.prepared) if (statement) statement.columns = undefined;
    this.callback(error);
  }
}

function preparedOf(connection: Connection): PreparedStatements {
  let prepared = preparedOn.get(connection);
  if (!prepared) preparedOn.set(connection, (prepared = new PreparedStatements()));
  return prepared;
}
