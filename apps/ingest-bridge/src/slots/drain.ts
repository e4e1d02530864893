import { type INestApplication, Logger } from '@nestjs/common';
import { DeferredAckMqttServer } from '@tallystick/mqtt';
import { SlotHolder } from './slot-holder.js';
import { Receiver } from './receiver.js';

/** The slot that this process is to drain and then to end: `--drain=<slot>`, given by AbandonedSlots. */
export function slotToDrain(args: readonly string[]): number | undefined {
  const argument = args.find((arg) => /^--drain=[1-9]\d{0,3}$/.test(arg));
  return argument === undefined ? undefined : Number(argument.slice('--drain='.length));
}

/**
 * Receives what the broker still has for a bridge that is gone, then ends the session, so that the broker queues nothing more for it. Ends
 * the process. After a crash at any point the slot is still to be drained, and a session that is not there has nothing.
 */
export async function drain(app: INestApplication): Promise<void> {
  const server = app.get(DeferredAckMqttServer);
  const holder = app.get(SlotHolder);
  const messages = await server.emptied();
  // Whoever has taken the slot meanwhile has the session too.
  await holder.assertHeld();
  await server.endSession();
  await holder.markDrained();
  new Logger('Drain').log('drained', { clientId: app.get(Receiver).clientId, messages });
  process.kill(process.pid, 'SIGTERM');
}
