import { Column, Entity, Index, PrimaryGeneratedColumn } from 'typeorm';

/** A client id that was connected to a broker. */
@Entity('clients')
@Index('clients_client_unique', ['broker', 'client'], { unique: true })
@Index('idx_clients_bytes', { synchronize: false })
export class BrokerClient {
  @PrimaryGeneratedColumn('increment', { type: 'bigint', primaryKeyConstraintName: 'clients_pkey' })
  id: string;

  @Column('varchar', { length: 100 })
  broker: string;

  @Column('text')
  client: string;

  /** Of the last connection that gave one. */
  @Column('text', { nullable: true })
  username: string | null;

  @Column('timestamp with time zone', { name: 'first_seen', precision: 3, nullable: true })
  firstSeen: Date | null;

  @Column('timestamp with time zone', { name: 'last_seen', precision: 3, nullable: true })
  lastSeen: Date | null;
}
