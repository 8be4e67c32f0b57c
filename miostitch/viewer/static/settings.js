// The controls of a configuration: a block for every stage, as the server describes them.

import { element } from "./facts.js";

// A key as it is read: of gradient_config.threshold "gradient: threshold".
const words = (key) => {
  const parts = key.split(".").map((each) => each.replace(/_config$/, "").replaceAll("_", " "));
  return parts.length > 2 ? parts.slice(1).join(": ") : parts.at(-1);
};

export class Settings {
  // `changed` is called whenever the user changes a value.
  constructor(place, controls, changed) {
    this.inputs = new Map(); // key: how its value is read and set
    this.changed = changed;
    let block = place;
    for (const control of controls) {
      if (control.kind === "group") continue;
      if (control.kind === "stage") {
        block = place.appendChild(document.createElement("fieldset"));
        block.append(element("legend", words(control.key)), element("p.soft", control.doc));
      } else {
        block.append(this.line(control));
      }
    }
  }

  line(control) {
    const make = { switch: this.makeSwitch, list: this.makeList, number: this.makeNumber }[control.kind];
    const line = make.call(this, control);
    const range = control.kind === "number" ? ` (${control.allowed})` : "";
    line.append(element("p.soft", control.doc + range));
    return line;
  }

  makeSwitch({ key }) {
    const line = element("div.setting");
    const box = this.box(line, words(key));
    this.inputs.set(key, { get: () => box.checked, set: (value) => (box.checked = value) });
    return line;
  }

  makeList({ key, choices }) {
    const line = element("div.setting");
    line.setAttribute("role", "group");
    line.setAttribute("aria-label", words(key));
    line.append(`${words(key)}: `);
    const boxes = choices.map((choice) => this.box(line, choice.replaceAll("_", " ")));
    this.inputs.set(key, {
      get: () => choices.filter((_, at) => boxes[at].checked),
      set: (value) => boxes.forEach((box, at) => (box.checked = value.includes(choices[at]))),
    });
    return line;
  }

  box(line, text) {
    const label = line.appendChild(document.createElement("label"));
    const box = label.appendChild(document.createElement("input"));
    box.type = "checkbox";
    label.append(` ${text}`);
    box.addEventListener("change", this.changed);
    return box;
  }

  // A slider for the usual values, and a field next to it that takes all.
  makeNumber({ key, least, most, step }) {
    const line = element("div.setting");
    const label = line.appendChild(element("label", words(key)));
    const [slider, field] = ["range", "number"].map((type) => {
      const input = document.createElement("input");
      Object.assign(input, { type, min: least, step: type === "range" ? step : "any", name: key });
      return input;
    });
    slider.max = most;
    field.setAttribute("aria-label", `${words(key)}, as a number`);
    label.append(slider);
    line.append(field);
    slider.addEventListener("input", () => {
      field.value = slider.value;
      this.changed();
    });
    field.addEventListener("change", () => {
      slider.value = field.value;
      this.changed();
    });
    this.inputs.set(key, {
      get: () => (field.value === "" ? null : +field.value),
      set: (value) => (slider.value = field.value = value),
    });
    return line;
  }

  take(values) {
    for (const [key, value] of Object.entries(values)) this.inputs.get(key).set(value);
  }

  values() {
    return Object.fromEntries([...this.inputs].map(([key, { get }]) => [key, get()]));
  }
}
