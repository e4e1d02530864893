import { Check, Column, Entity, PrimaryColumn } from 'typeorm';

/** A place in a group of bridges: `<slot_group>-<slot>` is the MQTT client id of whoever holds it. */
@Entity('receiver_slots')
@Check('chk_slot', 'slot BETWEEN 1 AND 1000')
export class ReceiverSlot {
  @PrimaryColumn('varchar', { name: 'slot_group', length: 95, primaryKeyConstraintName: 'receiver_slots_pkey' })
  slotGroup: string;

  @PrimaryColumn('int', { primaryKeyConstraintName: 'receiver_slots_pkey' })
  slot: number;

  /** When its holder was last heard of. */
  @Column('timestamp with time zone', { name: 'held_at', precision: 3, default: () => 'now()' })
  heldAt: Date;

  /** Since when the broker holds nothing under this name; null while it may. */
  @Column('timestamp with time zone', { name: 'drained_at', precision: 3, nullable: true })
  drainedAt: Date | null;
}
