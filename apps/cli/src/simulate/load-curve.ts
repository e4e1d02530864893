const HOUR_MS = 3_600_000;
const HOURS_PER_WEEK = 168;
/** Monday, 5 January 1970, 00:00 UTC. */
const FIRST_MONDAY_MS = 4 * 24 * HOUR_MS;

/** Load of a production line at each full hour, as a share of its rated power: shifts from 6 to 22 h, breaks at 9 and 12 h. */
const WORKDAY = [
  0.18, 0.17, 0.16, 0.16, 0.18, 0.28, 0.55, 0.78, 0.86, 0.8, 0.88, 0.9, 0.66, 0.8, 0.87, 0.84, 0.78, 0.72, 0.7, 0.68, 0.62, 0.5, 0.34, 0.22,
];
const DAY_OFF = WORKDAY.map((load) => 0.15 + load / 8);

const WEEK = [...Array.from({ length: 5 }, () => WORKDAY), DAY_OFF, DAY_OFF].flat();
const loadAtHour = (hour: number) => WEEK[hour % HOURS_PER_WEEK]!;

/** Load hours from the beginning of the week to each full hour. The load is linear between full hours, so each is a trapezium. */
const LOAD_HOURS_BEFORE = WEEK.reduce<number[]>((sums, load, hour) => [...sums, sums[hour]! + (load + loadAtHour(hour + 1)) / 2], [0]);
const LOAD_HOURS_PER_WEEK = LOAD_HOURS_BEFORE[HOURS_PER_WEEK]!;

/** The share of its rated power, in (0, 1), that a line draws at a Unix time in ms. Hours are UTC. */
export function loadAt(unixMs: number): number {
  const { hour, fraction } = placeInWeek(unixMs);
  return loadAtHour(hour) + fraction * (loadAtHour(hour + 1) - loadAtHour(hour));
}

/**
 * The integral of `loadAt` in hours: times the rated power in kW, it is energy in kWh. A closed form and not a sum over readings,
 * so that a meter's counter goes on where it was when the simulation is started anew. Rises with time; before 1970 it is negative.
 */
export function loadHours(unixMs: number): number {
  const { week, hour, fraction } = placeInWeek(unixMs);
  const withinHour = fraction * loadAtHour(hour) + ((loadAtHour(hour + 1) - loadAtHour(hour)) * fraction ** 2) / 2;
  return week * LOAD_HOURS_PER_WEEK + LOAD_HOURS_BEFORE[hour]! + withinHour;
}

function placeInWeek(unixMs: number): { week: number; hour: number; fraction: number } {
  const hours = (unixMs - FIRST_MONDAY_MS) / HOUR_MS;
  const week = Math.floor(hours / HOURS_PER_WEEK);
  const hourOfWeek = hours - week * HOURS_PER_WEEK;
  const hour = Math.min(Math.floor(hourOfWeek), HOURS_PER_WEEK - 1);
  return { week, hour, fraction: hourOfWeek - hour };
}
