/** The median of each figure over rows of them. */

import { median } from '../../../shared/samples.ts';

export function mediansOf<Key extends string>(rows: readonly Record<Key, number>[]): Record<Key, number> {
  const [first] = rows;
  const medians = {} as Record<Key, number>;
  for (const key of Object.keys(first ?? {}) as Key[]) medians[key] = median(rows.map((row) => row[key]));
  return medians;
}
