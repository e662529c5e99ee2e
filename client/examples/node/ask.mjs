// Asks one question: verdict and organ, with --mask the masks, with --explain words as they come.
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import grpc from '@grpc/grpc-js';
import { PNG } from 'pngjs';
import {
  bytesTensor, connect, infer, inferRequest, integerTensor, integersOf, isReady, stream, textsOf,
} from './wire.mjs';

const TIMEOUT_SECONDS = 30;
// Writing takes its time, a token after the other.
const EXPLAIN_SECONDS = 120;
const MOST_TOKENS = 40;
const USAGE =
  'usage: node ask.mjs IMAGE QUESTION [--url HOST:PORT] [--mask FILE.png] [--explain]';

// The ids 1 to 14 that the server answers with.
const NAMES = [
  'liver', 'right kidney', 'spleen', 'pancreas', 'aorta', 'inferior vena cava',
  'right adrenal gland', 'left adrenal gland', 'gallbladder', 'esophagus', 'stomach',
  'duodenum', 'left kidney', 'none',
];

function readArguments() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      url: { type: 'string', default: 'localhost:8001' },
      mask: { type: 'string' },
      explain: { type: 'boolean', default: false },
    },
  });
  if (positionals.length !== 2) throw new Error(USAGE);
  return { ...values, image: positionals[0], question: positionals[1] };
}

/** One grey PNG whose pixel values are organ ids; where masks overlap, the smaller one holds. */
function labelPng({ shape, bytes }, ids) {
  const [, , height, width] = shape;
  const area = height * width;
  const masks = ids.map((id, index) => {
    const pixels = bytes.subarray(index * area, (index + 1) * area);
    return { id, pixels, count: pixels.reduce((sum, pixel) => sum + pixel, 0) };
  });
  const data = Buffer.alloc(area);
  for (const { id, pixels } of masks.sort((one, other) => other.count - one.count)) {
    pixels.forEach((pixel, at) => { if (pixel) data[at] = id; });
  }
  const grey = { colorType: 0, inputColorType: 0, bitDepth: 8, inputHasAlpha: false };
  return PNG.sync.write({ width, height, data }, grey);
}

/** Prints the answer in words; it goes out from what `organ_seg` was sent and answered. */
async function explain(connection, asked, { ORGANS, VERDICTS, BOXES }) {
  if (!(await isReady(connection, 'llava_med_explain', TIMEOUT_SECONDS))) {
    throw new Error('wanted a server that explains, this one was exported without; ask another');
  }
  const MAX_TOKENS = integerTensor(MOST_TOKENS);
  const inputs = { ...asked, ORGANS, VERDICTS, BOXES, MAX_TOKENS };
  const request = inferRequest('llava_med_explain', inputs, ['TEXT', 'FINISH'], EXPLAIN_SECONDS);
  for await (const { TEXT } of stream(connection, request, EXPLAIN_SECONDS)) {
    process.stdout.write(textsOf(TEXT)[0]);
  }
  process.stdout.write('\n');
}

async function main() {
  const { image, question, url, mask, explain: inWords } = readArguments();
  const asked = { IMAGE: bytesTensor(readFileSync(image)), QUERY: bytesTensor(question) };
  const outputs = ['ORGANS', 'VERDICTS', 'BOXES', ...(mask ? ['MASKS'] : [])];
  const connection = connect(url);
  try {
    const request = inferRequest('organ_seg', asked, outputs, TIMEOUT_SECONDS);
    const answer = await infer(connection, request, TIMEOUT_SECONDS);
    const ids = integersOf(answer.ORGANS);
    const verdicts = textsOf(answer.VERDICTS);
    ids.forEach((id, index) => console.log(`${verdicts[index]}\t${NAMES[id - 1]}`));
    if (mask) writeFileSync(mask, labelPng(answer.MASKS, ids));
    if (inWords) await explain(connection, asked, answer);
  } finally {
    connection.close();
  }
}

main().catch((error) => {
  // gRPC's errors have the server's words in `details`.
  const status = grpc.status[error.code];
  console.error(status ? `${status}: ${error.details}` : error.message);
  process.exitCode = 1;
});
