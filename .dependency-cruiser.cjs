/** The directions of ARCHITECTURE.md, enforced by `npm run check:boundaries`. */
/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    { name: 'no-circular', severity: 'error', from: {}, to: { circular: true } },
    { name: 'no-unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'apps-never-import-apps',
      severity: 'error',
      from: { path: '^apps/([^/]+)/' },
      to: { path: '^apps/', pathNot: '^apps/$1/' },
    },
    { name: 'libs-never-import-apps', severity: 'error', from: { path: '^libs/' }, to: { path: '^apps/' } },
    {
      name: 'libs-are-entered-by-their-index',
      comment: 'data-source.ts is the entry of the TypeORM command line',
      severity: 'error',
      from: { path: '^(apps|libs)/([^/]+)/' },
      to: { path: '^libs/([^/]+)/src/', pathNot: ['^libs/[^/]+/src/index\\.ts$', '^$1/$2/'] },
    },
    {
      name: 'hashing-is-pure',
      comment: 'libs/hashing runs in a browser: only itself and @noble/hashes',
      severity: 'error',
      from: { path: '^libs/hashing/src/', pathNot: 'spec\\.ts$' },
      to: { pathNot: ['^libs/hashing/src/', 'node_modules/@noble/hashes'] },
    },
    {
      name: 'only-tests-import-testing',
      severity: 'error',
      from: { path: '^(apps|libs)/', pathNot: ['spec\\.ts$', '^libs/testing/', '^apps/[^/]+/test/'] },
      to: { path: '^libs/testing/' },
    },
    {
      name: 'pure-files-stay-pure',
      comment: 'wiring -> edge -> pure. These folders and files hold functions and types only.',
      severity: 'error',
      from: { path: '^(apps/ingest-bridge/src/(intake|batching)/|libs/mqtt/src/topic-)', pathNot: '(spec|controller)\\.ts$' },
      to: { path: 'node_modules/(@nestjs|typeorm|pg|mqtt)/' },
    },
    {
      name: 'what-the-watcher-reads-and-concludes-is-pure',
      comment:
        'Lines, sessions, subscriptions, values and gaps: no framework, no database, no file, no network; of edges their types at most.',
      severity: 'error',
      from: {
        path: '^apps/broker-watcher/src/(log-lines|sessions|subscriptions|sys-metrics|gaps)/',
        pathNot: '(spec|controller|repository|metrics-writer|metrics-keeper|watch-keeper)\\.ts$',
      },
      to: {
        path: [
          'node_modules/(@nestjs|typeorm|pg|mqtt)/',
          '^(node:)?(fs|net|http|https|tls|dns|child_process)(/|$)',
          '^libs/(config|embedded|mqtt|observability|persistence)/',
          '(controller|repository|metrics-writer|metrics-keeper|watch-keeper|recorder)\\.ts$',
        ],
        dependencyTypesNot: ['type-only'],
      },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
      extensions: ['.ts', '.js', '.json'],
    },
  },
};
