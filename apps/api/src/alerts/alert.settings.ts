import { Setting } from '@tallystick/config';
import { IsInt, Max, Min, ValidateBy, ValidateIf } from 'class-validator';
import { signingKeyOf } from './webhook-signature.js';

/** When alerts are raised, and who is told. */
export class AlertSettings {
  @Setting({ env: 'ALERT_WEBHOOK_URL', describe: 'http or https URL that alerts are POSTed to (docs/alerts.md).', secret: true })
  @ValidateIf(({ webhookUrl }: AlertSettings) => webhookUrl !== undefined)
  @ValidateBy(
    { name: 'isWebhookUrl', validator: { validate: isPlainHttpUrl } },
    { message: 'must be an http or https URL without user name and password' },
  )
  readonly webhookUrl?: string;

  @Setting({
    env: 'ALERT_WEBHOOK_SECRET',
    describe: 'Key that alerts are signed with (Standard Webhooks): `whsec_` and 24 to 64 bytes in base64.',
    secret: true,
  })
  @ValidateIf(({ webhookSecret }: AlertSettings) => webhookSecret !== undefined)
  @ValidateBy(
    { name: 'isWebhookSecret', validator: { validate: (text: string) => signingKeyOf(text) !== undefined } },
    { message: 'must be whsec_ and 24 to 64 bytes in base64, such as the output of: echo "whsec_$(openssl rand -base64 32)"' },
  )
  readonly webhookSecret?: string;

  @Setting({ env: 'PUBLIC_URL', describe: 'URL under which people reach the API; links in alerts begin with it.' })
  @ValidateIf(({ publicUrl }: AlertSettings) => publicUrl !== undefined)
  @ValidateBy(
    { name: 'isPublicUrl', validator: { validate: isPlainHttpUrl } },
    { message: 'must be an http or https URL without user name and password' },
  )
  readonly publicUrl?: string;

  @Setting({ env: 'ALERT_INTERVAL_S', describe: 'Seconds between two looks at what alerts are raised for.' })
  @IsInt()
  @Min(1)
  @Max(300)
  readonly intervalS: number = 15;

  @Setting({
    env: 'ALERT_STALL_S',
    describe: 'Seconds for which a broker receives messages, and none is stored, after which ingest counts as stalled; 0 never.',
  })
  @IsInt()
  @Min(0)
  @Max(86_400)
  readonly stallS: number = 300;

  @Setting({
    env: 'ALERT_PENDING_S',
    describe: 'Age in seconds at which a batch should long have been sealed: two minutes or more beyond the bridges’ BATCH_TIMEOUT_MS.',
  })
  @IsInt()
  @Min(1)
  @Max(172_800)
  readonly pendingS: number = 600;

  @Setting({ env: 'ALERT_REJECTIONS', describe: 'Rejections within ten minutes beyond which the quarantine counts as growing.' })
  @IsInt()
  @Min(1)
  @Max(9_999)
  readonly rejections: number = 100;
}

function isPlainHttpUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, username, password } = new URL(text);
  return ['http:', 'https:'].includes(protocol) && username === '' && password === '';
}
