import { request } from 'node:http';
import { createTestDatabase, startApp } from '@tallystick/testing';

/** fetch sets Host by itself, so the plain client of Node asks. */
function statusFor(url: string, host: string): Promise<{ status: number; type: string; body: string }> {
  return new Promise((resolve, reject) => {
    const asking = request(`${url}/api/v1/batches`, { headers: { Host: host } }, (response) => {
      let body = '';
      response.on('data', (chunk: Buffer) => (body += chunk.toString()));
      response.on('end', () => resolve({ status: response.statusCode!, type: response.headers['content-type'] ?? '', body }));
    });
    asking.on('error', reject).end();
  });
}

describe('requests that name another host', () => {
  it('are refused, so that no web page can read the API through a name of its own', async () => {
    const { url: databaseUrl } = await createTestDatabase();
    const api = await startApp('api', { DATABASE_URL: databaseUrl, DATABASE_ALLOW_DATA_LOSS: 'true', ALLOWED_HOSTS: 'tally.example' });
    await api.waitForReady();
    const refused = await statusFor(api.url, 'evil.example');
    expect(refused).toMatchObject({ status: 421, type: expect.stringContaining('application/problem+json') });
    expect(JSON.parse(refused.body)).toMatchObject({ code: 'UNKNOWN_HOST' });
    expect((await statusFor(api.url, 'localhost:1')).status).toBe(401);
    expect((await statusFor(api.url, 'tally.example')).status).toBe(401);
    expect(await api.stop()).toBe(0);
  });
});
