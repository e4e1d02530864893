import { IsInt, Max, Min } from 'class-validator';

/** A whole number from `lowest` (0 where "any free port" makes sense) to 65,535. */
export function IsTcpPort(lowest: 0 | 1 = 1): PropertyDecorator {
  return (target, property) => {
    for (const rule of [IsInt(), Min(lowest), Max(65_535)]) rule(target, property);
  };
}
