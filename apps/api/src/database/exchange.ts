import pg from 'pg';
import type { Connection, FieldDef, PoolClient, Submittable } from 'pg';
import { prepareValue } from 'pg/lib/utils.js';

export interface Statement {
  text: string;
  values?: readonly unknown[];
}

/** Texts are written in the source, and are few; should one be made of what a client says, no connection fills up with statements. */
const MOST_PREPARED = 500;
/** Names of prepared statements, the same on every connection. */
const names = new Map<string, string>();

interface Column {
  name: string;
  parse: (text: string) => unknown;
}

/** What each connection has prepared: the columns by the statement's name. */
const preparedOn = new WeakMap<Connection, Map<string, Column[]>>();

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
  private readonly described: (Column[] | undefined)[] = [];
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
    const prepared = preparedOf(connection);
    // Before anything is sent: a value that cannot be written must not leave half of an exchange behind.
    const bound = this.statements.map(({ values = [] }) => values.map((value) => prepareValue(value)));
    connection.stream.cork();
    for (const [at, { text }] of this.statements.entries()) {
      const name = nameOf(text);
      this.described[at] = prepared.get(name);
      if (!this.described[at]) {
        // Left from an exchange that failed behind it, it would be there already; there is no harm in closing none.
        if (name !== '') connection.close({ type: 'S', name }, false);
        connection.parse({ name, text, types: [] }, false);
      }
      connection.bind({ statement: name, values: bound[at] }, false);
      if (!this.described[at]) connection.describe({ type: 'P' }, false);
      connection.execute(null, false);
    }
    connection.sync();
    connection.stream.uncork();
  }

  handleRowDescription({ fields }: { fields: FieldDef[] }): void {
    this.described[this.at] = fields.map(({ name, dataTypeID }) => ({
      name,
      parse: pg.types.getTypeParser(dataTypeID, 'text') as Column['parse'],
    }));
  }

  handleDataRow({ fields }: { fields: (string | null)[] }): void {
    const row: Record<string, unknown> = {};
    const columns = this.described[this.at]!;
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

  handleReadyForQuery(connection: Connection): void {
    const prepared = preparedOf(connection);
    for (const [at, { text }] of this.statements.entries()) {
      const name = nameOf(text);
      if (name !== '') prepared.set(name, this.described[at] ?? []);
    }
    this.callback(undefined, this.rows);
  }

  handleError(error: Error, connection: Connection): void {
    // Whether it was prepared is not known; or it was, and the tables have changed since.
    for (const { text } of this.statements) preparedOf(connection).delete(nameOf(text));
    this.callback(error);
  }
}

function preparedOf(connection: Connection): Map<string, Column[]> {
  let prepared = preparedOn.get(connection);
  if (!prepared) preparedOn.set(connection, (prepared = new Map<string, Column[]>()));
  return prepared;
}

/** Empty: not prepared. What is no query costs nothing to plan, and a cursor's rows are not the same each time. */
function nameOf(text: string): string {
  let name = names.get(text);
  if (name !== undefined) return name;
  if (!/^\s*(SELECT|WITH)\b/.test(text) || names.size >= MOST_PREPARED) return '';
  name = `api_${names.size + 1}`;
  names.set(text, name);
  return name;
}
