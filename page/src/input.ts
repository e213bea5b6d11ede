/** What both pages have: a drawing, buttons, a picture that is opened or dropped, and a sentence about what happens. */

import { Drawing, type Paper } from "./drawing";
import { laid, pictureOf, Refused } from "./pictures";
import type { Picture } from "./preprocessing";

export const found = <Kind extends HTMLElement>(id: string): Kind => document.getElementById(id) as Kind;

/** Returns what lies in the page as JSON. */
export const embeddedText = (): string => document.getElementById("embedded")!.textContent!;

export const say = (words: string): void => {
  found("said").textContent = words;
};

/** The drawing, or a picture in its place. */
export class Input {
  readonly drawing: Drawing;
  private picture: Picture | null = null;

  /** `drawn` is called when a stroke goes on and when all is cleared, `opened` when a picture takes the drawing's place. */
  constructor(
    private readonly paper: Paper,
    drawn: () => void,
    private readonly opened: () => void,
  ) {
    const changed = (): void => {
      this.picture = null;
      drawn();
    };
    this.drawing = new Drawing(found<HTMLCanvasElement>("drawing"), paper, changed, say);
    found("clear").addEventListener("click", () => this.drawing.clear());
    found("undo").addEventListener("click", () => this.drawing.undo());
    const file = found<HTMLInputElement>("file");
    file.addEventListener("change", () => {
      void this.open(file.files?.[0]);
      file.value = ""; // so that the same file can be opened again
    });
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      void this.open(event.dataTransfer?.files[0]);
    });
  }

  /** What is to be read: the picture, the drawing as it is, or nothing. */
  get shown(): Picture | null {
    return this.picture ?? (this.drawing.empty ? null : this.drawing.pixels);
  }

  get isPicture(): boolean {
    return this.picture !== null;
  }

  /** Shows a picture in place of the drawing. */
  show(picture: Picture, drawn: ImageBitmap | HTMLCanvasElement): void {
    this.drawing.show(laid(drawn, this.paper.width / this.paper.height));
    this.picture = picture;
    this.opened();
  }

  private async open(file: File | undefined): Promise<void> {
    if (file === undefined) return;
    try {
      const { picture, bitmap } = await pictureOf(file);
      this.show(picture, bitmap);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      say(error.message);
    }
  }
}
