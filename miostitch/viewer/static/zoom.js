// How far all images are enlarged together, and which part of them is seen.

const MOST = 32;

export class Zoom {
  constructor(pictures) {
    this.pictures = pictures;
    [this.scale, this.left, this.top] = [1, 0, 0]; // left and top as shares of an image
  }

  // Enlarge, so that a place of the image, as shares of width and height, stays where it is.
  by(factor, x = this.left + 0.5 / this.scale, y = this.top + 0.5 / this.scale) {
    const scale = Math.min(MOST, Math.max(1, this.scale * factor));
    const kept = this.scale / scale;
    this.show(scale, x - (x - this.left) * kept, y - (y - this.top) * kept);
  }

  show(scale, left, top) {
    const inside = (edge) => Math.min(1 - 1 / scale, Math.max(0, edge));
    [this.scale, this.left, this.top] = [scale, inside(left), inside(top)];
    this.pictures.classList.toggle("zoomed", scale > 1);
    this.pictures.style.setProperty("--scale", scale);
    this.pictures.style.setProperty("--left", this.left);
    this.pictures.style.setProperty("--top", this.top);
  }

  fit() {
    this.show(1, 0, 0);
  }

  // Wheel and drag on one of the images.
  listen(canvas) {
    canvas.addEventListener("wheel", (event) => {
      if (event.ctrlKey || (this.scale === 1 && event.deltaY > 0)) return; // the page scrolls
      event.preventDefault();
      const place = [event.offsetX / canvas.clientWidth, event.offsetY / canvas.clientHeight];
      this.by(event.deltaY < 0 ? 1.25 : 0.8, ...place);
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      if (this.scale > 1 && event.button === 0) canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!canvas.hasPointerCapture(event.pointerId)) return;
      const [width, height] = [canvas.clientWidth * this.scale, canvas.clientHeight * this.scale];
      this.show(this.scale, this.left - event.movementX / width, this.top - event.movementY / height);
    });
  }
}
