// Asks the server. Frames that were shown or may be next are kept, so that a step costs no request.

const KEPT_BYTES = 96 * 2 ** 20;
const decoder = new TextDecoder();

export async function ask(what, body) {
  const post = { method: "POST", body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(what, body === undefined ? {} : post);
  } catch {
    throw new Error("miostitch view is not running any more; start it again");
  }
  if (!answer.ok) throw new Error((await answer.json()).error);
  return /^(frame|trial)\//.test(what) ? unpack(await answer.arrayBuffer()) : answer.json();
}

// A packet: the length of a JSON object, the object, the pixels of every panel with a height.
function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const packet = JSON.parse(decoder.decode(new Uint8Array(buffer, 4, length)));
  let place = 4 + length;
  for (const panel of packet.panels) {
    if (panel.height === undefined) continue;
    panel.pixels = new Uint8Array(buffer, place, panel.height * panel.width);
    place += panel.pixels.length;
  }
  packet.bytes = buffer.byteLength;
  return packet;
}

export class Frames {
  constructor(count) {
    this.count = count;
    this.forget([]);
  }

  // Forgets everything; from now on these panels' pictures are asked for.
  forget(panels) {
    this.panels = panels.join(",");
    this.kept = new Map();
    this.bytes = 0;
  }

  has(at) {
    return this.kept.has(at);
  }

  // A promise of a frame. The one asked for longest ago is dropped first.
  get(at) {
    const kept = this.kept;
    let entry = kept.get(at);
    if (!entry) {
      entry = { bytes: 0, packet: ask(`frame/${at}/${this.panels}`) };
      entry.packet.then(
        (packet) => {
          if (kept !== this.kept) return;
          entry.bytes = packet.bytes;
          this.bytes += packet.bytes;
          for (const [oldest, { bytes }] of kept) {
            if (this.bytes <= KEPT_BYTES) break;
            if (oldest === at || !bytes) continue;
            kept.delete(oldest);
            this.bytes -= bytes;
          }
        },
        () => kept.delete(at),
      );
    } else {
      kept.delete(at);
    }
    kept.set(at, entry);
    return entry.packet;
  }

  // Asks for frames that may be next, the nearest first.
  prefetch(at, direction, count) {
    for (let step = 1; step <= count; step++) {
      const next = at + direction * step;
      if (next >= 0 && next < this.count && !this.kept.has(next)) this.get(next).catch(() => {});
    }
    const back = at - direction;
    if (back >= 0 && back < this.count && !this.kept.has(back)) this.get(back).catch(() => {});
  }
}
