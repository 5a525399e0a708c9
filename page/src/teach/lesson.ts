/** A whole lesson: a file and images of one burst in, a verified file out: lmedge/teach/teaching.py. */
import { PageError } from "../errors";
import { COUNT, goldenImage } from "../model/golden";
import { sha256 } from "../model/sha256";
import { asStored, cutBackbone, featureGraph, FEATURES, type Backbone } from "./backbone";
import { divide, HEADS, isJudged, outputsOf, teachHeads, type Head, type Teaching } from "./fitting";
import { coarsened, unit, withBurst, type FeatureSet } from "./features";
import { copies, losses, notDistinguished, type Problem } from "./gate";
import { bareGraph, withHeads } from "./heads";
import { DESCRIPTION, FEATURES_FILE, readInfo, recall, remembered, storable, TAUGHT, type Info } from "./memory";
import { pack, type Card } from "./metadata";
import { scores, upperF1 } from "./scores";

const CLOSE = 1e-4; // between a probability of the file and the same in double precision
const LEAST = 2; // photographs of a landmark
const DIGITS = 6; // of the golden answers
const STRATEGY = "closed form";

/** A graph in the runtime: the outputs of an image, by name. */
export type Run = (image: Uint8Array<ArrayBuffer>) => Promise<Readonly<Record<string, Float32Array>>>;
/** Load a graph and use it; it is gone afterwards. */
export type WithGraph = <Found>(graph: Uint8Array<ArrayBuffer>, use: (run: Run) => Promise<Found>) => Promise<Found>;

export interface Lesson {
  readonly data: Uint8Array<ArrayBuffer>;
  readonly name: string;
  readonly landmark: string;
  readonly category: string;
  /** Prepared images of one burst, (size, size, 3) bytes each. */
  readonly inputs: readonly Uint8Array<ArrayBuffer>[];
}

export interface Taught {
  readonly data: Uint8Array<ArrayBuffer>;
  readonly sha256: string;
  /** Why the gate refuses the file. */
  readonly problems: readonly Problem[];
  /** Photographs of the landmark after the lesson. */
  readonly photographs: number;
  /** Macro F1 of the landmarks by honest answers; null if the landmark has no other burst yet. */
  readonly macroF1: number | null;
  /** Share of the photographs of a landmark that is not in the list which pass as known. */
  readonly passing: number;
  /** Seconds for the features, and for all that follows. */
  readonly seconds: { readonly features: number; readonly solving: number };
}

/** Teach a file the photographs of one burst. Throws a PageError. */
export async function teach(lesson: Lesson, withGraph: WithGraph): Promise<Taught> {
  const began = performance.now();
  const info = await readInfo(lesson.data);
  const before = await recall(lesson.data, info);
  const backbone = cutBackbone(lesson.data);
  if (backbone.width !== before.width || backbone.zero !== before.zero) throw new PageError("teach-memory", "width");
  const golden = goldenImages(info);
  const rows = await withGraph(featureGraph(backbone), async (run) => {
    const read = async (image: Uint8Array<ArrayBuffer>) => (await run(image))[FEATURES]!;
    return { burst: await each(lesson.inputs, read), golden: await each(golden, read) };
  });
  const features = performance.now();
  const burst = rows.burst.map((one) => asStored(one, backbone));
  const found = storable(withBurst(before, lesson.landmark, lesson.category, burst));
  const photographs = found.landmarks.get(lesson.landmark)!.count;
  if (photographs < LEAST) throw new PageError("teach-same");
  const teaching = teachHeads(found);
  const problems = [
    ...copies(teaching),
    ...notDistinguished(teaching),
    ...changes(info, found.bits === before.bits ? before : coarsened(before), teaching, found),
  ];
  const data = await packed(lesson, info, backbone, found, teaching, golden, rows.golden, withGraph);
  const own = teaching.landmarks.indexOf(lesson.landmark);
  const judged = teaching.truth.some((one, index) => one === own && teaching.measured[index]);
  return {
    data,
    sha256: await sha256(data),
    problems,
    photographs,
    macroF1: judged ? scores(teaching).landmark.macro_f1 : null,
    passing: teaching.passing,
    seconds: { features: (features - began) / 1000, solving: (performance.now() - features) / 1000 },
  };
}

/** Return why the landmarks of the file before would be worse. */
function changes(info: Info, old: FeatureSet, teaching: Teaching, found: FeatureSet): Problem[] {
  if (old.hierarchy.size < 2) return [];
  const before = teachHeads(old);
  const trained = isJudged(before) ? trainedF1(info) : null;
  const most = trained === null ? 1 : upperF1(before);
  return [
    ...losses(before, old, teaching, found),
    ...(trained !== null && most < trained ? [{ kind: "worse", most, trained } as const] : []),
  ];
}

/** Return landmark macro F1 of trained heads by the card of their file: `trained_f1` in Python. */
function trainedF1(info: Info): number | null {
  type Parts = Readonly<Record<string, { file?: { landmark?: { macro_f1?: unknown } } } | null>>;
  if ((info["provenance"] as { strategy?: unknown } | null | undefined)?.strategy === STRATEGY) return null;
  const metrics = (info["metrics"] ?? {}) as Parts;
  const found = ["test", "cross_validated", "val"].map((part) => metrics[part]?.file?.landmark?.macro_f1);
  return found.find((value) => typeof value === "number") ?? null;
}

async function each<Item, Found>(items: readonly Item[], use: (item: Item) => Promise<Found>): Promise<Found[]> {
  const found: Found[] = [];
  for (const item of items) found.push(await use(item));
  return found;
}

function goldenImages(info: Info): Uint8Array<ArrayBuffer>[] {
  const { size } = info["preprocessing"] as { size: number };
  return Array.from({ length: COUNT }, (_, number) => goldenImage(number, size));
}

async function packed(
  lesson: Lesson,
  info: Info,
  backbone: Backbone,
  found: FeatureSet,
  teaching: Teaching,
  golden: readonly Uint8Array<ArrayBuffer>[],
  rows: readonly Float32Array[],
  withGraph: WithGraph,
): Promise<Uint8Array<ArrayBuffer>> {
  const graph = withHeads(backbone, teaching.heads);
  const outputs = await withGraph(bareGraph(graph), (run) => each(golden, run));
  outputs.forEach((one, index) => checkAnswers(one, rows[index]!, teaching));
  const answers = Object.fromEntries(
    [...HEADS, "known"].map((name) => [
      name,
      outputs.map((one) => Array.from(one[name]!, (value) => Number(value.toFixed(DIGITS)))),
    ]),
  );
  const [entry, content] = remembered(found);
  const heads = teaching.heads.heads;
  const { mean, scale, size } = info["preprocessing"] as { mean?: number; scale?: number; size: number };
  const card: Card = {
    name: lesson.name.replace(/\.tflite$/, ""),
    version: String(info["lmedge"]),
    description: "landmarks and their categories, both heads; taught by lmedge",
    size,
    mean: mean ?? 114,
    scale: scale ?? 57,
    landmarks: teaching.landmarks,
    categories: teaching.categories,
    thresholds: teaching.rejection.heads,
    files: new Map([[FEATURES_FILE, { content, description: DESCRIPTION }]]),
    info: {
      ...kept(info),
      io: "uint8",
      hierarchy: Object.fromEntries(found.hierarchy),
      temperatures: byHead((name) => heads[name].temperature),
      decoding: { category_weight: teaching.categoryWeight },
      metrics: isJudged(teaching) ? { cross_validated: { file: scores(teaching) } } : {},
      gate: { problems: [] },
      provenance: await provenance(lesson, info, teaching),
      rejection: teaching.rejection,
      golden: answers,
      [TAUGHT]: entry,
    },
  };
  return pack(graph, card);
}

/** Return what a taught file keeps of the card of the file before. */
function kept(info: Info): Info {
  const names = ["schema", "lmedge", "format", "preprocessing", "smoothing"];
  return Object.fromEntries(names.filter((name) => info[name] != null).map((name) => [name, info[name]]));
}

function byHead<Found>(of: (name: Head) => Found): Record<Head, Found> {
  return { landmark: of("landmark"), category: of("category") };
}

/** Compare the graph with the same sums in double precision. */
function checkAnswers(
  found: Readonly<Record<string, Float32Array>>,
  features: Float32Array,
  { heads }: Teaching,
): void {
  const { data } = divide(unit({ data: features, count: 1 }, { width: features.length, zero: 0 }), heads.deviation);
  const wanted = outputsOf(heads, data);
  const apart = (values: Float32Array, others: ArrayLike<number>) =>
    values.some((value, index) => !(Math.abs(value - others[index]!) <= CLOSE));
  const known = [wanted.known, 1 - wanted.known];
  if (HEADS.some((name) => apart(found[name]!, wanted[name])) || apart(found["known"]!, known)) {
    throw new PageError("teach-other");
  }
}

/** Return what the file comes from; the way there, lesson by lesson, leaves no trace. */
async function provenance(lesson: Lesson, info: Info, teaching: Teaching): Promise<Info> {
  const before = (info["provenance"] ?? {}) as Record<string, unknown>;
  const { base_sha256: base, base_landmarks: learned, backbone_sha256: backbone } = before;
  const hierarchy = info["hierarchy"] as Readonly<Record<string, string>>;
  return {
    strategy: STRATEGY,
    base_sha256: typeof base === "string" ? base : await sha256(lesson.data),
    base_landmarks: Array.isArray(learned) ? learned : Object.keys(hierarchy),
    ...(typeof backbone === "string" ? { backbone_sha256: backbone } : {}),
    pictures: { train: teaching.truth.length },
    bursts: new Set(teaching.groups).size,
    regularisation: byHead((name) => teaching.heads.heads[name].share),
    unknown_landmarks_accepted: teaching.passing,
    taught_in: "page",
  };
}
