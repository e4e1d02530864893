import { createServer } from 'node:net';
import { PortInUseError } from './errors.js';

/** Listens on 127.0.0.1:`port` (0 = any) for a moment and returns the port it got. Throws what `listen` throws, e.g. EADDRINUSE. */
function listenOnce(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : port));
    });
  });
}

/** A port of 127.0.0.1 that was free a moment ago; another program may take it before you do. */
export function freePort(): Promise<number> {
  return listenOnce(0);
}

/** Whether another program listens on 127.0.0.1:`port`. */
export async function portInUse(port: number): Promise<boolean> {
  try {
    await listenOnce(port);
    return false;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return true;
    throw error;
  }
}

/** Throws PortInUseError unless 127.0.0.1:`port` is free. */
export async function assertPortFree(port: number, server: string, setting: string): Promise<void> {
  if (await portInUse(port)) throw new PortInUseError(port, server, setting);
}

/**
 * Runs `start` on the wanted port, or with port 0 on a free one. Between finding a free port and using it another
 * program may take it, so a collision is tried again; on a port that was asked for by number it is the caller's to solve.
 */
export async function onPort<T>(port: number, start: (port: number) => Promise<T>): Promise<T> {
  if (port !== 0) return start(port);
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await start(await freePort());
    } catch (error) {
      if (!(error instanceof PortInUseError) || attempt === 5) throw error;
    }
  }
}
