/** The gate of a taught file: lmedge/teach/gate.py, with the same bounds. */
import type { FeatureSet } from "./features";
import type { Teaching } from "./fitting";

const FEWEST = 3; // bursts of a landmark below which it is not compared
const APART = 0.75; // share of right choices between two landmarks
const DOUBT = 0.025; // chance of a loss as large, if nothing was lost
const MOST = 5; // problems of a kind that are named
const NORMAL = 1.959963984540054;

/** Why a file is refused; the page has a sentence for each kind. */
export type Problem =
  | { readonly kind: "copy"; readonly one: string; readonly other: string }
  | { readonly kind: "alike"; readonly one: string; readonly other: string; readonly right: number; readonly of: number }
  | { readonly kind: "loses"; readonly one: string; readonly lost: number; readonly of: number }
  | { readonly kind: "worse"; readonly most: number; readonly trained: number };

/** Return the photographs that stand under two landmarks. */
export function copies({ pairs, truth, landmarks }: Teaching): Problem[] {
  const found = new Map<string, Problem>();
  for (const [first, second] of pairs) {
    if (truth[first] === truth[second]) continue;
    const [one, other] = [landmarks[truth[first]!]!, landmarks[truth[second]!]!];
    found.set(JSON.stringify([one, other]), { kind: "copy", one, other });
  }
  return [...found.values()].slice(0, MOST);
}

/**
 * Return the pairs of landmarks that the honest answers do not distinguish.
 *
 * Groups count, since the photographs of one burst repeat one thing. A landmark of two groups is not
 * compared: without one of them, its regression knows another view alone.
 */
export function notDistinguished({ answers, groups, landmarks, measured, truth }: Teaching): Problem[] {
  const found: Problem[] = [];
  const counts = landmarks.map(() => new Set<number>());
  truth.forEach((own, index) => measured[index] && counts[own]!.add(groups[index]!));
  const compared = counts.map(({ size }) => size === 0 || size >= FEWEST);
  for (let first = 0; first < landmarks.length; first++) {
    for (let second = first + 1; second < landmarks.length; second++) {
      if (!compared[first] || !compared[second]) continue;
      const rights = new Map<number, boolean[]>();
      truth.forEach((own, index) => {
        if (!measured[index] || (own !== first && own !== second)) return;
        const values = answers.landmark[index]!;
        const right = values[first]! > values[second]! === (own === first);
        rights.set(groups[index]!, [...(rights.get(groups[index]!) ?? []), right]);
      });
      if (rights.size === 0) continue;
      const shares = [...rights.values()].map((one) => one.filter(Boolean).length / one.length);
      const hits = Math.round(shares.reduce((sum, one) => sum + one, 0));
      const every = [...rights.values()].flat();
      if (upperEnd(hits, rights.size) < APART) {
        const right = every.filter(Boolean).length;
        found.push({ kind: "alike", one: landmarks[first]!, other: landmarks[second]!, right, of: every.length });
      }
    }
  }
  return found.slice(0, MOST);
}

/** Return the landmarks of the file before that lost photographs beyond doubt, by their groups. */
export function losses(before: Teaching, old: FeatureSet, after: Teaching, now: FeatureSet): Problem[] {
  const [was, is] = [rightOnes(before, old), rightOnes(after, now)];
  const found: Problem[] = [];
  for (const name of old.hierarchy.keys()) {
    let [lost, of] = [0, 0];
    const changes = new Map<number, number>();
    for (const [key, { right, group }] of was.get(name) ?? []) {
      const later = is.get(name)?.get(key);
      if (later === undefined) continue;
      of++;
      if (right && !later.right) lost++;
      changes.set(group, (changes.get(group) ?? 0) + Number(later.right) - Number(right));
    }
    const [fewer, more] = [-1, 1].map((sign) => [...changes.values()].filter((one) => sign * one > 0).length);
    if (chance(fewer!, fewer! + more!) < DOUBT / old.hierarchy.size) {
      found.push({ kind: "loses", one: name, lost, of });
    }
  }
  return found.slice(0, MOST);
}

interface Judged {
  readonly right: boolean;
  readonly group: number;
}

/** Return by landmark whether each measured photograph is right, by its features. */
function rightOnes(found: Teaching, set: FeatureSet): Map<string, Map<string, Judged>> {
  let at = 0;
  return new Map(
    found.landmarks.map((name, number) => {
      const { data, count } = set.landmarks.get(name)!;
      const own = new Map<string, Judged>();
      for (let index = 0; index < count; index++, at++) {
        if (!found.measured[at]) continue;
        const key = data.subarray(index * set.width, (index + 1) * set.width).join();
        own.set(key, { right: found.guesses[at] === number, group: found.groups[at]! });
      }
      return [name, own] as const;
    }),
  );
}

/** Return the upper end of the 95 % interval of a share (Wilson, 1927). */
export function upperEnd(right: number, of: number): number {
  const [part, square] = [right / of, NORMAL ** 2];
  const centre = (part + square / (2 * of)) / (1 + square / of);
  const half = (NORMAL * Math.sqrt((part * (1 - part)) / of + square / (4 * of * of))) / (1 + square / of);
  return Math.min(1, centre + half);
}

/** Return the probability of `least` heads or more in `count` throws of a coin. */
function chance(least: number, count: number): number {
  if (least === 0) return 1;
  let [total, term] = [0, 0.5 ** count];
  for (let one = 0; one <= count; one++) {
    if (one >= least) total += term;
    term *= (count - one) / (one + 1);
  }
  return total;
}
