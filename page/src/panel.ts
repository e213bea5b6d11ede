/** One model on the page: its maps, which fill row by row, its answer, and the unit that is looked at. */

import { drawChart, type Line } from "./chart";
import { GATES, HELD, zeroState, type Hold, type Step } from "./cells";
import { largest, read, type Classifier, type Reading } from "./classifier";
import { GROWING, SIGNED, type Scale } from "./colours";
import { equations } from "./equations";
import { drawMap } from "./maps";
import { toFloats } from "./preprocessing";
import { percent, sure } from "./words";

const SYMBOLS: Record<string, string> = {
  input: "input gate i",
  forget: "forget gate f",
  cell: "new content g",
  output: "output gate o",
  reset: "reset gate r",
  update: "update gate z",
  candidate: "new content n",
};
const BOTH_SIGNS = ["cell", "candidate"]; // gates that lie between -1 and 1

/** A row of maps: its name, the numbers of a step, and their colours. */
interface Shown {
  name: string;
  of: (step: Step) => Float32Array;
  colours: Scale;
}

export class Panel {
  private readonly shown: Shown[];
  private readonly root: HTMLElement;
  private readonly maps: HTMLCanvasElement[];
  private readings: Reading[] = [];
  private plain: Reading[] = []; // without held gates
  private row = 0;
  private unit = 0;
  private holds: Hold[] = [];
  private image: Float32Array | null = null;

  constructor(
    private readonly model: Classifier,
    parent: HTMLElement,
  ) {
    const gates = GATES[model.kind].map((name) => ({
      name: SYMBOLS[name],
      of: (step: Step) => step.gates[name],
      colours: BOTH_SIGNS.includes(name) ? SIGNED : GROWING,
    }));
    const states: Shown[] = [{ name: "hidden state h", of: (step) => step.hidden, colours: SIGNED }];
    if (model.kind === "lstm") {
      // A cell state may leave [-1, 1]: its colours are those of tanh, which is what the output gate lets through.
      states.unshift({ name: "cell state, tanh(c)", of: (step) => step.cell!.map(Math.tanh), colours: SIGNED });
    }
    this.shown = [...gates, ...states];
    this.root = parent.appendChild(this.built());
    this.maps = [...this.root.querySelectorAll<HTMLCanvasElement>(".maps canvas")];
  }

  /** Reads an image, bytes [height, width, channels]. */
  see(bytes: Uint8Array): void {
    const image = toFloats(this.model.preprocessing, bytes);
    this.plain = read(this.model, image);
    this.readings = this.holds.length > 0 ? read(this.model, image, this.holds) : this.plain;
    this.image = image;
    this.show(this.row);
  }

  /** Shows the first rows as read, up to a row. */
  show(row: number): void {
    this.row = row;
    if (this.readings.length === 0) return;
    this.shown.forEach(({ of, colours }, place) => {
      drawMap(this.maps[place], this.readings.map(of), colours, { known: row + 1, row, column: this.unit });
    });
    this.answer();
    this.explain();
  }

  /** The class that is most probable after a row, and its probability. */
  get belief(): { name: string; probability: number } {
    const { probabilities } = this.readings[this.row];
    const best = largest(probabilities);
    return { name: this.model.classes[best], probability: probabilities[best] };
  }

  private answer(): void {
    const { probabilities } = this.readings[this.row];
    const { name, probability } = this.belief;
    const rows = this.readings.length;
    const when = this.row === rows - 1 ? "after the whole image" : `after row ${this.row + 1} of ${rows}`;
    this.find(".answer").textContent = `${name}, ${sure(probability)}, ${when}`;
    this.find(".without").textContent = this.without();
    const best = largest(this.readings[rows - 1].probabilities);
    this.root.querySelectorAll<HTMLElement>(".classes li").forEach((item, place) => {
      item.style.setProperty("--share", String(probabilities[place]));
      item.querySelector(".share")!.textContent = percent(probabilities[place]);
      item.classList.toggle("best", place === largest(probabilities));
    });
    const order = [...probabilities.keys()].sort((a, b) => this.most(b) - this.most(a)).slice(0, 3);
    const lines = order.map((place, style) => this.line(place, style));
    if (!order.includes(best)) lines[2] = this.line(best, 2);
    drawChart(this.find<SVGSVGElement>(".beliefs"), lines, 0, 1, this.row);
    this.find(".beliefs-key").replaceChildren(...keys(lines));
  }

  private most(place: number): number {
    return Math.max(...this.readings.map((reading) => reading.probabilities[place]));
  }

  private line(place: number, style: number): Line {
    const values = this.readings.map((reading) => reading.probabilities[place]);
    return { name: this.model.classes[place], values, style };
  }

  /** What the answer is without held gates, where some are held. */
  private without(): string {
    if (this.holds.length === 0) return "";
    const { probabilities } = this.plain[this.row];
    const best = largest(probabilities);
    return `Without held gates: ${this.model.classes[best]}, ${sure(probabilities[best])}.`;
  }

  private explain(): void {
    const now = this.readings[this.row];
    const before = this.row > 0 ? this.readings[this.row - 1] : zeroState(this.model.kind, this.model.weights.hidden);
    this.find(".equations").replaceChildren(
      ...equations(this.model.kind, before, now, this.unit).flatMap(({ symbols, numbers }) => [
        text("dt", symbols),
        text("dd", numbers),
      ]),
    );
    const traced = this.shown.filter(({ name }) => !name.startsWith("new content"));
    const lines = traced.map(({ name, of }, style) => ({
      name,
      values: this.readings.map((reading) => of(reading)[this.unit]),
      style,
    }));
    drawChart(this.find<SVGSVGElement>(".trace"), lines, -1, 1, this.row);
    this.find(".trace-key").replaceChildren(...keys(lines));
  }

  private hold(): void {
    const gate = this.find<HTMLSelectElement>(".gate").value;
    const value = this.find<HTMLSelectElement>(".value").value;
    const all = this.find<HTMLSelectElement>(".units").value === "all";
    this.holds = value === "" ? [] : [{ gate, unit: all ? null : this.unit, value: Number(value) }];
    if (this.image === null) return;
    this.readings = this.holds.length > 0 ? read(this.model, this.image, this.holds) : this.plain;
    this.show(this.row);
  }

  private select(unit: number): void {
    const last = this.model.weights.hidden - 1;
    this.unit = Math.min(last, Math.max(0, unit));
    this.find<HTMLInputElement>(".unit").value = String(this.unit + 1);
    this.hold(); // which may be of this unit, and shows all
  }

  private built(): HTMLElement {
    const { name, title, classes, kind, weights } = this.model;
    const root = document.createElement("section");
    root.className = "reader";
    root.setAttribute("aria-labelledby", `${name}-title`);
    const option = (value: string, words: string): string => `<option value="${value}">${words}</option>`;
    const held = HELD[kind].map((gate) => option(gate, SYMBOLS[gate])).join("");
    root.innerHTML = `
      <h2 id="${name}-title"></h2>
      <p class="answer">Nothing read yet</p>
      <p class="without"></p>
      <ol class="classes"></ol>
      <figure>
        <figcaption>What it believes after each row</figcaption>
        <svg class="beliefs" role="img" aria-label="Probability of the likeliest classes after each row"></svg>
        <ul class="key beliefs-key"></ul>
      </figure>
      <h3>Gates and states</h3>
      <p class="hint">A row of a map for each row of the image, a column for each of ${weights.hidden} units. Press on a unit, or
        choose its number.</p>
      <div class="maps"></div>
      <div class="scales" aria-hidden="true"><span class="scale growing">0 shut, 1 open</span><span class="scale signed">−1, 0, 1</span></div>
      <h3>One unit</h3>
      <label>Unit <input class="unit" type="number" min="1" max="${weights.hidden}" value="1"></label>
      <dl class="equations"></dl>
      <figure>
        <svg class="trace" role="img" aria-label="Gates and states of the unit, row by row"></svg>
        <ul class="key trace-key"></ul>
      </figure>
      <h3>What if?</h3>
      <div class="hold">
        <label>Hold <select class="gate" aria-label="Gate to hold">${held}</select></label>
        <label>of <select class="units" aria-label="Units whose gate is held">${option("all", "all units")}${option("one", "this unit")}</select></label>
        <label>at <select class="value" aria-label="Value at which it is held">${option("", "what it computes")}${option("0", "0, shut")}${option("1", "1, open")}</select></label>
      </div>`;
    root.querySelector("h2")!.textContent = title;
    const list = root.querySelector(".classes")!;
    for (const one of classes) {
      const item = list.appendChild(document.createElement("li"));
      item.append(text("span", one, "class"), text("span", "", "share"));
    }
    const maps = root.querySelector(".maps")!;
    for (const { name: shown } of this.shown) {
      const figure = maps.appendChild(document.createElement("figure"));
      const frame = figure.appendChild(document.createElement("div"));
      frame.className = "map";
      const canvas = frame.appendChild(document.createElement("canvas"));
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${shown}: rows of the image by units`);
      canvas.width = weights.hidden;
      canvas.height = this.model.height;
      for (const name of ["pointerdown", "pointermove"] as const) canvas.addEventListener(name, (event) => this.pointed(event));
      figure.append(text("figcaption", shown));
    }
    root.querySelector(".unit")!.addEventListener("input", (event) => {
      const chosen = (event.target as HTMLInputElement).valueAsNumber;
      if (Number.isInteger(chosen)) this.select(chosen - 1);
    });
    root.querySelectorAll(".hold select").forEach((field) => field.addEventListener("change", () => this.hold()));
    return root;
  }

  private pointed(event: PointerEvent): void {
    if (event.buttons === 0) return;
    const box = (event.target as HTMLElement).getBoundingClientRect();
    this.select(Math.floor(((event.clientX - box.left) / box.width) * this.model.weights.hidden));
  }

  private find<Found extends Element = HTMLElement>(selector: string): Found {
    return this.root.querySelector<Found>(selector)!;
  }
}

function keys(lines: Line[]): HTMLElement[] {
  return lines.map((line) => text("li", line.name, `style-${line.style}`));
}

function text(tag: string, words: string, name = ""): HTMLElement {
  const made = document.createElement(tag);
  made.textContent = words;
  if (name) made.className = name;
  return made;
}
