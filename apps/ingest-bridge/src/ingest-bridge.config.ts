import { DatabaseSettings, Group, HttpSettings, MqttSettings, Setting } from '@tallystick/config';
import { topicFilterProblem } from '@tallystick/mqtt';
import {
  ArrayNotEmpty,
  IsIn,
  IsInt,
  Matches,
  Max,
  Min,
  Validate,
  ValidateIf,
  type ValidationArguments,
  ValidatorConstraint,
  type ValidatorConstraintInterface,
} from 'class-validator';
import { PAYLOAD_FORMATS, type PayloadFormat } from './intake/take-message.js';
import { parseTopicPattern, type TopicPattern } from './intake/topic-pattern.js';

@ValidatorConstraint()
class AreTopicPatterns implements ValidatorConstraintInterface {
  validate(texts: unknown): boolean {
    return problemOf(texts) === undefined;
  }

  defaultMessage(failed?: ValidationArguments): string {
    return `must be topic patterns such as veep/+/+/+/data: ${problemOf(failed?.value)}`;
  }
}

/** MQTT 3.1.1 has no user properties. */
@ValidatorConstraint()
class NeedsMqtt5 implements ValidatorConstraintInterface {
  validate(_: unknown, validated?: ValidationArguments): boolean {
    return (validated!.object as IngestBridgeConfig).mqtt.protocolVersion !== '3.1.1';
  }

  defaultMessage(): string {
    return 'needs MQTT 5: unset it, or set MQTT_PROTOCOL_VERSION to 5 or auto';
  }
}

function problemOf(texts: unknown): string | undefined {
  for (const text of texts as string[]) {
    const parsed = parseTopicPattern(text);
    const problem = parsed.kind === 'invalid' ? parsed.reason : topicFilterProblem(parsed.pattern.filter);
    if (problem) return problem;
  }
  return undefined;
}

export class IngestBridgeConfig {
  @Setting({
    env: 'MQTT_TOPICS',
    describe:
      'Topics to ingest, with commas between: `+` three times (tenant, site, device), or `{tenant}`, `{site}` and `{device}` as levels.',
  })
  @ArrayNotEmpty()
  @Validate(AreTopicPatterns)
  readonly topics: string[] = ['veep/+/+/+/data'];

  @Setting({
    env: 'MQTT_SHARED_GROUP',
    describe: 'Name of a shared subscription: several bridges then share the messages. Needs MQTT 5 or a broker that offers it.',
  })
  @ValidateIf((config: IngestBridgeConfig) => config.sharedGroup !== undefined)
  @Matches(/^[^/+#\0]{1,95}$/, { message: 'must be 1 to 95 characters, none of them /, + or #' })
  readonly sharedGroup?: string;

  @Setting({
    env: 'DEDUP_KEY',
    describe:
      'Name of an MQTT 5 user property that identifies a message of its topic: a second one with the same value is not stored, whichever bridge receives it.',
  })
  @ValidateIf((config: IngestBridgeConfig) => config.dedupKey !== undefined)
  // Control characters are not for names (MQTT 5 section 1.5.4).
  @Matches(/^\P{Cc}{1,100}$/u, { message: 'must be 1 to 100 characters, none of them a control character' })
  @Validate(NeedsMqtt5)
  readonly dedupKey?: string;

  @Setting({
    env: 'DEDUP_KEY_HOURS',
    describe: 'How long the values of DEDUP_KEY are remembered: at least a day more than the 7 days for which a broker keeps a session.',
  })
  @IsInt()
  // Below, a bridge that was away would not know its own messages again: the ledger does not judge messages with a key.
  @Min(192)
  @Max(87_600)
  readonly dedupKeyHours: number = 192;

  @Setting({ env: 'MAX_UNACKNOWLEDGED', describe: 'Most messages the broker may have in flight to the bridge (MQTT 5 Receive Maximum).' })
  @IsInt()
  @Min(1)
  @Max(32_767)
  readonly maxUnacknowledged: number = 4_000;

  @Setting({ env: 'BATCH_SIZE', describe: 'Messages after which a batch is sealed.' })
  @IsInt()
  @Min(1)
  @Max(100_000)
  readonly batchSize: number = 1_000;

  @Setting({ env: 'BATCH_TIMEOUT_MS', describe: 'Age in ms after which a batch is sealed.' })
  @IsInt()
  @Min(10)
  @Max(86_400_000)
  readonly batchTimeoutMs: number = 300_000;

  @Setting({ env: 'MAX_PAYLOAD_BYTES', describe: 'Largest payload that is stored; a larger one is quarantined.' })
  @IsInt()
  @Min(1)
  @Max(16_777_216)
  readonly maxPayloadBytes: number = 262_144;

  @Setting({ env: 'PAYLOAD_FORMAT', describe: '`json` takes any JSON value, `object` JSON objects only, `any` binary too.' })
  @IsIn(PAYLOAD_FORMATS)
  readonly payloadFormat: PayloadFormat = 'json';

  @Setting({
    env: 'MESSAGES_JSON_INDEX',
    describe: '`live` indexes payloads as they come; `off` doubles the ingest rate and saves a quarter of the disk.',
  })
  @IsIn(['live', 'off'])
  readonly messagesJsonIndex: 'live' | 'off' = 'live';

  @Setting({ env: 'WRITER_LANES', describe: 'Transactions that may be in flight at once; each lane fills batches of its own.' })
  @IsInt()
  @Min(1)
  @Max(16)
  readonly writerLanes: number = 1;

  @Setting({
    env: 'MAX_NEW_DEVICES_PER_MINUTE',
    describe: 'Devices never seen before that may appear in a minute; messages of further ones are quarantined.',
  })
  @IsInt()
  @Min(1)
  @Max(10_000_000)
  readonly maxNewDevicesPerMinute: number = 10_000;

  @Setting({
    env: 'QUARANTINE_MAX_BYTES',
    describe: 'Most bytes in quarantine (payload, topic, and 400 for the rest of a row); beyond it the oldest rejections are removed.',
  })
  @IsInt()
  @Min(1_048_576)
  @Max(1_099_511_627_776)
  readonly quarantineMaxBytes: number = 1_073_741_824;

  @Setting({ env: 'QUARANTINE_MAX_AGE_DAYS', describe: 'Age in days after which a rejection is removed from quarantine.' })
  @IsInt()
  @Min(1)
  @Max(36_500)
  readonly quarantineMaxAgeDays: number = 90;

  @Setting({
    env: 'SLOT_DRAIN_AFTER_S',
    describe:
      'Seconds after which what the broker holds for a bridge that is gone is taken by another one, when client ids are claimed (MQTT_SHARED_GROUP without MQTT_CLIENT_ID).',
  })
  @IsInt()
  @Min(5)
  @Max(86_400)
  readonly slotDrainAfterS: number = 60;

  @Group(HttpSettings, { port: 3001 })
  readonly http: HttpSettings;

  @Group(DatabaseSettings)
  readonly database: DatabaseSettings;

  /** Without a client id of its own a bridge of a shared group claims one; one that is alone has a fixed one. */
  @Group(MqttSettings)
  readonly mqtt: MqttSettings;

  get clientId(): string | undefined {
    return this.mqtt.clientId ?? (this.sharedGroup === undefined ? 'ingest-bridge-1' : undefined);
  }

  /** The patterns of MQTT_TOPICS. */
  get patterns(): TopicPattern[] {
    return this.topics.flatMap((text) => {
      const parsed = parseTopicPattern(text);
      return parsed.kind === 'pattern' ? [parsed.pattern] : [];
    });
  }

  /** The topic filters to subscribe to, as shared subscriptions when MQTT_SHARED_GROUP is set. */
  get filters(): string[] {
    const share = this.sharedGroup === undefined ? '' : `$share/${this.sharedGroup}/`;
    return this.patterns.map((pattern) => share + pattern.filter);
  }
}
