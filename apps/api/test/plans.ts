import type { Reader } from '../src/database/database.js';

export interface PlanNode {
  'Node Type': string;
  'Relation Name'?: string;
  'Index Name'?: string;
  'Actual Rows': number;
  'Actual Loops': number;
  'Rows Removed by Filter'?: number;
  Plans?: PlanNode[];
}

/** The plan nodes of all statements of a query, with what each has read. */
export async function planned(read: Reader, query: (explaining: Reader) => Promise<unknown>): Promise<PlanNode[]> {
  const nodes: PlanNode[] = [];
  const explaining = async <Row>(text: string, values: readonly unknown[] = []) => {
    const [plan] = await read<{ 'QUERY PLAN': { Plan: PlanNode }[] }>(`EXPLAIN (ANALYZE, FORMAT JSON) ${text}`, values);
    collect(plan!['QUERY PLAN'][0]!.Plan, nodes);
    return read<Row>(text, values);
  };
  await query(Object.assign(explaining, { tenantId: read.tenantId }));
  return nodes;
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
