/** A canvas that is drawn on by mouse, pen, finger or keys: thick strokes, cleared and undone. */

const SOFT: [number, string][] = [[1.1, "#b0b0b0"], [1, "#606060"], [0.9, "black"]];

export interface Point {
  x: number;
  y: number;
}

/** Size of a canvas in pixels of its own, how thick a stroke is, and how far an arrow key moves the pen. */
export interface Paper {
  width: number;
  height: number;
  thick: number;
  step: number;
}

export class Drawing {
  private strokes: Point[][] = [];
  private stroke: Point[] | null = null;
  private picture: CanvasImageSource | null = null;
  private pen: Point;
  private down = false; // whether the pen that the keys move draws
  private focused = false;
  private readonly context: CanvasRenderingContext2D;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly paper: Paper,
    private readonly changed: () => void,
    private readonly said: (words: string) => void,
  ) {
    canvas.width = paper.width;
    canvas.height = paper.height;
    this.pen = { x: Math.min(paper.width, paper.height) / 2, y: paper.height / 4 };
    this.context = canvas.getContext("2d", { willReadFrequently: true })!;
    canvas.addEventListener("pointerdown", (event) => this.begin(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (this.stroke = null));
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("focus", () => this.focus(true));
    canvas.addEventListener("blur", () => this.focus(false));
    this.redraw();
  }

  /** Whether nothing is drawn or shown. */
  get empty(): boolean {
    return this.picture === null && this.strokes.length === 0;
  }

  /** The drawing, without the mark of the pen. */
  get pixels(): ImageData {
    if (this.focused) this.redraw(false);
    const found = this.context.getImageData(0, 0, this.paper.width, this.paper.height);
    if (this.focused) this.redraw();
    return found;
  }

  clear(): void {
    this.strokes = [];
    this.picture = null;
    this.redraw();
    this.changed();
  }

  undo(): void {
    if (this.strokes.length > 0) this.strokes.pop();
    else this.picture = null;
    this.redraw();
    this.changed();
  }

  /** Shows a picture in place of the drawing, scaled to fit. */
  show(picture: CanvasImageSource): void {
    this.strokes = [];
    this.picture = picture;
    this.redraw();
  }

  private begin(event: PointerEvent): void {
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.add(this.place(event), true);
  }

  private move(event: PointerEvent): void {
    if (this.stroke === null) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length > 0 ? events : [event]) this.add(this.place(one), false);
  }

  private add(point: Point, begins: boolean): void {
    if (this.picture !== null) this.clear();
    if (begins || this.stroke === null) this.strokes.push((this.stroke = []));
    this.stroke.push(point);
    this.redraw();
    this.changed();
  }

  private place(event: PointerEvent): Point {
    const box = this.canvas.getBoundingClientRect();
    const { width, height } = this.paper;
    return { x: ((event.clientX - box.left) / box.width) * width, y: ((event.clientY - box.top) / box.height) * height };
  }

  private key(event: KeyboardEvent): void {
    const { width, height, step } = this.paper;
    const moves: Record<string, [number, number]> = {
      ArrowLeft: [-step, 0],
      ArrowRight: [step, 0],
      ArrowUp: [0, -step],
      ArrowDown: [0, step],
    };
    if (event.key === " ") {
      this.down = !this.down;
      this.stroke = null;
      if (this.down) this.add({ ...this.pen }, true);
      this.said(this.down ? "Pen down: arrow keys draw." : "Pen up: arrow keys move it.");
    } else if (event.key in moves) {
      const [right, below] = moves[event.key];
      const within = (value: number, most: number): number => Math.min(most, Math.max(0, value));
      this.pen = { x: within(this.pen.x + right, width), y: within(this.pen.y + below, height) };
      if (this.down) this.add({ ...this.pen }, false);
      else this.redraw();
    } else return;
    event.preventDefault();
  }

  private focus(focused: boolean): void {
    this.focused = focused && this.canvas.matches(":focus-visible");
    if (!focused) {
      this.down = false;
      this.stroke = null;
    }
    this.redraw();
  }

  private redraw(pen = this.focused): void {
    const { context, paper } = this;
    context.fillStyle = "white";
    context.fillRect(0, 0, paper.width, paper.height);
    if (this.picture !== null) context.drawImage(this.picture, 0, 0, paper.width, paper.height);
    context.lineCap = context.lineJoin = "round";
    for (const stroke of this.strokes) {
      const path = new Path2D();
      path.moveTo(stroke[0].x, stroke[0].y);
      for (const point of stroke) path.lineTo(point.x, point.y);
      // Soft edges, as of ink that was scanned: lighter around, dark within.
      for (const [share, grey] of SOFT) {
        context.lineWidth = share * paper.thick;
        context.strokeStyle = grey;
        context.stroke(path);
      }
    }
    if (!pen) return;
    context.strokeStyle = "#0550ae";
    context.lineWidth = 2;
    context.beginPath();
    context.arc(this.pen.x, this.pen.y, paper.thick / 2, 0, 2 * Math.PI);
    context.stroke();
  }
}
