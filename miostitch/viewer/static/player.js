// Plays at the speed of the recording. Where reading is slower, frames are left out, not the time.

export class Player {
  constructor({ speed, rate, count, at, idle, go, changed }) {
    Object.assign(this, { speed, rate, count, at, idle, go, changed, playing: false });
  }

  toggle() {
    if (this.playing) this.stop();
    else this.play();
  }

  stop() {
    if (!this.playing) return;
    this.playing = false;
    this.changed();
  }

  play() {
    this.playing = true;
    this.changed();
    const last = this.count - 1;
    if (this.at() === last) this.go(0);
    let [begun, from, speed] = [performance.now(), this.at(), this.speed()];
    const advance = (now) => {
      if (!this.playing) return;
      if (speed !== this.speed()) [begun, from, speed] = [now, this.at(), this.speed()];
      const due = from + Math.floor(((now - begun) / 1000) * this.rate * speed);
      if (this.idle() && due > this.at()) this.go(Math.min(due, last));
      if (this.idle() && this.at() === last) this.stop();
      else requestAnimationFrame(advance);
    };
    requestAnimationFrame(advance);
  }
}
