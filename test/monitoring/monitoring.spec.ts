import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { type ExportedMetrics, exportedMetrics } from './exported-metrics.js';
import { matches, type Matcher, selectorsOf } from './promql.js';

interface Rule {
  alert: string;
  expr: string;
  labels: { severity: string };
  annotations: { summary: string; runbook: string };
}
interface RuleCase {
  promql_expr_test: { expr: string; exp_samples: unknown[] }[];
}
interface Panel {
  id: number;
  type: string;
  title: string;
  datasource: { uid: string };
  fieldConfig: { defaults: { unit?: string } };
  targets: { expr: string; datasource: { uid: string } }[];
}
interface Dashboard {
  uid: string;
  schemaVersion: number;
  templating: { list: { name: string; definition: string; datasource: { uid: string } }[] };
  panels: Panel[];
}

const DASHBOARDS = 'docker/grafana/dashboards';
/** What Prometheus itself writes for each target, whatever the target exports. */
const OF_PROMETHEUS = 'up';

const prometheus = readYaml<{ rule_files: string[]; scrape_configs: { job_name: string }[] }>('docker/prometheus/prometheus.yml');
const jobs = prometheus.scrape_configs.map(({ job_name }) => job_name);
const rules = readYaml<{ groups: { rules: Rule[] }[] }>('docker/prometheus/alerts.yml').groups.flatMap((group) => group.rules);
const dashboards: [string, Dashboard][] = readdirSync(DASHBOARDS).map((file) => [
  file,
  JSON.parse(readFileSync(join(DASHBOARDS, file), 'utf8')) as Dashboard,
]);

function readYaml<T>(file: string): T {
  return parse(readFileSync(file, 'utf8')) as T;
}

let exported: ReadonlyMap<string, ExportedMetrics>;
beforeAll(async () => {
  exported = await exportedMetrics();
});

/** What an expression asks for and no app exports: a metric, a label or a value. Where jobs are named, of each of them. */
function unknownTo(expression: string): string[] {
  return selectorsOf(expression).flatMap(({ metric, matchers }) => {
    const jobMatchers = matchers.filter(({ label }) => label === 'job');
    const asked = jobs.filter((job) => jobMatchers.every((matcher) => matches(matcher, job)));
    if (asked.length === 0) return [`${metric}: no such job`];
    if (metric === OF_PROMETHEUS) return [];
    const exporting = asked.filter((job) => exported.get(job)!.has(metric));
    if (exporting.length === 0) return [`${metric} of ${asked.join(', ')}`];
    const own = matchers.filter(({ label }) => label !== 'job' && label !== 'instance');
    return exporting.flatMap((job) =>
      own
        .filter((matcher) => !canMatch(exported.get(job)!.get(metric)!.get(matcher.label), matcher))
        .map(({ label, value }) => `${metric}{${label}="${value}"} of ${job}`),
    );
  });
}

function canMatch(values: ReadonlySet<string> | 'any' | undefined, { operator, value }: Matcher): boolean {
  if (values === undefined || values === 'any') return values === 'any';
  // Each alternative, so that a word in a list of several is not forgotten when it is renamed.
  const alternatives = operator.endsWith('~') ? value.split('|') : [value];
  return alternatives.every((alternative) =>
    [...values].some((actual) => matches({ label: '', operator: '=~', value: alternative }, actual)),
  );
}

describe('selectors of PromQL', () => {
  it('are found among functions, groupings, ranges and strings', () => {
    const expression = `histogram_quantile(0.99, sum by (le, job) (rate(a_bucket{job="x", r=~"by (b)|[5m]"}[5m]))) > 1e6
      and on (job) time() - b offset 5m < 900 or absent(c{d!="e"} == 1) unless up`;
    expect(selectorsOf(expression)).toEqual([
      {
        metric: 'a_bucket',
        matchers: [
          { label: 'job', operator: '=', value: 'x' },
          { label: 'r', operator: '=~', value: 'by (b)|[5m]' },
        ],
      },
      { metric: 'b', matchers: [] },
      { metric: 'c', matchers: [{ label: 'd', operator: '!=', value: 'e' }] },
      { metric: 'up', matchers: [] },
    ]);
  });
});

describe('what no app exports', () => {
  it.each([
    [
      'a metric',
      'rate(mqtt_messages_recieved_total[5m])',
      ['mqtt_messages_recieved_total of ingest-bridge, broker-watcher, api, prometheus'],
    ],
    ['a metric of another job', 'batches_open{job="api"}', ['batches_open of api']],
    ['a job', 'up{job="bridge"}', ['up: no such job']],
    ['a label', 'batches_open{lane="1"}', ['batches_open{lane="1"} of ingest-bridge']],
    [
      'a value, among others',
      'mqtt_messages_processed_total{job="ingest-bridge", result=~"stored|refused"}',
      ['mqtt_messages_processed_total{result="stored|refused"} of ingest-bridge'],
    ],
    [
      'a histogram without its suffix',
      'database_write_duration_seconds',
      ['database_write_duration_seconds of ingest-bridge, broker-watcher, api, prometheus'],
    ],
  ])('%s is named', (_, expression, unknown) => {
    expect(unknownTo(expression)).toEqual(unknown);
  });
});

describe('alerts', () => {
  it('are loaded, under the jobs that the apps are scraped as', () => {
    expect(prometheus.rule_files).toEqual(['alerts.yml']);
    expect(jobs).toEqual([...exported.keys()]);
  });

  it.each(rules.map((rule) => [rule.alert, rule] as const))('%s asks for what an app exports', (_, { expr, labels, annotations }) => {
    expect(selectorsOf(expr)).not.toEqual([]);
    expect(unknownTo(expr)).toEqual([]);
    expect(['critical', 'warning']).toContain(labels.severity);
    expect(annotations.summary).not.toBe('');
  });

  it('each have their section in the runbook, which has no others', () => {
    const sections = [...readFileSync('docs/runbook.md', 'utf8').matchAll(/^## (.+)$/gm)].map(([, heading]) => heading);
    expect(sections).toEqual(rules.map(({ alert }) => alert));
    expect(rules.map(({ annotations }) => annotations.runbook)).toEqual(rules.map(({ alert }) => `docs/runbook.md#${alert.toLowerCase()}`));
  });

  it('each fire in one case of promtool and do not in another', () => {
    const { tests } = readYaml<{ tests: RuleCase[] }>('docker/prometheus/alerts.test.yml');
    const checks = tests.flatMap((test) => test.promql_expr_test);
    for (const { alert } of rules) {
      const own = checks.filter(({ expr }) => expr.includes(`"${alert}"`));
      expect([alert, own.some(({ exp_samples }) => exp_samples.length > 0)]).toEqual([alert, true]);
      expect([alert, own.some(({ exp_samples }) => exp_samples.length === 0)]).toEqual([alert, true]);
    }
  });
});

describe('dashboards', () => {
  const { datasources } = readYaml<{ datasources: { uid: string }[] }>('docker/grafana/provisioning/datasources/prometheus.yml');

  it('have a name each', () => {
    expect(dashboards.map(([, { uid }]) => `${uid}.json`)).toEqual(dashboards.map(([file]) => file));
  });

  it.each(dashboards)('%s asks for what an app exports, with units, of the source that is provisioned', (_, dashboard) => {
    const { panels, templating, schemaVersion } = dashboard;
    const expressions = [
      ...panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
      ...templating.list.map(({ definition }) => definition),
    ];
    // `label_values(metric, label)` is Grafana's: what stands after the comma is no metric.
    expect(expressions.flatMap((expr) => unknownTo(expr.replace(/^label_values\((.*), \w+\)$/, '$1')))).toEqual([]);
    expect(panels.filter(({ fieldConfig }) => !fieldConfig.defaults.unit)).toEqual([]);
    const sources = [...panels, ...panels.flatMap(({ targets }) => targets), ...templating.list].map(({ datasource }) => datasource.uid);
    expect(new Set(sources)).toEqual(new Set([datasources[0]!.uid]));
    expect(templating.list.map(({ name }) => name)).toEqual(['instance']);
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    expect(panels.length).toBeLessThanOrEqual(12);
    expect(new Set(panels.map(({ type }) => type))).toEqual(new Set(['stat', 'timeseries']));
    expect(schemaVersion).toBe(41);
  });
});
