// Numbers as people read them, on the pages of reports and in the studio.

// 0.978 -> "97.8 %", with a space that does not break; what is not wholly 0 or 1 is never rounded to it.
export function percent(share, digits = 1) {
  const edge = 0.5 * 10 ** -(digits + 2);
  const least = 10 ** -digits;
  if (share >= 1 - edge && share < 1) return `> ${(100 - least).toFixed(digits)}\u00a0%`;
  if (share > 0 && share < edge) return `< ${least.toFixed(digits)}\u00a0%`;
  return `${(100 * share).toFixed(digits)}\u00a0%`;
}
