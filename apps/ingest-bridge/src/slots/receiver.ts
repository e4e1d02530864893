/** Who this bridge is, to the broker (its MQTT client id) and in the database: configured, or named by the slot it has claimed. */
export class Receiver {
  constructor(private name: string | undefined) {}

  /** Throws before a slot is claimed: nothing may be received or stored without a name. */
  get clientId(): string {
    if (this.name === undefined) throw new Error('this bridge has not claimed a client id yet');
    return this.name;
  }

  /** As long as the process lives: a bridge does not change its name. */
  become(clientId: string): void {
    this.name = clientId;
  }
}
