import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Equals, IsBoolean, IsInt, Max, Min, ValidateIf } from 'class-validator';
import { ConfigurationError } from './configuration-error.js';
import { DatabaseSettings } from './database.settings.js';
import { describeSettings } from './describe-settings.js';
import { HttpSettings } from './http.settings.js';
import { loadConfig } from './load-config.js';
import { MqttSettings } from './mqtt.settings.js';
import { printSettings } from './print-settings.js';
import { Group, Setting } from './setting.js';

class SampleConfig {
  @Setting({ env: 'BATCH_SIZE', describe: 'Messages in a batch.' })
  @IsInt()
  @Min(1)
  @Max(10)
  readonly batchSize: number = 5;

  @Setting({ env: 'EAGER', describe: 'Whether.' })
  @IsBoolean()
  readonly eager: boolean = false;

  @Setting({ env: 'TOPICS', describe: 'Which.' })
  readonly topics: string[] = ['a/b'];

  @Group(HttpSettings, { port: 3001 })
  readonly http: HttpSettings;

  @Group(DatabaseSettings)
  readonly database: DatabaseSettings;

  @Group(MqttSettings, { clientId: 'sample' })
  readonly mqtt: MqttSettings;
}

const complete = { DATABASE_URL: 'postgres://u:p@localhost:5432/db', MQTT_URL: 'mqtt://localhost' };

function problemsOf(environment: Record<string, string>): readonly string[] {
  try {
    loadConfig(SampleConfig, environment);
  } catch (error) {
    if (error instanceof ConfigurationError) return error.problems;
    throw error;
  }
  return [];
}

describe('loadConfig', () => {
  it('takes defaults, replaced defaults and typed values, and freezes all of it', () => {
    const config = loadConfig(SampleConfig, { ...complete, BATCH_SIZE: '7', EAGER: 'true', TOPICS: 'a/+, b/#' });
    expect(config).toMatchObject({
      batchSize: 7,
      eager: true,
      topics: ['a/+', 'b/#'],
      http: { host: '127.0.0.1', port: 3001 },
      mqtt: { clientId: 'sample' },
    });
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.http)).toBe(true);
  });

  it('counts an empty variable as unset', () => {
    expect(loadConfig(SampleConfig, { ...complete, BATCH_SIZE: '' }).batchSize).toBe(5);
  });

  it('lists every problem at once, by the name the operator typed', () => {
    const problems = problemsOf({
      BATCH_SIZE: '11',
      EAGER: 'maybe',
      PORT: '80a',
      LOG_LEVEL: 'loud',
      DATABASE_URL: 'mysql://x',
      MQTT_CERT_FILE: '/c.pem',
    });
    expect(problems.map((line) => line.split(':')[0])).toEqual([
      'BATCH_SIZE',
      'EAGER',
      'PORT',
      'LOG_LEVEL',
      'DATABASE_URL',
      'MQTT_URL',
      'MQTT_KEY_FILE',
    ]);
    expect(problems[0]).toBe('BATCH_SIZE: must not be greater than 10 (got "11")');
  });

  it('lets a rule look into a group, and lists its own problems before those of the group', () => {
    class Dependent {
      @Setting({ env: 'SECURE', describe: 'Whether.' })
      @ValidateIf((config: Dependent) => config.http.port === 80)
      @Equals(false, { message: 'is not for port 80' })
      readonly secure: boolean = false;

      @Group(HttpSettings)
      readonly http: HttpSettings;
    }
    expect(loadConfig(Dependent, { SECURE: 'true', PORT: '81' }).secure).toBe(true);
    expect(() => loadConfig(Dependent, { SECURE: 'true', PORT: '80', LOG_LEVEL: 'loud' })).toThrow(
      /SECURE: is not for port 80[^]*LOG_LEVEL/,
    );
  });

  it.each(['1e3', '0x10', ' 5', '5 ', '--5', 'Infinity'])('refuses %j as a number', (text) => {
    expect(problemsOf({ ...complete, BATCH_SIZE: text })).not.toEqual([]);
  });

  it('needs a database by URL or by host', () => {
    expect(problemsOf({ MQTT_URL: 'mqtt://b' })).toEqual([
      'DATABASE_HOST: is not set, and neither is DATABASE_URL: one of them must name the database',
    ]);
    const parts = {
      DATABASE_HOST: 'db',
      DATABASE_USER: 'me@x',
      DATABASE_PASSWORD: 'a/b',
      DATABASE_NAME: 'veep_bridge',
      MQTT_URL: 'mqtt://b',
    };
    expect(loadConfig(SampleConfig, parts).database.connectionUrl).toBe('postgres://me%40x:a%2Fb@db:5432/veep_bridge');
  });

  it('reads a secret from its file and never prints a secret', () => {
    const file = join(mkdtempSync(join(tmpdir(), 'config-')), 'secret');
    writeFileSync(file, 'postgres://u:hidden@h:1/d\n');
    expect(loadConfig(SampleConfig, { MQTT_URL: 'mqtt://b', DATABASE_URL_FILE: file }).database.url).toBe('postgres://u:hidden@h:1/d');
    expect(problemsOf({ MQTT_URL: 'mqtt://b', DATABASE_URL_FILE: '/nowhere' })[0]).toMatch(/^DATABASE_URL_FILE: cannot be read/);
    expect(problemsOf({ ...complete, DATABASE_URL_FILE: file })[0]).toMatch(/both set/);
    expect(problemsOf({ ...complete, DATABASE_URL: 'mysql://u:hidden@h' }).join()).not.toContain('hidden');
  });

  it('prints what it came to and from where, without a secret', () => {
    const file = join(mkdtempSync(join(tmpdir(), 'config-')), 'secret');
    writeFileSync(file, 'mqtt://u:hidden@h:1\n');
    const environment = { DATABASE_URL: 'postgres://u:hidden@h:1/d', MQTT_URL_FILE: file, TOPICS: 'a/+, b/#', PORT: '80' };
    const printed = printSettings(loadConfig(SampleConfig, environment), environment).split('\n');
    expect(printed.join()).not.toContain('hidden@');
    expect(printed).toEqual(
      expect.arrayContaining([
        'BATCH_SIZE=5  # default',
        'TOPICS=a/+,b/#  # environment',
        'PORT=80  # environment',
        'DATABASE_URL=(hidden)  # environment',
        'MQTT_URL=(hidden)  # MQTT_URL_FILE',
        '# DATABASE_PASSWORD is not set',
      ]),
    );
  });

  it('describes every setting with its default', () => {
    const described = describeSettings(SampleConfig);
    expect(described.find((setting) => setting.env === 'PORT')).toMatchObject({ defaultText: '3001', type: 'number', secret: false });
    expect(described.find((setting) => setting.env === 'DATABASE_PASSWORD')).toMatchObject({ defaultText: '', secret: true });
    expect(described.every((setting) => setting.describe.length > 5)).toBe(true);
  });
});
