/** A canvas that is drawn on by mouse, pen, finger or keys: thick strokes, cleared and undone. */

/** Soft edges, as of ink that was scanned: how wide, and how strong in hundredths, from the outside. */
const SOFT: [number, number][] = [[1.1, 31], [1, 62], [0.9, 100]];

export interface Point {
  x: number;
  y: number;
}

/** Size of a canvas in pixels of its own, how thick a stroke is, how far an arrow key moves the pen, and the colours. */
export interface Paper {
  dark: boolean; // light strokes on black paper
  width: number;
  height: number;
  thick: number;
  step: number;
}

export class Drawing {
  private strokes: Point[][] = [];
  private stroke: Point[] | null = null;
  private pointer: number | null = null; // the one that draws: a second finger does not
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
    for (const name of ["pointerup", "pointercancel"] as const) {
      canvas.addEventListener(name, (event) => {
        if (event.pointerId === this.pointer) this.stroke = this.pointer = null;
      });
    }
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
    this.stroke = this.picture = null;
    this.redraw();
    this.changed();
  }

  undo(): void {
    this.stroke = null;
    if (this.strokes.length > 0) this.strokes.pop();
    else this.picture = null;
    this.redraw();
    this.changed();
  }

  /** Shows a picture in place of the drawing, scaled to fit. */
  show(picture: CanvasImageSource): void {
    this.strokes = [];
    this.stroke = null;
    this.picture = picture;
    this.redraw();
  }

  private begin(event: PointerEvent): void {
    if (event.button !== 0 || this.pointer !== null) return;
    event.preventDefault();
    this.canvas.focus({ preventScroll: true });
    this.pointer = event.pointerId;
    this.canvas.setPointerCapture(event.pointerId);
    this.add(this.place(event), true);
  }

  private move(event: PointerEvent): void {
    if (this.stroke === null || event.pointerId !== this.pointer) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length > 0 ? events : [event]) this.add(this.place(one), false);
  }

  private add(point: Point, begins: boolean): void {
    this.picture = null;
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
    context.fillStyle = paper.dark ? "black" : "white";
    context.fillRect(0, 0, paper.width, paper.height);
    if (this.picture !== null) context.drawImage(this.picture, 0, 0, paper.width, paper.height);
    context.lineCap = context.lineJoin = "round";
    for (const stroke of this.strokes) {
      const path = new Path2D();
      path.moveTo(stroke[0].x, stroke[0].y);
      for (const point of stroke) path.lineTo(point.x, point.y);
      for (const [share, strength] of SOFT) {
        const light = paper.dark ? strength : 100 - strength;
        context.lineWidth = share * paper.thick;
        context.strokeStyle = `hsl(0 0% ${light}%)`;
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
