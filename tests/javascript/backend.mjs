// An app's backend, of which phototwin knows nothing: publishes a capture, and waits for what becomes of it.
// It is made from the JSON Schemas, the example, and the names of an exchange and a stream.
//
//   node backend.mjs AMQP_URL PREFIX SCHEMAS CAPTURE_ID
//
// Prints the failure as JSON; ends with status 1 where the message breaks its schema, or nobody takes it.
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import amqp from "amqplib";
import Ajv from "ajv/dist/2020.js";
import formats from "ajv-formats";

const [url, prefix, folder, capture] = process.argv.slice(2);
const ajv = formats(new Ajv({ allErrors: true }));
const read = async (name) => JSON.parse(await readFile(`${folder}/${name}`, "utf8"));
const schema = async (version) => ajv.compile(await read(`${version}.schema.json`));
const refuse = (sentence) => {
  console.error(sentence);
  process.exit(1);
};

const message = await read("examples/dataset.uploaded.v1.json");
message.id = randomUUID();
message.source = "shop-app/backend";
message.time = new Date().toISOString();
message.data.capture_id = capture;
message.data.files = [{ key: `captures/${message.data.tenant}/${capture}/upload/photo.jpg`, bytes: 3 }];
delete message.subject;
delete message.traceparent;
const uploaded = await schema("dataset.uploaded.v1");
if (!uploaded(message)) refuse(ajv.errorsText(uploaded.errors));

const connection = await amqp.connect(url);
const publishing = await connection.createConfirmChannel();
publishing.on("return", () => refuse("nobody takes dataset.uploaded"));
publishing.publish(`${prefix}.events`, "dataset.uploaded", Buffer.from(JSON.stringify(message)), {
  mandatory: true,
  persistent: true,
  contentType: "application/cloudevents+json",
  messageId: message.id,
});
await publishing.waitForConfirms();

const failed = await schema("capture.failed.v1");
const following = await connection.createChannel();
await following.prefetch(50);
const follow = (take) =>
  following.consume(`${prefix}.outcomes`, take, { arguments: { "x-stream-offset": "first" } });
const failure = await new Promise((resolve) =>
  follow((delivered) => {
    following.ack(delivered);
    const event = JSON.parse(delivered.content);
    if (event.type !== "phototwin.capture.failed.v1" || event.data.capture_id !== capture) return;
    if (!failed(event)) refuse(ajv.errorsText(failed.errors));
    const { code, sentence, action } = event.data.error;
    resolve({ code, sentence, action, place: delivered.properties.headers["x-stream-offset"] });
  }),
);
console.log(JSON.stringify(failure));
await connection.close();
