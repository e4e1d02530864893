import { Telemetry1793000000000 } from './1793000000000-telemetry.js';
import { Receivers1793000000001 } from './1793000000001-receivers.js';
import { BrokerHistory1793000000002 } from './1793000000002-broker-history.js';
import { QuarantineBound1793000000003 } from './1793000000003-quarantine-bound.js';
import { DeduplicationKeys1793000000004 } from './1793000000004-deduplication-keys.js';
import { DeviceLookups1793000000005 } from './1793000000005-device-lookups.js';
import { BrokerHistoryReads1793000000006 } from './1793000000006-broker-history-reads.js';
import { DefinerSearchPath1793000000007 } from './1793000000007-definer-search-path.js';
import { JsonIndexPendingList1793000000008 } from './1793000000008-json-index-pending-list.js';
import { MetricRollUps1793000000009 } from './1793000000009-metric-roll-ups.js';
import { DerivedHistory1793000000010 } from './1793000000010-derived-history.js';
import { Access1793000000012 } from './1793000000012-access.js';
import { TelemetrySearches1793000000013 } from './1793000000013-telemetry-searches.js';
import { DefinerTriggers1793000000014 } from './1793000000014-definer-triggers.js';
import { QuarantineReplay1793000000015 } from './1793000000015-quarantine-replay.js';
import { Alerts1793000000016 } from './1793000000016-alerts.js';
import { ReceiverSlots1793000000017 } from './1793000000017-receiver-slots.js';
import { JsonSearch1793000000018 } from './1793000000018-json-search.js';
import { MessagePages1793000000019 } from './1793000000019-message-pages.js';
import { RowSecurityOnce1793000000020 } from './1793000000020-row-security-once.js';

/** Every migration, in order. Listed one by one: an edited or reordered list is seen in review. */
export const migrations = [
  Telemetry1793000000000,
  Receivers1793000000001,
  BrokerHistory1793000000002,
  QuarantineBound1793000000003,
  DeduplicationKeys1793000000004,
  DeviceLookups1793000000005,
  BrokerHistoryReads1793000000006,
  DefinerSearchPath1793000000007,
  JsonIndexPendingList1793000000008,
  MetricRollUps1793000000009,
  DerivedHistory1793000000010,
  Access1793000000012,
  TelemetrySearches1793000000013,
  DefinerTriggers1793000000014,
  QuarantineReplay1793000000015,
  Alerts1793000000016,
  ReceiverSlots1793000000017,
  JsonSearch1793000000018,
  MessagePages1793000000019,
  RowSecurityOnce1793000000020,
];
