import { Injectable } from '@nestjs/common';

/**
 * Where the process is between start and end. It is not ready while `starting` and not ready again from the moment it
 * was asked to stop, before anything else happens, so that traffic goes elsewhere first.
 */
@Injectable()
export class Lifecycle {
  private current: 'starting' | 'started' | 'draining' = 'starting';

  get phase(): 'starting' | 'started' | 'draining' {
    return this.current;
  }

  started(): void {
    if (this.current === 'starting') this.current = 'started';
  }

  drain(): void {
    this.current = 'draining';
  }

  /** Ends the process with the error's exit code, from places whose caller would swallow a throw (event listeners, timers). */
  fail(error: Error): void {
    // Outside any promise chain or emitter, so that it reaches `runApp` as an uncaught exception.
    setImmediate(() => {
      throw error;
    });
  }
}
