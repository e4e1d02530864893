/** sysexits.h EX_CONFIG: the process was started with a configuration it cannot work with. */
export const EXIT_CONFIGURATION = 78;

/** Every problem of a configuration at once, one line each, so that nobody mends them one restart at a time. */
export class ConfigurationError extends Error {
  readonly code = 'CONFIGURATION_INVALID';
  readonly exitCode = EXIT_CONFIGURATION;

  constructor(readonly problems: readonly string[]) {
    super(
      `The configuration has ${problems.length} ${problems.length === 1 ? 'problem' : 'problems'}:\n${problems.map((p) => `  ${p}`).join('\n')}`,
    );
    this.name = 'ConfigurationError';
  }
}
