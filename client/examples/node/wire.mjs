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

/** A tensor of one BYTES element, of a text or a buffer, as it travels. */
export function bytesTensor(content) {
  const bytes = Buffer.from(content);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return { datatype: 'BYTES', shape: [1, 1], bytes: Buffer.concat([length, bytes]) };
}

/** A tensor of one INT32. */
export function integerTensor(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return { datatype: 'INT32', shape: [1, 1], bytes };
}

/** One request of one model; `inputs` are tensors by name, `outputs` names. */
export function inferRequest(model, inputs, outputs, timeoutSeconds) {
  return {
    model_name: model,
    parameters: { timeout: { int64_param: Math.round(timeoutSeconds * 1e6) } },
    inputs: Object.entries(inputs).map(([name, tensor]) => ({
      name, datatype: tensor.datatype, shape: tensor.shape,
    })),
    raw_input_contents: Object.values(inputs).map(({ bytes }) => bytes),
    outputs: outputs.map((name) => ({ name })),
  };
}

/** Whether the server has a model and can ask it. */
export function isReady(connection, model, timeoutSeconds) {
  return new Promise((resolve, reject) => {
    connection.ModelReady({ name: model }, deadlineIn(timeoutSeconds), (error, response) =>
      error ? reject(error) : resolve(response.ready),
    );
  });
}

/** Sends a request; a promise of the answer's tensors by name. */
export function infer(connection, request, timeoutSeconds) {
  return new Promise((resolve, reject) => {
    connection.ModelInfer(request, deadlineIn(timeoutSeconds), (error, response) =>
      error ? reject(error) : resolve(tensorsOf(response)),
    );
  });
}

/** Sends a request to a model that streams; the tensors of each response, as they come. */
export async function* stream(connection, request, timeoutSeconds) {
  const call = connection.ModelStreamInfer(deadlineIn(timeoutSeconds));
  // A call that is cancelled, or fails, tells the reader below; it must not throw here too.
  call.on('error', () => {});
  try {
    call.write(request);
    call.end();
    for await (const { error_message: message, infer_response: response } of call) {
      if (message) throw new Error(message);
      yield tensorsOf(response);
    }
  } finally {
    call.cancel();
  }
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

/** A response's tensors by name: the server sends them in any order. */
function tensorsOf({ outputs, raw_output_contents: contents }) {
  return Object.fromEntries(
    outputs.map(({ name, datatype, shape }, index) => [
      name,
      { datatype, shape, bytes: contents[index] },
    ]),
  );
}

function deadlineIn(seconds) {
  return { deadline: Date.now() + seconds * 1000 };
}
