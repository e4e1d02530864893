import { isProxyNetwork } from './proxy-network.js';

describe('a proxy that may be trusted', () => {
  it.each(['10.0.0.1', '10.0.0.0/8', '::1', 'fd00::/8', 'loopback', 'uniquelocal'])('is %s', (text) =>
    expect(isProxyNetwork(text)).toBe(true),
  );

  it.each(['', '*', 'proxy.example', '10.0.0.0/0', '10.0.0.0/33', '10.0.0.0/8/8', '10.0.0.0/', 'fd00::/129', '10.0.0', 1])(
    'is not %p',
    (text) => expect(isProxyNetwork(text)).toBe(false),
  );
});
