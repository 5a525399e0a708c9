/** Steady labels, as lmedge/camera/smoothing.py. */
import type { ModelFacts } from "../model/file";
import { choose, type Prediction, type Reading } from "./decoding";

/** Average the readings of one stream, older ones weighing less, and keep the label steady. */
export class Smoother {
  private last = 0;
  private since = 0;
  private shown = -1;
  private scores: number[] = []; // one a landmark, then that of "not a landmark"

  constructor(private readonly facts: ModelFacts) {}

  /** Begin anew, with another source for instance. */
  reset(): void {
    this.scores = [];
  }

  /** Return the steady prediction after the frame of `seconds`; its `known` is steady too. */
  update(reading: Reading, seconds: number): Prediction {
    const { steadiness } = this.facts;
    if (steadiness.seconds === 0) return choose(this.facts, reading);
    const gap = Math.max(0, seconds - this.last);
    this.last = seconds;
    const fresh = reading.known
      ? [...reading.joint, 0]
      : [...reading.joint.map(() => 0), 1];
    if (this.scores.length === 0) {
      this.scores = fresh;
      this.shown = largest(fresh);
      this.since = seconds;
    } else {
      const share = -Math.expm1(-gap / steadiness.seconds);
      this.scores = this.scores.map((old, index) => old + (fresh[index]! - old) * share);
      this.follow(seconds);
    }
    return this.result(reading);
  }

  private follow(seconds: number): void {
    const { dwell, margin } = this.facts.steadiness;
    const best = largest(this.scores);
    if (best === this.shown || seconds - this.since < dwell) return;
    if (this.scores[best]! > this.scores[this.shown]! + margin) {
      this.shown = best;
      this.since = seconds;
    }
  }

  private result(reading: Reading): Prediction {
    const labels = this.scores.slice(0, -1);
    const total = labels.reduce((sum, value) => sum + value, 0);
    const joint = total > 0 ? labels.map((value) => value / total) : reading.joint;
    const known = this.shown < labels.length;
    return { ...choose(this.facts, reading, joint, known ? this.shown : null), known };
  }
}

function largest(values: readonly number[]): number {
  return values.indexOf(Math.max(...values));
}
