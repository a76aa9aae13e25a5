// How the tests hand pictures to our scripts and take pixels back.
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

function base64(values) {
  let text = "";
  for (const one of values) text += String.fromCharCode(one);
  return btoa(text);
}

function inMemory(text, width, height) {
  const rgba = bytes(text);
  return { width, height, rows: (top, count) => rgba.subarray(top * width * 4, (top + count) * width * 4) };
}
