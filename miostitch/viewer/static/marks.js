// The marked frames, as positions, and the list that remove-frames takes.

import { ask } from "./frames.js";

export class Marks {
  constructor(positions, file, changed) {
    this.marked = new Set(positions);
    this.file = file;
    this.changed = changed;
    this.saved = true;
    this.text = "";
    this.start = null;
    this.serial = 0;
  }

  has(at) {
    return this.marked.has(at);
  }

  get sorted() {
    return [...this.marked].sort((a, b) => a - b);
  }

  toggle(at) {
    if (!this.marked.delete(at)) this.marked.add(at);
    return this.update();
  }

  // The first call begins a range, the second marks all of it.
  range(at) {
    if (this.start === null) {
      this.start = at;
      this.changed();
      return null;
    }
    const [first, last] = [Math.min(this.start, at), Math.max(this.start, at)];
    for (let frame = first; frame <= last; frame++) this.marked.add(frame);
    this.start = null;
    return this.update();
  }

  clear() {
    this.marked.clear();
    this.start = null;
    return this.update();
  }

  next(at, step) {
    const sorted = this.sorted;
    return step > 0 ? sorted.find((frame) => frame > at) : sorted.findLast((frame) => frame < at);
  }

  async update() {
    this.saved = false;
    await this.refresh();
  }

  async refresh() {
    this.serial += 1;
    const serial = this.serial;
    const { text } = await ask("list", this.sorted);
    if (serial !== this.serial) return;
    this.text = text;
    this.changed();
  }

  // To the file that was named when the viewer started; else as a download, where the browser asks.
  async save() {
    if (this.file) {
      await ask("marks", this.sorted);
    } else {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([this.text + "\n"], { type: "text/plain" }));
      link.download = "marks.txt";
      link.click();
      URL.revokeObjectURL(link.href);
    }
    this.saved = true;
    return this.file ?? "marks.txt, among the browser's downloads";
  }
}
