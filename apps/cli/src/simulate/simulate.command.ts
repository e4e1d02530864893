import { DatabaseSettings, type Environment, Group, loadConfig, MqttSettings, Setting } from '@tallystick/config';
import { Command } from 'commander';
import { simulate, type SimulationOptions } from './simulate.js';
import { MAX_DEVICES, parseSimulation, type SimulateArguments } from './simulation-options.js';
import { exitCodeOf } from './simulation-result.js';

/** sysexits.h EX_USAGE: what was typed makes no sense. */
const EXIT_USAGE = 64;
/** sysexits.h EX_SOFTWARE: an error nobody expected. */
const EXIT_SOFTWARE = 70;
const EXIT_INTERRUPTED = 130;

/** The environment that the simulation looks at besides the database's. */
class SimulateSettings {
  @Setting({ env: 'TALLYSTICK_API_KEY', describe: 'API key with which --api is asked.', secret: true })
  readonly apiKey?: string;

  @Group(MqttSettings, { url: 'mqtt://127.0.0.1:1883', clientId: 'tallystick-simulate' })
  readonly mqtt: MqttSettings;
}

class RecordSettings {
  @Group(DatabaseSettings)
  readonly database: DatabaseSettings;
}

const HELP = `
Each device is a meter with a counter, a daily load curve and noise of its own.
It sends JSON of about 300 bytes to <topic-root>/factory<n>/line<n>/METER_<n>/data.
Devices belong to the tenants in turn and send in turn.

At the end it prints how many messages were published, acknowledged by the
broker, and stored. For the last it asks PostgreSQL when DATABASE_URL (or
DATABASE_HOST) is set, else the API of --api (with TALLYSTICK_API_KEY).

Environment: MQTT_URL, MQTT_USERNAME, MQTT_PASSWORD, MQTT_CA_FILE and the other
MQTT_ settings but MQTT_CLIENT_ID; DATABASE_URL; TALLYSTICK_API_KEY.

The first Ctrl-C stops cleanly, the second at once. Exit codes:
    0  everything was acknowledged and, if asked, stored
    1  not everything was
   64  an option is invalid; nothing was published
   69  no broker, database or API can be used; nothing was published
   78  the environment is invalid; nothing was published
  130  after Ctrl-C

Examples:
  $ tallystick simulate
  $ tallystick simulate --devices 500 --tenants 20 --rate 2000
  $ tallystick simulate --rate 0 --count 100000`;

/** `tallystick simulate`: readings of simulated energy meters, published to the broker. */
export function simulateCommand(): Command {
  return (
    new Command('simulate')
      .description('publish readings of simulated energy meters and count what became of them')
      .option('--devices <n>', `how many devices (1 to ${MAX_DEVICES})`, '10')
      .option('--rate <r>', 'messages per second, of all devices together; 0: as fast as the broker acknowledges', '10')
      .option('--tenants <t>', 'how many tenants the devices belong to', '1')
      .option('--count <c>', 'messages to publish; 0: until Ctrl-C', '0')
      .option('--broker <url>', 'the broker (default: MQTT_URL, or mqtt://127.0.0.1:1883)')
      .option('--topic-root <text>', 'first level(s) of the topics', 'veep')
      .option('--seed <s>', 'the same seed makes the same meters', '1')
      .option('--qos <q>', 'MQTT quality of service, 1 or 2', '1')
      .option('--api <url>', 'API to ask for what is stored, when DATABASE_URL is not set')
      .addHelpText('after', HELP)
      // commander's own complaints (an unknown option, a missing value) are invalid options as well
      .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : EXIT_USAGE))
      .action(async (typed: SimulateArguments) => {
        process.exitCode = await run(typed, process.env);
      })
  );
}

/** Runs it and returns the exit code; every failure is a message on stderr. */
async function run(typed: SimulateArguments, environment: Environment): Promise<number> {
  const parsed = parseSimulation(typed);
  if (parsed.kind === 'invalid') {
    process.stderr.write(parsed.problems.map((problem) => `error: ${problem}\n`).join('') + 'See `tallystick simulate --help`.\n');
    return EXIT_USAGE;
  }
  try {
    const options = { ...parsed.plan, ...settingsOf(typed, environment) };
    return await stoppable((stop) => simulate(options, { progress: process.stderr, result: process.stdout }, stop).then(exitCodeOf));
  } catch (error) {
    const exitCode = error instanceof Error ? (error as { exitCode?: unknown }).exitCode : undefined;
    const expected = typeof exitCode === 'number';
    process.stderr.write(`error: ${expected ? (error as Error).message : error instanceof Error ? error.stack : String(error)}\n`);
    return expected ? exitCode : EXIT_SOFTWARE;
  }
}

/** Throws ConfigurationError. */
function settingsOf(
  typed: SimulateArguments,
  environment: Environment,
): Pick<SimulationOptions, 'mqtt' | 'databaseUrl' | 'api' | 'apiKey'> {
  const { mqtt, apiKey } = loadConfig(SimulateSettings, {
    ...environment,
    // Whatever this is set to belongs to an app: under its client id the broker would end the app's connection.
    MQTT_CLIENT_ID: undefined,
    ...(typed.broker !== undefined && { MQTT_URL: typed.broker, MQTT_URL_FILE: undefined }),
  });
  const asksDatabase = ['DATABASE_URL', 'DATABASE_URL_FILE', 'DATABASE_HOST'].some((name) => environment[name]);
  const databaseUrl = asksDatabase ? loadConfig(RecordSettings, environment).database.connectionUrl : undefined;
  return { mqtt, databaseUrl, api: typed.api, apiKey };
}

/** The first SIGINT or SIGTERM is a wish, the second ends the process. */
async function stoppable<T>(work: (stop: AbortSignal) => Promise<T>): Promise<T> {
  const stopping = new AbortController();
  const onSignal = () => {
    if (stopping.signal.aborted) process.exit(EXIT_INTERRUPTED);
    stopping.abort();
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  try {
    return await work(stopping.signal);
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}
