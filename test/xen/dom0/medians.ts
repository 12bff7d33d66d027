/** The median of each figure over rows of them. */

export function mediansOf<Key extends string>(rows: readonly Record<Key, number>[]): Record<Key, number> {
  const [first] = rows;
  const medians = {} as Record<Key, number>;
  for (const key of Object.keys(first ?? {}) as Key[]) {
    const sorted = rows.map((row) => row[key]).sort((a, b) => a - b);
    medians[key] = sorted[Math.floor(sorted.length / 2)] as number;
  }
  return medians;
}
