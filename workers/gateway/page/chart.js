// What the method minimises, over the progress of the reconstruction: each curve by its own scale, from 0 to its
// largest value, for they have no unit in common.

import { draw, make } from "./dom.js";

const WIDTH = 320,
  HEIGHT = 120,
  DASHES = ["none", "7 3", "2 3", "9 3 2 3", "12 3", "4 2"];

export class Chart {
  #of = "";
  #generation = null;
  #plot = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", preserveAspectRatio: "none", class: "plot" });
  #legend = make("ul", { class: "legend" });
  element = make(
    "section",
    { class: "card stack", hidden: true, "aria-labelledby": "losses" },
    make("h2", { id: "losses" }, "What still differs"),
    make("p", { class: "quiet" }, "The differences between photos and model, each by its own scale: they should fall."),
    this.#plot,
    this.#legend,
  );

  show({ loss_curve: curve, losses, generation }) {
    const names = [...new Set(curve.flatMap(([, values]) => Object.keys(values)))].slice(0, 16);
    const of = `${curve.length} ${curve.at(-1)?.[0]}`;
    if (generation !== this.#generation) this.element.hidden = true;
    this.#generation = generation;
    if (curve.length < 2 || !names.length || of === this.#of) return; // what was drawn stays when the work is done
    this.element.hidden = false;
    this.#of = of;
    const first = curve[0][0],
      last = Math.max(curve.at(-1)[0], first + 1e-6);
    const now = (name) => losses[name] ?? curve.findLast(([, values]) => name in values)[1][name];
    this.#plot.replaceChildren(
      ...[0.25, 0.5, 0.75].map((part) =>
        draw("line", { class: "rule", x1: 0, x2: WIDTH, y1: HEIGHT * part, y2: HEIGHT * part }),
      ),
      ...names.map((name, index) => {
        const points = curve.filter(([, values]) => Number.isFinite(values[name])),
          most = Math.max(...points.map(([, values]) => values[name]), 1e-12);
        const along = points.map(
          ([at, values]) =>
            `${((WIDTH * (at - first)) / (last - first)).toFixed(1)},${(HEIGHT - 4 - ((HEIGHT - 8) * values[name]) / most).toFixed(1)}`,
        );
        return draw("polyline", {
          class: `curve c${index % 6}`,
          points: along.join(" "),
          "stroke-dasharray": DASHES[index % 6],
        });
      }),
    );
    this.#plot.setAttribute(
      "aria-label",
      `Loss curves. ${names.map((name) => `${words(name)}: now ${now(name).toPrecision(3)}`).join("; ")}`,
    );
    this.#legend.replaceChildren(
      ...names.map((name, index) =>
        make(
          "li",
          {},
          draw(
            "svg",
            { viewBox: "0 0 28 8", width: 28, height: 8, "aria-hidden": "true" },
            draw("line", {
              class: `curve c${index % 6}`,
              x1: 0,
              x2: 28,
              y1: 4,
              y2: 4,
              "stroke-dasharray": DASHES[index % 6],
            }),
          ),
          make("span", {}, words(name)),
          make("span", { class: "quiet" }, now(name).toPrecision(3)),
        ),
      ),
    );
  }
}

const words = (name) => name.replaceAll("_", " ");
