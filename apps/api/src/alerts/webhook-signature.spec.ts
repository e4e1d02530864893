import { signingKeyOf, webhookSignature } from './webhook-signature.js';

describe('the signature of Standard Webhooks', () => {
  it('is that of the example in the documentation of Svix, who wrote the specification', () => {
    const key = signingKeyOf('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw');
    expect(webhookSignature(key!, 'msg_p5jXN8AQM9LWM0D4loKWxJek', 1614265330, '{"test": 2432232314}')).toBe(
      'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    );
  });

  it('needs a key of 24 to 64 bytes in base64', () => {
    const secret = (bytes: number) => `whsec_${Buffer.alloc(bytes, 7).toString('base64')}`;
    expect([24, 32, 64].map((bytes) => signingKeyOf(secret(bytes))?.length)).toEqual([24, 32, 64]);
    for (const text of [secret(23), secret(65), '', 'whsec_', secret(32).slice(6), `${secret(32)}\n`, secret(25).replace(/=+$/, '')]) {
      expect(signingKeyOf(text)).toBeUndefined();
    }
  });
});
