import { IsOptional, IsString, Length } from 'class-validator';
import { MAX_CURSOR_LENGTH } from './cursor.js';
import { WholeNumber } from './parameters.js';

/** What every list takes. */
export class ListQuery {
  /** Most items on a page. A page may be shorter and still have a next one. */
  @WholeNumber({ min: 1, max: 500, default: 50 })
  limit: number = 50;

  /** `nextCursor` of the page before, with the same filter. */
  @IsOptional()
  @IsString({ message: 'must be given once' })
  @Length(1, MAX_CURSOR_LENGTH, { message: 'is not a cursor of this list with this filter' })
  cursor?: string;
}
