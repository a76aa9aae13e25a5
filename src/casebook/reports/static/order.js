// How the rows of a table are put in order, on the pages of reports and in the studio.

// Compares two values, up with `sign` 1 and down with -1; what has no value ("" or null) stays last.
export function inOrder(x, y, sign) {
  const [noX, noY] = [x === "" || x === null, y === "" || y === null];
  if (noX || noY) return noX - noY;
  if (typeof x === "string") return sign * x.localeCompare(y, undefined, { numeric: true });
  return sign * (x - y);
}
