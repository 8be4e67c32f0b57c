// Draws: gray pictures through a contrast table, differences, and the overview of the recording.

const OPAQUE = 0xff000000;
const ON_PROCESSOR = { willReadFrequently: true }; // pixels come from there

// One table entry per gray: everything up to black is black, from white on white.
export function contrastTable(black, white) {
  const table = new Uint32Array(256);
  for (let gray = 0; gray < 256; gray++) {
    const share = (gray - black) / Math.max(1, white - black);
    table[gray] = OPAQUE | (Math.round(255 * Math.min(1, Math.max(0, share))) * 0x010101);
  }
  return table;
}

// Grays that all but half a percent at either end lie between; black areas of lost pixels set aside.
export function autoContrast(pictures) {
  const counts = new Uint32Array(256);
  let total = 0;
  for (const { pixels } of pictures) for (const gray of pixels) counts[gray]++;
  for (let gray = 1; gray < 256; gray++) total += counts[gray];
  let [low, high, seen] = [0, 255, 0];
  for (let gray = 1; gray < 256; gray++) {
    seen += counts[gray];
    if (seen <= total * 0.005) low = gray;
    if (seen <= total * 0.995) high = gray;
  }
  return high > low ? [low, Math.min(255, high + 1)] : [0, 255];
}

export function draw(canvas, picture, table) {
  const { pixels, height, width } = picture;
  const image = prepare(canvas, height, width);
  const out = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) out[i] = table[pixels[i]];
  canvas.getContext("2d", ON_PROCESSOR).putImageData(image, 0, 0);
}

// Absolute differences, as bright as `gain` says.
export function subtract(left, right, gain) {
  const pixels = new Uint8Array(left.pixels.length);
  let different = 0;
  for (let i = 0; i < pixels.length; i++) {
    const difference = Math.abs(left.pixels[i] - right.pixels[i]);
    different += difference !== 0;
    pixels[i] = Math.min(255, difference * gain);
  }
  return { pixels, height: left.height, width: left.width, different };
}

// Where there is no picture there are stripes and words, never black.
export function drawAbsence(canvas, text, aspect, colours) {
  const [width, height] = [320, Math.round(320 / aspect)];
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", ON_PROCESSOR);
  context.fillStyle = colours("--hole");
  context.fillRect(0, 0, width, height);
  context.strokeStyle = colours("--line");
  context.lineWidth = 3;
  for (let x = -height; x < width; x += 14) {
    context.beginPath();
    context.moveTo(x, height);
    context.lineTo(x + height, 0);
    context.stroke();
  }
  context.font = "14px system-ui, sans-serif";
  const lines = wrapped(context, text, width - 32).slice(0, Math.floor((height - 20) / 18));
  const top = (height - 18 * lines.length) / 2;
  context.fillStyle = colours("--card");
  context.fillRect(8, top - 6, width - 16, 18 * lines.length + 12);
  context.fillStyle = colours("--text");
  context.textAlign = "center";
  lines.forEach((line, i) => context.fillText(line, width / 2, top + 18 * i + 14));
}

function wrapped(context, text, width) {
  const lines = [""];
  for (const word of text.split(/(?<=[\s/,;])/)) {
    const longer = lines.at(-1) + word;
    if (lines.at(-1) && context.measureText(longer).width > width) lines.push(word);
    else lines[lines.length - 1] = longer;
  }
  return lines;
}

function prepare(canvas, height, width) {
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  return canvas.getContext("2d", ON_PROCESSOR).createImageData(width, height);
}

export function sourceColour(source) {
  return source < 0 ? "--composed" : `--receiver${source % 6}`;
}

// Empties a canvas as wide as its place; what is drawn on it, in pixels of the page, and its width.
export function beginBands(canvas, height) {
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return [context, width];
}

// Three bands: marked frames, damaged frames (any in a bin is seen), sources.
export function drawTimeline(canvas, timeline, count, marks, colours) {
  const height = 34;
  const [context, width] = beginBands(canvas, height);
  const { first = [], damaged, source } = timeline;
  const names = ["--damaged", "--mark", ...new Set(source?.map(sourceColour))];
  const colour = Object.fromEntries(names.map((name) => [name, colours(name)]));
  first.forEach((start, bin) => {
    const stop = first[bin + 1] ?? count;
    const [left, right] = [(start / count) * width, (stop / count) * width];
    const wide = Math.max(1, right - left);
    if (damaged?.[bin]) {
      context.globalAlpha = 0.35 + (0.65 * damaged[bin]) / (stop - start);
      context.fillStyle = colour["--damaged"];
      context.fillRect(left, 8, wide, 16);
      context.globalAlpha = 1;
    }
    if (source) {
      context.fillStyle = colour[sourceColour(source[bin])];
      context.fillRect(left, 26, wide + 0.5, 8);
    }
  });
  context.fillStyle = colour["--mark"];
  for (const mark of marks) context.fillRect((mark / count) * width - 1, 0, Math.max(3, width / count), 7);
}
