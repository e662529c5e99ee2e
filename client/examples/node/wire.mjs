// Organ-Seg's wire in Node.js: BYTES with their length, requests, answers by tensor name.
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const PROTO = fileURLToPath(new URL('inference.proto', import.meta.url));
const { inference } = grpc.loadPackageDefinition(
  protoLoader.loadSync(PROTO, { keepCase: true, longs: Number }),
);

/** A gRPC connection to `HOST:PORT`; masks of 13 organs are larger than gRPC's 4 MB. */
export function connect(address) {
  return new inference.GRPCInferenceService(address, grpc.credentials.createInsecure(), {
    'grpc.max_receive_message_length': -1,
  });
}

/** One request of one model; `inputs` are texts or buffers by tensor name, each one BYTES. */
export function inferRequest(model, inputs, outputs, timeoutSeconds) {
  return {
    model_name: model,
    parameters: { timeout: { int64_param: Math.round(timeoutSeconds * 1e6) } },
    inputs: Object.keys(inputs).map((name) => ({ name, datatype: 'BYTES', shape: [1, 1] })),
    raw_input_contents: Object.values(inputs).map(bytesElement),
    outputs: outputs.map((name) => ({ name })),
  };
}

/** Sends a request; a promise of `{ NAME: { shape, bytes } }`, in which tensors are by name. */
export function infer(connection, request, timeoutSeconds) {
  const deadline = Date.now() + timeoutSeconds * 1000;
  return new Promise((resolve, reject) => {
    connection.ModelInfer(request, { deadline }, (error, response) =>
      error ? reject(error) : resolve(tensorsOf(response)),
    );
  });
}

/** A response's tensors by name: the server sends them in any order. */
export function tensorsOf(response) {
  return Object.fromEntries(
    response.outputs.map(({ name, shape }, index) => [
      name,
      { shape, bytes: response.raw_output_contents[index] },
    ]),
  );
}

/** The texts of a BYTES tensor. */
export function textsOf({ bytes }) {
  const texts = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 4 + bytes.readUInt32LE(at);
    texts.push(bytes.toString('utf8', at + 4, end));
    at = end;
  }
  return texts;
}

/** The numbers of an INT32 tensor. */
export function integersOf({ bytes }) {
  return Array.from({ length: bytes.length / 4 }, (_, index) => bytes.readInt32LE(4 * index));
}

/** One element of BYTES as it travels: its length in 4 bytes, little-endian, then itself. */
function bytesElement(content) {
  const bytes = Buffer.from(content);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return Buffer.concat([length, bytes]);
}
