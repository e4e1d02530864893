import pg from 'pg';
import { prepareValue } from 'pg/lib/utils.js';
import type { Planning, Reader } from '../src/database/database.js';
import { PLAN, PLANNING_SETTINGS } from '../src/database/transaction.js';

export interface PlanNode {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  'Parent Relationship'?: string;
  /** As many as PostgreSQL expects. */
  'Plan Rows': number;
  'Actual Rows': number;
  'Actual Loops': number;
  'Rows Removed by Filter'?: number;
  Plans?: PlanNode[];
}

/** The plan nodes of all statements of a query, with what each has read. */
export async function planned(read: Reader, query: (explaining: Reader) => Promise<unknown>): Promise<PlanNode[]> {
  const nodes: PlanNode[] = [];
  const explaining = async <Row>(text: string, values: readonly unknown[] = [], planning: Planning = 'each time') => {
    const [plan] =
      planning === 'each time' ? await read<Explained>(`${EXPLAIN} ${text}`, values) : await explainOnce(read, text, values, planning);
    collect(plan!['QUERY PLAN'][0]!.Plan, nodes);
    return read<Row>(text, values);
  };
  await query(Object.assign(explaining, { tenantId: read.tenantId }));
  return nodes;
}

const EXPLAIN = 'EXPLAIN (ANALYZE, FORMAT JSON)';

interface Explained {
  'QUERY PLAN': { Plan: PlanNode }[];
}

let prepared = 0;

/** As it is planned for any values. */
async function explainOnce(read: Reader, text: string, values: readonly unknown[], planning: Planning): Promise<Explained[]> {
  const literals = values.map((value) => literal(prepareValue(value) as string | number | null));
  const name = `planned_once_${++prepared}`;
  await read(`PREPARE ${name} AS ${text}`);
  await read(PLAN, PLANNING_SETTINGS[planning]);
  const plan = await read<Explained>(`${EXPLAIN} EXECUTE ${name}${literals.length > 0 ? `(${literals.join(', ')})` : ''}`);
  await read(`DEALLOCATE ${name}`);
  await read(PLAN, PLANNING_SETTINGS['each time']);
  return plan;
}

function literal(value: string | number | null): string {
  return value === null ? 'NULL' : pg.escapeLiteral(String(value));
}

function collect(node: PlanNode, into: PlanNode[]): void {
  into.push(node);
  for (const child of node.Plans ?? []) collect(child, into);
}

/** Those that read tables whose name, or their partition's, begins so. */
export function readingOf(tables: RegExp, nodes: readonly PlanNode[]): PlanNode[] {
  return nodes.filter((node) => tables.test(node['Relation Name'] ?? ''));
}

/** Rows that nodes have read, those thrown away included. */
export function rowsRead(nodes: readonly PlanNode[]): number {
  return nodes.reduce((sum, node) => sum + (node['Actual Rows'] + (node['Rows Removed by Filter'] ?? 0)) * node['Actual Loops'], 0);
}
