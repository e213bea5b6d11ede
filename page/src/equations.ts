/** The equations of one unit at one row, in symbols and with the numbers put in. */

import type { Kind, Step } from "./cells";
import { number } from "./words";

export interface Equation {
  symbols: string;
  numbers: string;
}

/** Returns the equations of a unit: `before` is the step before, `now` the one that they explain. */
export function equations(kind: Kind, before: Step, now: Step, unit: number): Equation[] {
  const gate = (name: string): string => number(now.gates[name][unit]);
  if (kind === "lstm") {
    const cell = now.cell![unit];
    return [
      {
        symbols: "c = f · c before + i · g",
        numbers: `${number(cell)} = ${gate("forget")} · ${number(before.cell![unit])} + ${gate("input")} · ${gate("cell")}`,
      },
      {
        symbols: "h = o · tanh(c)",
        numbers: `${number(now.hidden[unit])} = ${gate("output")} · ${number(Math.tanh(cell))}`,
      },
    ];
  }
  const update = now.gates.update[unit];
  return [
    {
      symbols: "h = (1 − z) · n + z · h before",
      numbers:
        `${number(now.hidden[unit])} = ${number(1 - update)} · ${gate("candidate")} + ` +
        `${number(update)} · ${number(before.hidden[unit])}`,
    },
    {
      symbols: "n = tanh(of the row + r · of the state)",
      numbers: `${gate("candidate")}, with r = ${gate("reset")}`,
    },
  ];
}
