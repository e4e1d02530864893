import { loadAt, loadHours } from './load-curve.js';
import { drift, mulberry32 } from './random.js';

/** What a meter sends: the payload of specification 3.2 with what an energy meter measures besides. */
export interface EnergyReading {
  deviceId: string;
  /** Unix time in whole seconds. */
  timestamp: number;
  /** Energy counter in kWh, to the Wh. Never falls. */
  kwh: number;
  /** Active power in W. */
  power: number;
  /** V */
  voltage: number;
  /** A: power / (voltage x power_factor). */
  current: number;
  power_factor: number;
  /** Hz */
  frequency: number;
  /** Degrees Celsius. */
  temperature: number;
  metadata: {
    firmware_version: string;
    /** dBm */
    signal_strength: number;
    /** Which simulation sent it, so that its messages can be counted. */
    run: string;
  };
}

export interface EnergyMeterOptions {
  deviceId: string;
  run: string;
  /** 32 bits; meters with the same seed that are read at the same times send the same. */
  seed: number;
}

const FIRMWARE_VERSIONS = ['2.0.3', '2.1.0', '2.1.0', '2.1.1', '3.0.0'];
const SMALLEST_RATED_KW = 4;
const RATED_KW_SPAN = 26;
/** Meters were installed at some time in the two years from 2024-01-01. */
const FIRST_INSTALLED_MS = Date.UTC(2024, 0, 1);
const INSTALLED_SPAN_MS = 2 * 365 * 24 * 3_600_000;

/** One simulated single-phase energy meter. */
export class EnergyMeter {
  private readonly ratedKw: number;
  private readonly installedLoadHours: number;
  private readonly firmwareVersion: string;
  private readonly usualSignal: number;
  private readonly usualPowerFactor: number;
  private readonly drifts: Record<'power' | 'voltage' | 'powerFactor' | 'frequency' | 'temperature' | 'signal', () => number>;
  private kwh = 0;

  constructor(private readonly options: EnergyMeterOptions) {
    const random = mulberry32(options.seed);
    this.ratedKw = SMALLEST_RATED_KW + RATED_KW_SPAN * random();
    this.installedLoadHours = loadHours(FIRST_INSTALLED_MS + INSTALLED_SPAN_MS * random());
    this.firmwareVersion = FIRMWARE_VERSIONS[Math.floor(random() * FIRMWARE_VERSIONS.length)]!;
    this.usualSignal = -85 + 35 * random();
    this.usualPowerFactor = 0.88 + 0.07 * random();
    this.drifts = {
      power: drift(random, 0.5),
      voltage: drift(random, 0.9),
      powerFactor: drift(random, 0.8),
      frequency: drift(random, 0.8),
      temperature: drift(random, 0.95),
      signal: drift(random, 0.7),
    };
  }

  /** The reading at a Unix time in ms. A clock that goes back, or a time before the installation, leaves the counter where it is. */
  read(unixMs: number): EnergyReading {
    const load = loadAt(unixMs);
    this.kwh = Math.max(this.kwh, Math.floor(this.ratedKw * (loadHours(unixMs) - this.installedLoadHours) * 1000) / 1000);
    const power = round(1000 * this.ratedKw * load * (1 + 0.15 * this.drifts.power()), 1);
    const voltage = round(230 + 8 * this.drifts.voltage() - 2 * load, 1);
    const powerFactor = round(this.usualPowerFactor + 0.04 * this.drifts.powerFactor(), 3);
    return {
      deviceId: this.options.deviceId,
      timestamp: Math.floor(unixMs / 1000),
      kwh: this.kwh,
      power,
      voltage,
      current: round(power / (voltage * powerFactor), 2),
      power_factor: powerFactor,
      frequency: round(50 + 0.08 * this.drifts.frequency(), 3),
      temperature: round(21 + 14 * load + 6 * this.drifts.temperature(), 1),
      metadata: {
        firmware_version: this.firmwareVersion,
        signal_strength: Math.round(this.usualSignal + 8 * this.drifts.signal()),
        run: this.options.run,
      },
    };
  }
}

function round(value: number, digits: number): number {
  const factor = 10 ** digits;
  return Math.round(value * factor) / factor;
}
